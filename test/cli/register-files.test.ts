/** Where `tencent-iothub register` leaves a credential when the file system fails. */

import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import type { FileSystem } from "../../host/node/file-system.js";
import { explain, type Failure } from "../../tools/cli/failure.js";
import type { Streams } from "../../tools/cli/io.js";
import { registerDevice } from "../../tools/cli/register.js";
import { type Gateway, startGateway } from "../../tools/gateway/index.js";
import { type FileCall, fileError, intercepted, unsynchronized } from "../support/file-systems.js";

const productSecret = "hzvf5LF9S0isvBhDSauWMaIk";
const PSK_LINE = /^[A-Za-z0-9+/]{22}==\n$/;
const KEY = /^-----BEGIN (RSA )?PRIVATE KEY-----/;
const CERTIFICATE = /^-----BEGIN CERTIFICATE-----/;
let gateway: Gateway;
let folder: string;
let out: string;

beforeAll(async () => {
  gateway = await startGateway({
    devices: {
      products: {
        PSK: { productSecret, registration: { again: "renew" } },
        CERT: { productSecret, registration: { credential: "certificate" } },
        CLOSED: { productSecret, registration: { open: false } },
      },
    },
  });
});
afterAll(() => gateway.close());
beforeEach(async () => {
  gateway.clearReceived();
  folder = await mkdtemp(join(tmpdir(), "register-files-"));
  out = join(folder, "sensor1");
});
afterEach(() => rm(folder, { recursive: true }));

interface Result {
  readonly failure?: Failure;
  readonly stdout: string;
}

async function register(
  productId: string,
  fs: FileSystem,
  more: { force?: boolean; printOnFailure?: boolean; json?: boolean } = {},
  onInterrupt: Streams["onInterrupt"] = () => {},
): Promise<Result> {
  let stdout = "";
  let stderr = "";
  const io: Streams = {
    stdin: (async function* () {})(),
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
    env: { TENCENT_IOTHUB_PRODUCT_SECRET: productSecret },
    onInterrupt,
  };
  let failure: Failure | undefined;
  try {
    await registerDevice(
      io,
      { productId, deviceName: "sensor1", url: gateway.url, out, timeoutMs: 900_000, ...more },
      fs,
    );
  } catch (error) {
    failure = explain(error);
    expect(failure.code).not.toBe("UNEXPECTED");
  }
  expect(stderr).toBe("");
  return { failure, stdout };
}

/** Every file under the test's folder and, of those named in the failure, elsewhere, with its content. */
async function contents({ failure }: Result): Promise<Map<string, string>> {
  const paths = new Set((await readdir(folder)).map((name) => join(folder, name)));
  for (const { path } of (failure?.details?.files ?? []) as { path?: string }[]) if (path) paths.add(path);
  const files = new Map<string, string>();
  for (const path of paths) if ((await stat(path)).isFile()) files.set(path, await readFile(path, "utf8"));
  return files;
}

const failing = (fails: (call: FileCall) => boolean, code: string) =>
  intercepted(
    (call) => {
      if (fails(call)) throw fileError(code);
    },
    undefined,
    unsynchronized,
  );
/** True once the gateway has issued a credential. */
const issued = () => gateway.received.length > 0;

