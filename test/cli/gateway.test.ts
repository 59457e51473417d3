import { readFile } from "node:fs/promises";
import { describe, expect, test } from "@jest/globals";
import { file, sensor1 } from "../support/cli-fixture.js";
import { run } from "../support/run-cli.js";

describe("gateway", () => {
  /** Runs it until `use` has ended. */
  async function running(args: readonly string[], use: (firstLines: string) => Promise<void>, enough: RegExp) {
    let interrupt = () => {};
    let started: (output: string) => void = () => {};
    const ready = new Promise<string>((resolve) => {
      started = resolve;
    });
    const end = run(["gateway", "--port", "0", ...args], {
      onInterrupt: (callback) => {
        interrupt = callback;
      },
      onOutput: (output) => {
        if (enough.test(output)) started(output);
      },
    });
    // Where it fails to start, its end says why.
    const output = await Promise.race([ready, end.then(({ stderr }) => Promise.reject(new Error(stderr)))]);
    try {
      await use(output);
    } finally {
      interrupt();
    }
    return end;
  }

  test("prints one line per request until it is interrupted", async () => {
    const { code, stdout, stderr } = await running(
      ["--devices", file("devices.json")],
      async (output) => {
        const url = /http:\/\/127\.0\.0\.1:\d+/.exec(output)?.[0] as string;
        expect(await run(sensor1("--url", url, "--topic", "data", "hello"))).toMatchObject({ code: 0 });
        expect(await run(sensor1("--url", url, "--topic", "nope", "hello"))).toMatchObject({ code: 5 });
      },
      /Ctrl-C/,
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const lines = stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(4);
    expect(lines[1]).toMatch(/^ok .*ABCDE12345\/sensor1\/data qos 1 5 B/);
    expect(lines[2]).toMatch(/^refused .*ResourceNotFound\.TopicPolicyNotExist/);
    expect(lines[3]).toBe("stopped after 2 requests: 1 accepted, 1 refused");
  });

  test("serves a page with --ui, --ui-port or --ui-host, and prints its URL", async () => {
    const ended = await running(
      ["--ui-port", "0"],
      async (output) => {
        const url = /page on (http:\/\/127\.0\.0\.1:\d+\/)\n/.exec(output)?.[1] as string;
        expect((await fetch(`${url}_/counts`)).status).toBe(200);
      },
      /page on .*\n/,
    );
    expect(ended).toMatchObject({ code: 0, stderr: "" });
    await running(
      ["--ui-token", "--ui-host", "localhost", "--ui-port", "0", "--json"],
      async (output) => {
        const { uiUrl } = JSON.parse(output.split("\n")[0]);
        expect(uiUrl).toMatch(/^http:\/\/localhost:\d+\/\?token=[\w-]{24}$/);
      },
      /\n/,
    );
    await running(["--json"], async (output) => expect(JSON.parse(output)).not.toHaveProperty("uiUrl"), /\n/);
  });

  test("creates a device and a certificate by default, and prints how to use them", async () => {
    const ca = file("sample-ca.pem");
    const { code, stdout } = await running(
      ["--https", "--trust-anchors-out", ca],
      async (output) => {
        const [, psk, args] = /try: TENCENT_IOTHUB_PSK='(.*)' tencent-iothub (.*)/.exec(output) as RegExpExecArray;
        expect(await run(args.split(" "), { env: { TENCENT_IOTHUB_PSK: psk } })).toMatchObject({ code: 0, stderr: "" });
        expect(await readFile(ca, "utf8")).toContain("BEGIN CERTIFICATE");
      },
      /try: .*\n/,
    );
    expect(code).toBe(0);
    expect(stdout).toContain("stopped after 1 request: 1 accepted, 0 refused");
  });

  test("prints JSON lines with --json, and injects the fault of --fault", async () => {
    const { code, stdout } = await running(
      ["--devices", file("devices.json"), "--json", "--fault", "status:503"],
      async (output) => {
        const { url } = JSON.parse(output);
        expect(await run(sensor1("--url", url, "--topic", "data", "hello"))).toMatchObject({ code: 5 });
      },
      /\n/,
    );
    expect(code).toBe(0);
    const [, request, end] = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(request).toMatchObject({ accepted: false, status: 503, fault: { kind: "status" } });
    expect(end).toEqual({ requests: 1, accepted: 0, refused: 1 });
  });
});
