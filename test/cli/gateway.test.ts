import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { readRecording } from "../../tools/gateway/index.js";
import { file, refused, sensor1 } from "../support/cli-fixture.js";
import { run, type Surroundings } from "../support/run-cli.js";

describe("gateway", () => {
  /** Runs it until `use` has ended, with a state folder in the temporary one. */
  async function running(
    args: readonly string[],
    use: (firstLines: string) => Promise<void>,
    enough: RegExp,
    around: Surroundings = {},
  ) {
    let interrupt = () => {};
    let started: (output: string) => void = () => {};
    const ready = new Promise<string>((resolve) => {
      started = resolve;
    });
    const state = args.some((arg) => arg.endsWith("-state") || arg === "--state") ? [] : ["--state", file("state")];
    const end = run(["gateway", "--port", "0", ...state, ...args], {
      ...around,
      onInterrupt: (callback) => {
        interrupt = callback;
      },
      onOutput: (output) => {
        around.onOutput?.(output);
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

  /** Publishes with the command that the gateway printed. */
  async function tryIt(output: string) {
    const [, psk, args] = /try: TENCENT_IOTHUB_PSK='(.*)' tencent-iothub (.*)/.exec(output) as RegExpExecArray;
    return run(args.split(" "), { env: { TENCENT_IOTHUB_PSK: psk } });
  }

  test("keeps CA and device over restarts, and the printed command works with both", async () => {
    const printed: string[] = [];
    for (let start = 0; start < 2; start++) {
      await running(
        ["--https"],
        async (output) => {
          printed.push(output);
          expect(await tryIt(output)).toMatchObject({ code: 0, stderr: "" });
          expect(output).toContain(`--trust-anchors ${file("state/ca.pem")}`);
        },
        /try: .*\n/,
      );
    }
    const device = (output: string) => /one device with a generated PSK, kept in .*/.exec(output)?.[0];
    expect(device(printed[0])).toBeDefined();
    expect(device(printed[1])).toBe(device(printed[0]));
    expect(statSync(file("state")).mode & 0o777).toBe(0o700);
  });

  test("keeps nothing with --no-state", async () => {
    const printed: string[] = [];
    for (let start = 0; start < 2; start++) {
      await running(
        ["--https", "--no-state", "--trust-anchors-out", file("unkept.pem")],
        async (output) => {
          printed.push(output);
          expect(await tryIt(output)).toMatchObject({ code: 0, stderr: "" });
        },
        /try: .*\n/,
      );
    }
    expect(printed[0]).not.toContain("kept in");
    const psk = (output: string) => /TENCENT_IOTHUB_PSK='(.*?)'/.exec(output)?.[1];
    expect(psk(printed[1])).not.toBe(psk(printed[0]));
    expect(existsSync(".tencent-iothub")).toBe(false);
  });

  describe("with --lan", () => {
    const info = (address: string) => ({
      address,
      family: "IPv4" as const,
      internal: false,
      netmask: "",
      mac: "",
      cidr: null,
    });
    const networkInterfaces = () => ({
      eth0: [info("127.0.0.2")],
      // Not listened on, so not as a place to connect to.
      wan0: [info("203.0.113.9")],
      docker0: [info("127.0.0.1")],
    });

    test("listens on the addresses that it prints, and on no others", async () => {
      let urls: string[] = [];
      await running(
        ["--https", "--lan", "--name", "desk.local"],
        async (output) => {
          urls = [...output.matchAll(/^(?:gateway|also) on (\S+?)(?: \((\w+)\))?(?:;.*)?$/gm)].map(([, url, name]) => {
            return `${name} ${url}`;
          });
          expect(output).toContain("not on 203.0.113.9 (wan0): it is public");
          expect(output).toMatch(/certificate also for https:\/\/desk\.local:\d+\n/);
          expect(await tryIt(output)).toMatchObject({ code: 0, stderr: "" });
          const port = /:(\d+)/.exec(urls[0])?.[1];
          const ca = file("state/ca.pem");
          for (const host of ["127.0.0.1", "127.0.0.2"]) {
            const { stdout } = await run([
              "doctor",
              "--json",
              "--url",
              `https://${host}:${port}`,
              "--trust-anchors",
              ca,
            ]);
            expect(JSON.parse(stdout).checks[3]).toMatchObject({ check: "certificates", outcome: "ok" });
          }
          const { stdout } = await run([
            "doctor",
            "--json",
            "--url",
            `https://127.0.0.3:${port}`,
            "--trust-anchors",
            ca,
          ]);
          expect(JSON.parse(stdout).checks[2]).toMatchObject({ check: "port", outcome: "failed" });
        },
        /try: .*\n/,
        { networkInterfaces },
      );
      expect(urls.map((url) => url.replace(/\d+$/, "PORT"))).toEqual([
        // By prefix, both are loopback here, in the order of the system.
        "eth0 https://127.0.0.2:PORT",
        "docker0 https://127.0.0.1:PORT",
      ]);
    });

    test("refuses to start where all addresses are public", async () => {
      const line = /^error: USAGE: This machine has no private address to listen on\./;
      await refused(["gateway", "--lan", "--no-state"], 2, line, {
        networkInterfaces: () => ({ wan0: [info("203.0.113.9")] }),
      });
    });
  });

  test("refuses a name for which its CA may not issue, and says for which it may", async () => {
    await running(["--https"], async () => {}, /try: .*\n/);
    const args = ["gateway", "--https", "--port", "0", "--state", file("state"), "--name", "desk.example.com"];
    await refused(args, 2, /^error: INVALID_OPTION: The CA may not issue for desk\.example\.com, only for localhost, /);
  });

  test("says in one line that its state is damaged", async () => {
    mkdirSync(file("damaged"), { mode: 0o700 });
    writeFileSync(file("damaged/sample.json"), "{", { mode: 0o600 });
    const args = ["gateway", "--port", "0", "--state", file("damaged")];
    await refused(
      args,
      2,
      /^error: STATE_DAMAGED: .*sample\.json is damaged \(it is not a JSON object\): restore it, or /,
    );
  });

  test("writes what a Moddable app includes, and prints the lines for it", async () => {
    const desk = file("desk");
    await running(
      ["--https", "--moddable", desk],
      async (output) => {
        const manifest = JSON.parse(readFileSync(join(desk, "manifest.json"), "utf8"));
        const url = /https:\/\/\S+?(?=;)/.exec(output)?.[0];
        expect(manifest).toMatchObject({
          config: { url, productId: "SAMPLE0001", deviceName: "sensor1", psk: expect.any(String) },
          resources: { "*": ["./gateway-root"] },
        });
        expect(readFileSync(join(desk, "gateway-root.der"))).toEqual(readFileSync(file("state/gateway-root.der")));
        expect(statSync(join(desk, "manifest.json")).mode & 0o777).toBe(0o600);
        expect(readFileSync(join(desk, ".gitignore"), "utf8")).toBe("*\n");
        const { psk } = manifest.config;
        const settings = `url=${url} productId=SAMPLE0001 deviceName=sensor1 psk=${psk}`;
        expect(output).toContain(`\nfirmware: mcconfig -d -m -p sim ${settings}\n`);
        expect(output).toContain(`\n  manifest: "include": [${JSON.stringify(join(desk, "manifest.json"))}]`);
        expect(output).toContain('\n  app: createHost({ trustAnchors: new Resource("gateway-root.der") })\n');
      },
      /try: .*\n/,
    );
  });

  test("does not replace the manifest of an app", async () => {
    mkdirSync(file("app"));
    writeFileSync(file("app/manifest.json"), "{}");
    const args = ["gateway", "--port", "0", "--no-state", "--moddable", file("app")];
    await refused(
      args,
      2,
      /^error: FILE_EXISTS: .*manifest\.json was not written by this command, and is not replaced\./,
    );
    expect(readFileSync(file("app/manifest.json"), "utf8")).toBe("{}");
  });

  test("takes faults from standard input while it runs, and records all events", async () => {
    const lines: string[] = [];
    let wake = (): void => {};
    const say = (line: string): void => {
      lines.push(line);
      wake();
    };
    async function* input(): AsyncGenerator<string> {
      for (;;) {
        while (lines.length > 0) yield `${lines.shift()}\n`;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
    let all = "";
    const printed = async (text: string): Promise<void> => {
      while (!all.includes(text)) await new Promise(setImmediate);
    };
    const record = file("events.jsonl");
    const { stderr } = await running(
      ["--devices", file("devices.json"), "--interactive", "--record", record],
      async (output) => {
        const url = /http:\/\/127\.0\.0\.1:\d+/.exec(output)?.[0] as string;
        const publish = async () => (await run(sensor1("--url", url, "--topic", "data", "hello"))).code;
        say("status:503");
        await printed("fault from now on: status:503");
        expect(await publish()).toBe(5);
        say("nonsense");
        say("offline reset");
        await printed("offline from now on");
        expect(await publish()).toBe(4);
        say("online");
        say("none");
        await printed("fault from now on: none");
        expect(await publish()).toBe(0);
      },
      /Ctrl-C/,
      {
        input: input(),
        onOutput: (output) => {
          all = output;
        },
      },
    );
    expect(stderr).toMatch(/^error: Unknown fault "nonsense"; [^\n]*\n$/);
    expect(all).toMatch(/\nok {6}\d.* qos 1 5 B hello hmacsha256 by psk /);
    expect(all).toMatch(/\ndropped .* dropped: the gateway is offline\n/);
    const kinds = readRecording(readFileSync(record, "utf8")).map(({ type }) => type);
    // When the end of the connection is seen depends on the system.
    expect(kinds.filter((kind) => kind !== "dropped")).toEqual([
      ...["fault", "request", "fault", "fault", "fault", "request"],
    ]);
    expect(kinds).toContain("dropped");
    const { code, stdout } = await run(["diagnose", record, "--psk-file", file("sensor1.psk"), "--json"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout).verdict).toBe("matches");
    await refused(
      ["diagnose", record, "--index", "9", "--psk-file", file("sensor1.psk")],
      2,
      /^error: INVALID_RECORD: /,
    );
  });

  test("prints other events as JSON lines, too", async () => {
    const { stdout } = await running(
      ["--https", "--json", "--offline"],
      async (output) => {
        const { url, urls, caFile, productId, psk } = JSON.parse(output);
        expect([urls, caFile, productId]).toEqual([[url], file("state/ca.pem"), "SAMPLE0001"]);
        const where = ["--url", url, "--trust-anchors", caFile, "--timeout-ms", "200"];
        const args = ["--product-id", productId, "--device-name", "sensor1", "--topic", "data", "x"];
        expect((await run(["publish", ...where, ...args], { env: { TENCENT_IOTHUB_PSK: psk } })).code).toBe(4);
      },
      /\n/,
    );
    const [, event] = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(event).toEqual({
      type: "dropped",
      at: expect.stringMatching(/^\d{4}-.*Z$/),
      connection: 1,
      reason: "the gateway is offline",
      remoteAddress: "127.0.0.1",
    });
  });

  test.each([
    [["--port", "70000"], /^error: USAGE: Option '--port <n>' argument '70000' is invalid\. It must be a whole number/],
    [["--host", "127.0.0.1", "--lan"], /^error: USAGE: Option '--host <address>' cannot be used with option '--lan'\./],
    [["--offline", "maybe"], /^error: USAGE: .*Allowed choices are hang, reset/],
    [["--name", "x.local"], /^error: USAGE: --name requires --https\./],
    [["--fault", "tls-hang"], /^error: INVALID_OPTION: The fault tls-hang needs HTTPS\./],
  ])("refuses %j", async (args, line) => {
    await refused(["gateway", "--no-state", ...args], 2, line);
  });
});