describe("before register sends its request", () => {
  test.each<[string, (call: FileCall) => boolean, string, RegExp]>([
    [
      "a folder that cannot be written to",
      ({ name, path }) => name === "open" && path.endsWith(".new"),
      "EACCES",
      /permission denied/,
    ],
    ["a full disk", ({ name }) => name === "write", "ENOSPC", /no space left on device \(ENOSPC\)/],
    ["a disk that fails", ({ name }) => name === "sync", "EIO", /I\/O error/],
    [
      "a full disk, seen with the certificate's file",
      ({ name, path }) => name === "write" && path.includes(".crt"),
      "ENOSPC",
      /no space/,
    ],
    [
      "a shortage of descriptors",
      ({ name, path }) => name === "open" && path === folder,
      "EMFILE",
      /too many open files/,
    ],
  ])("%s makes it fail without leaving a file", async (_name, fails, code, reason) => {
    const { failure } = await register("CERT", failing(fails, code));
    expect(failure).toMatchObject({ code: "FILE_UNWRITABLE", exitCode: 3, message: expect.stringMatching(reason) });
    expect(failure?.message).toContain(out);
    expect(issued()).toBe(false);
    expect(await readdir(folder)).toEqual([]);
  });

  test.each(["sensor1", "sensor1.crt"])("%s is not replaced without --force", async (name) => {
    await writeFile(join(folder, name), "what was there");
    const { failure } = await register("CERT", unsynchronized);
    expect(failure).toMatchObject({ code: "FILE_EXISTS", hint: expect.stringContaining("--force") });
    expect(issued()).toBe(false);
    expect(await readdir(folder)).toEqual([name]);
    expect(await readFile(join(folder, name), "utf8")).toBe("what was there");
    expect((await register("CERT", unsynchronized, { force: true })).failure).toBeUndefined();
  });

  test("anything but a regular file is not replaced, even with --force", async () => {
    await mkdir(join(folder, "target"));
    await symlink(join(folder, "target"), out);
    const { failure } = await register("PSK", unsynchronized, { force: true });
    expect(failure?.message).toBe(`The credential cannot be written to ${out}: not a regular file.`);
    await rm(out);
    await mkdir(`${out}.crt`);
    expect((await register("PSK", unsynchronized, { force: true })).failure?.message).toContain("is a directory");
    expect(issued()).toBe(false);
  });

  test("an interrupted registration is detected, and its file kept", async () => {
    await writeFile(`${out}.new`, "a credential");
    for (const force of [false, true]) {
      const { failure } = await register("PSK", unsynchronized, { force });
      expect(failure).toMatchObject({
        code: "FILE_EXISTS",
        exitCode: 3,
        message: expect.stringContaining(`${out}.new`),
      });
    }
    expect(issued()).toBe(false);
    expect(await readFile(`${out}.new`, "utf8")).toBe("a credential");
  });

  test("only one of two registrations to one file continues", async () => {
    const results = await Promise.all([register("PSK", unsynchronized), register("PSK", unsynchronized)]);
    const codes = results.map(({ failure }) => failure?.code);
    expect(codes.filter((code) => code === undefined)).toHaveLength(1);
    expect(codes.filter((code) => code === "FILE_EXISTS")).toHaveLength(1);
    expect(gateway.received).toHaveLength(1);
    expect(await readdir(folder)).toEqual(["sensor1"]);
  });
});

test("a rejected registration leaves existing files unchanged, and creates none", async () => {
  await writeFile(out, "what was there");
  const { failure } = await register("CLOSED", unsynchronized, { force: true });
  expect(failure).toMatchObject({ code: "GATEWAY_REJECTED" });
  expect(await readdir(folder)).toEqual(["sensor1"]);
});

test("a registration interrupted while waiting for the response leaves no file", async () => {
  const silent = await startGateway({
    devices: { products: { PSK: { productSecret } } },
    fault: { kind: "hang", phase: "headers" },
  });
  try {
    let interrupt = () => {};
    const io: Streams = {
      stdin: (async function* () {})(),
      stdout: { write: () => {} },
      stderr: { write: () => {} },
      env: { TENCENT_IOTHUB_PRODUCT_SECRET: productSecret },
      onInterrupt: (callback) => {
        interrupt = callback;
      },
    };
    const fs = intercepted(
      () => {},
      ({ name, path }) => {
        if (name === "sync" && path.endsWith(".crt.new")) setTimeout(() => interrupt(), 20);
      },
    );
    const done = registerDevice(io, { productId: "PSK", deviceName: "sensor1", url: silent.url, out }, fs);
    await expect(done).rejects.toMatchObject({ code: "CANCELLED" });
    expect(await readdir(folder)).toEqual([]);
  } finally {
    await silent.close();
  }
});

describe.each([
  ["PSK", ["psk"]],
  ["CERT", ["private key", "certificate"]],
])("register, after a credential of %s was issued", (productId, whats) => {
  test.each(["EIO", "ENOSPC", "EPERM"])(
    "survives %s at each call: each part is where the message says",
    async (code) => {
      let failures = 0;
      for (let at = 0; ; at++) {
        await rm(folder, { recursive: true });
        await mkdir(folder);
        gateway.clearReceived();
        let calls = 0;
        let persistent: FileCall["name"] | undefined;
        const fs = failing((call) => {
          if (!issued() || call.name === "wait") return false;
          if (calls++ === at) persistent = call.name;
          // Else a repetition would hide it.
          return call.name === persistent && calls > at && call.path.startsWith(folder);
        }, code);
        const result = await register(productId, fs);
        const files = await contents(result);
        const { failure } = result;
        if (failure === undefined) {
          const expected = productId === "PSK" ? ["sensor1"] : ["sensor1", "sensor1.crt"];
          expect(
            (await readdir(folder)).filter((name) => !files.get(join(folder, name))?.startsWith("Reserved")),
          ).toEqual(expected);
        } else {
          failures++;
          expect(failure).toMatchObject({ code: "FILE_UNWRITABLE", exitCode: 3 });
          expect(failure.message).toContain(gateway.received[0].requestId);
          const parts = failure.details?.files as { what: string; path: string; problem?: string }[];
          expect(parts.map(({ what }) => what)).toEqual(whats);
          for (const { what, path } of parts) {
            expect(failure.message).toContain(`the ${what === "psk" ? "PSK" : what} is in ${path}`);
            expect(files.get(path)).toMatch(what === "psk" ? PSK_LINE : what === "certificate" ? CERTIFICATE : KEY);
            if (what !== "certificate") expect((await stat(path)).mode & 0o77).toBe(0);
            if (!path.startsWith(folder)) await rm(join(path, ".."), { recursive: true });
          }
          for (const secret of [...files.values()]) expect(failure.message).not.toContain(secret.trim());
        }
        if (persistent === undefined) break;
      }
      expect(failures).toBeGreaterThan(2);
    },
  );

  test("reports a credential that cannot be stored, and prints it with --print-on-failure", async () => {
    const fails = ({ name }: FileCall) => issued() && (name === "write" || name === "mkdtemp");
    const lost = await register(productId, failing(fails, "ENOSPC"));
    expect(lost).toMatchObject({ stdout: "", failure: { code: "CREDENTIAL_LOST", exitCode: 3 } });
    for (const what of whats)
      expect(lost.failure?.message).toContain(
        `the ${what === "psk" ? "PSK" : what} is lost and cannot be written to ${out}`,
      );
    expect(lost.failure?.hint).toContain("--force");
    expect(await readdir(folder)).toEqual([]);

    gateway.clearReceived();
    const printed = await register(productId, failing(fails, "ENOSPC"), { printOnFailure: true });
    expect(printed.failure).toMatchObject({ code: "FILE_UNWRITABLE", exitCode: 3 });
    for (const what of whats)
      expect(printed.failure?.message).toContain(`the ${what === "psk" ? "PSK" : what} is on standard output`);
    expect(printed.stdout).toMatch(
      productId === "PSK"
        ? PSK_LINE
        : /^-----BEGIN (RSA )?PRIVATE KEY[\s\S]*-----BEGIN CERTIFICATE[\s\S]*-----END CERTIFICATE-----\n$/,
    );
  });
});

test("a key that cannot be renamed does not prevent storing the certificate", async () => {
  const { failure } = await register(
    "CERT",
    failing(({ name, path }) => name === "rename" && path === out, "EPERM"),
  );
  expect(failure?.message).toBe(
    `The device is registered (RequestId ${gateway.received[0].requestId}), but the private key is in ${out}.new and cannot be moved to ${out}: operation not permitted (EPERM); the certificate is in ${out}.crt.`,
  );
  expect((await readdir(folder)).sort()).toEqual(["sensor1.crt", "sensor1.new"]);
});

test.each(["EPERM", "EINVAL", "ENOTSUP"])("register succeeds if the folder cannot be synced (%s)", async (code) => {
  const { failure, stdout } = await register(
    "CERT",
    failing(({ name, path }) => name === "sync" && path === folder, code),
  );
  expect(failure).toBeUndefined();
  expect(stdout).toContain(`private key and certificate in ${out} and ${out}.crt\n`);
  expect((await readdir(folder)).sort()).toEqual(["sensor1", "sensor1.crt"]);
});

test("register does not replace a file created meanwhile", async () => {
  const { failure } = await register("PSK", {
    ...unsynchronized,
    lstat: async (path) => {
      if (issued() && path === out) await writeFile(out, "another's");
      return unsynchronized.lstat(path);
    },
  });
  expect(failure?.message).toContain(`the PSK is in ${out}.new and cannot be moved to ${out}: file exists (EEXIST)`);
  expect(await readFile(out, "utf8")).toBe("another's");
  expect(await readFile(`${out}.new`, "utf8")).toMatch(PSK_LINE);
});

test("register reserves disk space before it sends its request", async () => {
  let reserved = 0;
  const fs = intercepted(({ name, path }) => {
    if (name === "write" && path.endsWith(".new") && !issued()) reserved++;
  });
  const { failure } = await register("CERT", fs);
  expect(failure).toBeUndefined();
  expect(reserved).toBe(2);
});
