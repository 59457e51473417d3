import { existsSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { beforeEach, describe, expect, test } from "@jest/globals";
import { serialPort } from "../../tools/cli/flash.js";
import { version } from "../../tools/cli/version.js";
import { file } from "../support/cli-fixture.js";
import { type Run, run, type Surroundings } from "../support/run-cli.js";

let count = 0;
let project: string;
beforeEach(() => {
  project = file(`project-${++count}`);
});

const init = (...args: string[]) => run(["init", project, ...args]);
const read = (name: string) => readFile(join(project, name), "utf8");
const readJson = async (name: string) => JSON.parse(await read(name));

/** All files below a folder, with slashes. */
async function filesOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return files.map((path) => path.slice(folder.length + 1).replaceAll("\\", "/")).sort();
}

describe("init", () => {
  test.each(["typescript", "javascript"])("creates the files of a project in %s", async (language) => {
    const ending = language === "typescript" ? "ts" : "js";
    const { code, stdout, stderr } = await init("--language", language);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("npm run flash:desk");
    const files = await filesOf(project);
    expect(files).toEqual(
      [
        ".gitignore",
        ".vscode/settings.json",
        ".vscode/tasks.json",
        "README.md",
        "manifest.json",
        "package.json",
        "secrets.json",
        `src/app.${ending}`,
        `src/main.${ending}`,
        "src/moddable.d.ts",
        `src/sim/wifi.${ending}`,
        `src/wifi.${ending}`,
        `test/app.test.${ending}`,
        "test/tsconfig.json",
        ...(language === "typescript" ? ["test/transform.mjs"] : []),
        "tsconfig.json",
      ].sort(),
    );
    for (const name of files) expect(await read(name)).not.toMatch(/\{\{\w/);
    const { compilerOptions } = await readJson("tsconfig.json");
    expect(compilerOptions.customConditions).toEqual(["moddable"]);
    expect((await read(".gitignore")).split("\n")).toEqual(
      expect.arrayContaining(["secrets.json", ".tencent-iothub/", "node_modules/", "build/"]),
    );
    // Whatever holds a secret is for its owner alone.
    if (process.platform !== "win32") expect((await stat(join(project, "secrets.json"))).mode & 0o077).toBe(0);
    const manifest = await readJson("manifest.json");
    // Without a prefix, wifi would be the module of the SDK, or take its place.
    expect(manifest.creation.main).toBe("app/main");
    for (const part of [manifest, ...Object.values<typeof manifest>(manifest.platforms)]) {
      expect(Object.keys(part.modules)).toEqual(["app/*"]);
    }
    const modules = [manifest, ...Object.values<typeof manifest>(manifest.platforms)].flatMap(({ modules }) =>
      Object.values<string | string[]>(modules).flat(),
    );
    expect(modules.map((path) => files.includes(`${path.slice(2)}.${ending}`))).toEqual(modules.map(() => true));
  });

  test("names the board in the scripts, and this release in the dependencies", async () => {
    expect((await init("--board", "esp32c3")).code).toBe(0);
    const { name, scripts, dependencies, devDependencies } = await readJson("package.json");
    expect(name).toBe(`project-${count}`);
    expect(scripts).toMatchObject({
      dev: "tencent-iothub dev",
      flash: "tencent-iothub flash --board esp32c3",
      "flash:desk": "tencent-iothub flash --board esp32c3 --desk",
    });
    expect(dependencies["tencent-iothub-xs"]).toBe(version);
    expect(devDependencies["tencent-iothub-cli"]).toBe(version);
  });

  test("creates no scripts for a board if there is only the simulator", async () => {
    const { code, stdout } = await init("--board", "sim");
    expect(code).toBe(0);
    expect(stdout).not.toContain("flash");
    expect(Object.keys((await readJson("package.json")).scripts)).toEqual(["dev", "test", "types"]);
  });

  test.each([
    ["My Sensor", "my-sensor"],
    ["_温度", "device"],
    ["node_modules", "device"],
    ["tencent-iothub-xs", "device"],
    [".hidden.", "hidden"],
  ])("turns the folder %s into the package name %s", async (folder, name) => {
    project = join(project, folder);
    expect((await init()).code).toBe(0);
    expect((await readJson("package.json")).name).toBe(name);
  });

  test("refuses a folder that is in use, and changes nothing in it", async () => {
    await mkdir(project);
    await mkdir(join(project, ".git"));
    await writeFile(join(project, "notes.txt"), "mine");
    expect(await init()).toEqual({
      code: 2,
      stdout: "",
      stderr: `error: FOLDER_NOT_EMPTY: The folder ${project} is not empty: it contains notes.txt. Name a new folder.\n`,
    });
    expect(await filesOf(project)).toEqual(["notes.txt"]);
  });

  test("accepts a folder with nothing but a repository", async () => {
    await mkdir(join(project, ".git"), { recursive: true });
    expect((await init()).code).toBe(0);
  });

  test("refuses a path that is a file", async () => {
    await writeFile(project, "");
    const { code, stderr } = await init();
    expect([code, stderr]).toEqual([
      2,
      `error: FILE_UNREADABLE: The folder ${project} cannot be used: not a directory (ENOTDIR).\n`,
    ]);
  });

  test("refuses a board or a language that it does not know", async () => {
    expect((await init("--board", "esp8266")).stderr).toContain("Allowed choices are esp32, esp32c3, esp32s3, sim.");
    expect((await init("--language", "rust")).stderr).toContain("Allowed choices are typescript, javascript.");
    expect(existsSync(project)).toBe(false);
  });

  test("takes tarballs of a folder, by a path that is relative to the project", async () => {
    const tarballs = `${project}-tarballs`;
    await mkdir(tarballs);
    await writeFile(join(tarballs, `tencent-iothub-xs-${version}.tgz`), "");
    expect((await init("--packages", tarballs)).stderr).toBe(
      `error: PACKAGE_MISSING: The folder ${tarballs} has no tencent-iothub-cli-${version}.tgz.\n`,
    );
    expect(existsSync(project)).toBe(false);
    await writeFile(join(tarballs, `tencent-iothub-cli-${version}.tgz`), "");
    expect((await init("--packages", tarballs)).code).toBe(0);
    const { dependencies, devDependencies } = await readJson("package.json");
    const path = `file:../project-${count}-tarballs`;
    expect(dependencies["tencent-iothub-xs"]).toBe(`${path}/tencent-iothub-xs-${version}.tgz`);
    expect(devDependencies["tencent-iothub-cli"]).toBe(`${path}/tencent-iothub-cli-${version}.tgz`);
  });

  test("asks on a terminal for what was not given, again after a reply that it does not understand", async () => {
    const { code, stdout } = await run(["init", project], { tty: true, stdin: "toaster\nESP32S3\nj\n" });
    expect(code).toBe(0);
    expect(stdout.match(/Board \(esp32, esp32c3, esp32s3, sim\) \[esp32\]: /g)).toHaveLength(2);
    expect((await readJson("package.json")).scripts.flash).toBe("tencent-iothub flash --board esp32s3");
    expect(await filesOf(project)).toContain("src/main.js");
  });

  test("takes the first choice for an empty reply, and where the input ends", async () => {
    const { code } = await run(["init", project], { tty: true, stdin: "\n" });
    expect(code).toBe(0);
    expect((await readJson("package.json")).scripts.flash).toBe("tencent-iothub flash --board esp32");
    expect(await filesOf(project)).toContain("src/main.ts");
  });

  test("asks nothing where nobody can reply", async () => {
    const { stdout } = await init("--json");
    expect(JSON.parse(stdout)).toMatchObject({ folder: project, board: "esp32", language: "typescript" });
  });
});

/** A program that notes how it was called, in the file `<name>.calls`, and then runs these lines of a shell. */
async function program(folder: string, name: string, lines = ""): Promise<void> {
  await mkdir(folder, { recursive: true });
  const calls = join(project, `${name}.calls`);
  const script = `#!/bin/sh\necho "$UPLOAD_PORT|$*" >> "${calls}"\n${lines}\n`;
  await writeFile(join(folder, name), script);
  await chmod(join(folder, name), 0o755);
}

const isPosix = process.platform !== "win32";
if (!isPosix) console.log("dev and flash are not tested on Windows, where the programs of the tests do not run.");

(isPosix ? describe : describe.skip)("with the tools of an SDK", () => {
  const cloudPsk = "Y2xvdWQgY3JlZGVudGlhbA==";
  let around: Surroundings;
  let sdk: string;
  let port: string;

  beforeEach(async () => {
    expect((await init()).code).toBe(0);
    sdk = join(project, "sdk");
    port = join(project, "ttyUSB0");
    await writeFile(port, "");
    await program(join(sdk, "bin"), "mcconfig");
    await program(join(sdk, "bin"), "idf.py");
    await program(join(sdk, "bin"), "mcsim", 'echo "reading 1 delivered"');
    const PATH = [join(sdk, "bin"), dirname(process.execPath), "/usr/bin", "/bin"].join(delimiter);
    around = { env: { PATH, MODDABLE: sdk, IDF_PATH: sdk, UPLOAD_PORT: port, DISPLAY: ":0" } };
    const secrets = { wifi: "lab", wifiPassword: "secret", productId: "PRODUCT001", deviceName: "d1", psk: cloudPsk };
    await writeFile(join(project, "secrets.json"), JSON.stringify(secrets));
  });

  const calls = async (name: string) => (await read(`${name}.calls`)).trimEnd().split("\n");

  /** Runs until `enough` was printed, interrupts then. */
  async function until(args: string[], enough: RegExp): Promise<Run> {
    let interrupt = () => {};
    return run([...args, "--project", project], {
      ...around,
      onInterrupt: (callback) => {
        interrupt = callback;
      },
      onOutput: (output) => {
        if (enough.test(output)) interrupt();
      },
    });
  }

  const flash = (...args: string[]) => run(["flash", "--board", "esp32c3", "--project", project, ...args], around);
  const desk = () =>
    until(["flash", "--board", "esp32c3", "--desk", "--host", "127.0.0.1", "--port", "0"], /the gateway waits/);

  test("flash:desk builds with url, CA and psk of the gateway, and without the credential for the cloud", async () => {
    const { code, stdout, stderr } = await desk();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const { include, config, resources } = await readJson("build/desk/manifest.json");
    const sample = await readJson(".tencent-iothub/sample.json");
    const [url] = /https:\/\/127\.0\.0\.1:\d+/.exec(stdout) as RegExpExecArray;
    expect(config).toEqual({
      wifi: "lab",
      wifiPassword: "secret",
      url,
      productId: sample.productId,
      deviceName: sample.deviceName,
      psk: sample.psk,
      storage: "desk",
    });
    expect(include).toEqual(["../../manifest.json"]);
    expect(resources).toEqual({ "*": "./ca/*" });
    expect((await readFile(join(project, "build/desk/ca/gateway-root.der"))).length).toBeGreaterThan(200);
    expect(await calls("mcconfig")).toEqual([`${port}|-m -p esp32/esp32c3 -o build/desk build/desk/manifest.json`]);
  });

  test("flash never takes url, CA or credential of the gateway on the desk", async () => {
    await desk();
    const sample = await readJson(".tencent-iothub/sample.json");
    const der = await readFile(join(project, "build/desk/ca/gateway-root.der"));
    const { code, stdout, stderr } = await flash();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain(`flashing esp32c3 on ${port}, for ap-guangzhou`);
    const [, last] = await calls("mcconfig");
    expect(last).toBe(`${port}|-m -p esp32/esp32c3 -o build/flash build/flash/manifest.json`);
    // The manifest that is named, with all that it includes of the project, has only what secrets.json has.
    const manifest = await readJson("build/flash/manifest.json");
    expect(manifest).toEqual({
      include: ["../../manifest.json"],
      config: { wifi: "lab", wifiPassword: "secret", productId: "PRODUCT001", deviceName: "d1", psk: cloudPsk },
    });
    expect(manifest.config.psk).not.toBe(sample.psk);
    const own = await readJson("manifest.json");
    expect(own.config).toEqual({ region: "ap-guangzhou", intervalSeconds: expect.any(Number) });
    expect([own.resources, own.data]).toEqual([undefined, undefined]);
    for (const name of await filesOf(join(project, "build/flash"))) {
      expect((await readFile(join(project, "build/flash", name))).includes(der)).toBe(false);
    }
    expect((await stat(join(project, "build/flash/manifest.json"))).mode & 0o077).toBe(0);
  });

  test("flash refuses an app whose manifest names the gateway on the desk", async () => {
    const manifest = await readJson("manifest.json");
    manifest.include.push("./.tencent-iothub/moddable/manifest.json");
    await writeFile(join(project, "manifest.json"), JSON.stringify(manifest));
    const { code, stderr } = await flash();
    expect(code).toBe(2);
    expect(stderr).toMatch(/^error: INVALID_SETTINGS: manifest\.json names \.tencent-iothub, .*\n$/);
    expect(existsSync(join(project, "mcconfig.calls"))).toBe(false);
  });

  test.each([
    ["no network", { wifi: "" }, 'secrets.json has no Wi-Fi network in "wifi".'],
    ["no DeviceName", { deviceName: "" }, 'secrets.json has no "deviceName".'],
    ["no credential", { psk: "" }, 'secrets.json has neither "psk" nor "productSecret".'],
    [
      "a url",
      { url: "https://127.0.0.1:8443" },
      'secrets.json has an unknown setting "url"; settings that are not secret belong in manifest.json.',
    ],
    ["a number", { wifi: 7 }, 'secrets.json needs a text for "wifi".'],
  ])("flash refuses secrets with %s", async (_, change, message) => {
    await writeFile(join(project, "secrets.json"), JSON.stringify({ ...(await readJson("secrets.json")), ...change }));
    expect(await flash()).toEqual({ code: 3, stdout: "", stderr: `error: INVALID_SETTINGS: ${message}\n` });
  });

  test("no error quotes secrets that are not JSON", async () => {
    await writeFile(join(project, "secrets.json"), `{"psk": "${cloudPsk}" oops`);
    expect((await flash()).stderr).toBe("error: INVALID_SETTINGS: The file secrets.json is not a JSON object.\n");
  });

  test("takes a product secret, another platform and the debugger", async () => {
    const secrets = { wifi: "open", productId: "P", deviceName: "d", productSecret: "s" };
    await writeFile(join(project, "secrets.json"), JSON.stringify(secrets));
    const { code } = await run(["flash", "--board", "esp32/m5stack", "--xsbug", "--project", project], around);
    expect(code).toBe(0);
    expect((await readJson("build/flash/manifest.json")).config).toEqual(secrets);
    expect(await calls("mcconfig")).toEqual([
      `${port}|-m -p esp32/m5stack -d -o build/flash build/flash/manifest.json`,
    ]);
  });

  test("a failed build is one sentence, and ends the gateway", async () => {
    await program(join(sdk, "bin"), "mcconfig", "echo oops; exit 3");
    for (const args of [[], ["--desk", "--host", "127.0.0.1", "--port", "0"]]) {
      const { code, stdout, stderr } = await flash(...args);
      expect(stdout).toContain("\noops\n");
      expect([code, stderr]).toEqual([1, "error: BUILD_FAILED: mcconfig failed (3); its output is above.\n"]);
    }
  });

  const missing: [string, string[], Record<string, string>, RegExp][] = [
    ["MODDABLE", ["dev"], { MODDABLE: "" }, /^error: SDK_MISSING: MODDABLE is not set: .*\n$/],
    [
      "the SDK",
      ["dev"],
      { MODDABLE: "/nowhere" },
      /^error: SDK_MISSING: MODDABLE names \/nowhere, which does not .*\n$/,
    ],
    ["the SDK's tools", ["dev"], { PATH: "" }, /^error: SDK_NOT_BUILT: The tools of the Moddable SDK in .*\n$/],
    ["a screen", ["dev"], { DISPLAY: "" }, /^error: DISPLAY_MISSING: .*DISPLAY is not set\. .*\n$/],
    ["MODDABLE", ["flash"], { MODDABLE: "" }, /^error: SDK_MISSING: MODDABLE is not set: .*\n$/],
    ["IDF_PATH", ["flash"], { IDF_PATH: "" }, /^error: IDF_MISSING: IDF_PATH is not set: .*\n$/],
    ["ESP-IDF", ["flash"], { IDF_PATH: "/nowhere" }, /^error: IDF_MISSING: IDF_PATH names \/nowhere, which .*\n$/],
    [
      "the board",
      ["flash"],
      { UPLOAD_PORT: "/nowhere" },
      /^error: SERIAL_PORT_MISSING: UPLOAD_PORT is \/nowhere, .*\n$/,
    ],
  ];
  for (const [what, args, env, message] of missing) {
    const isNotLinux = env.DISPLAY === "" && process.platform !== "linux";
    if (isNotLinux) console.log("the missing screen is not tested: only on Linux is one looked for");
    (isNotLinux ? test.skip : test)(`${args[0]} says in one line that ${what} is missing`, async () => {
      const board = args[0] === "flash" ? ["--board", "esp32"] : [];
      const all = { ...around.env, ...env };
      const { code, stdout, stderr } = await run([...args, ...board, "--project", project], { ...around, env: all });
      expect([code, stdout]).toEqual([2, ""]);
      expect(stderr).toMatch(message);
    });
  }

  test("flash says in one line that the terminal lacks idf.py", async () => {
    await program(join(sdk, "elsewhere"), "mcconfig");
    const PATH = [join(sdk, "elsewhere"), "/usr/bin", "/bin"].join(delimiter);
    const env = { ...around.env, PATH };
    const { stderr } = await run(["flash", "--board", "esp32", "--project", project], { ...around, env });
    expect(stderr).toBe(`error: IDF_MISSING: idf.py is not on the PATH of this terminal. Run: . ${sdk}/export.sh\n`);
  });

  test("dev and flash refuse a folder without an app", async () => {
    for (const args of [["dev"], ["flash", "--board", "esp32"]]) {
      const { code, stderr } = await run([...args, "--project", join(project, "src")], around);
      expect(code).toBe(2);
      expect(stderr).toMatch(/^error: PROJECT_MISSING: .* has no manifest\.json: .*\n$/);
    }
  });

  const linux = process.platform === "linux" ? test : test.skip;
  if (process.platform !== "linux") console.log("dev is tested on Linux only: elsewhere mcconfig starts the simulator");

  linux("dev starts the app against a gateway, with url, CA and psk, and ends with the simulator", async () => {
    const { code, stdout, stderr } = await until(["dev"], /never printed/);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("sim     reading 1 delivered\n");
    expect(stdout).toMatch(/^page on http:\/\/127\.0\.0\.1:\d+\/$/m);
    expect((await stat(join(project, "build/sim/preferences"))).isDirectory()).toBe(true);
    const { config, resources } = await readJson("build/sim/manifest.json");
    const sample = await readJson(".tencent-iothub/sample.json");
    const [, port] = /gateway on https:\/\/[^:]+:(\d+)/.exec(stdout) as RegExpExecArray;
    expect(config).toEqual({
      url: `https://localhost:${port}`,
      productId: sample.productId,
      deviceName: sample.deviceName,
      psk: sample.psk,
      storage: "desk",
      file: { root: `${project}/build/sim/preferences/` },
    });
    expect(resources).toEqual({ "*": "./ca/*" });
    // The default goal of the SDK's makefile ends every other simulator of the computer.
    expect(await calls("mcconfig")).toEqual([
      `${around.env?.UPLOAD_PORT}|-m -p sim -t build -o build/sim build/sim/manifest.json`,
    ]);
    const library = join(project, "build/sim/bin/lin/mc/release/sim/mc.so");
    expect((await calls("mcsim"))[0]).toContain(`|${join(sdk, "build/simulators")} ${library}`);
  });

  linux("dev ends with an error when the app aborts, although the simulator stays open", async () => {
    await program(join(sdk, "bin"), "mcsim", 'echo "XS abort: unhandled exception"; exec sleep 600');
    const { code, stderr } = await until(["dev"], /never printed/);
    expect([code, stderr]).toEqual([1, "error: APP_ABORTED: The app has aborted; what it printed last is above.\n"]);
  });

  linux("dev ends quietly when it is interrupted while it builds", async () => {
    await program(join(sdk, "bin"), "mcconfig", 'echo "$$" > "$0.pid"; echo building; exec sleep 600');
    const { code, stderr } = await until(["dev"], /building/);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const pid = Number(await readFile(join(sdk, "bin/mcconfig.pid"), "utf8"));
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");
    expect(existsSync(join(project, "mcsim.calls"))).toBe(false);
  });

  linux("dev keeps CA and psk for the next start", async () => {
    const seen: string[] = [];
    for (let start = 0; start < 2; start++) {
      await until(["dev"], /never printed/);
      const { psk } = (await readJson("build/sim/manifest.json")).config;
      seen.push(psk + (await readFile(join(project, "build/sim/ca/gateway-root.der"), "base64")));
    }
    expect(seen[1]).toBe(seen[0]);
  });

  linux("dev ends the simulator when it is interrupted", async () => {
    await program(join(sdk, "bin"), "mcsim", 'echo "$$" > "$0.pid"; echo ready; exec sleep 600');
    const { code, stdout } = await until(["dev"], /ready/);
    expect([code, stdout.includes("ready")]).toEqual([0, true]);
    const pid = Number(await readFile(join(sdk, "bin/mcsim.pid"), "utf8"));
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");
  });
});

describe("the serial port", () => {
  const find = (names: string[], platform: NodeJS.Platform = "linux") => serialPort(undefined, platform, () => names);

  test("is the only one that a board may be at", () => {
    expect(find(["tty", "tty0", "ttyS0", "ttyUSB0"])).toBe("/dev/ttyUSB0");
    expect(find(["ttyACM1", "null"])).toBe("/dev/ttyACM1");
    expect(find(["cu.Bluetooth-Incoming-Port", "cu.usbserial-0001", "tty.usbserial-0001"], "darwin")).toBe(
      "/dev/cu.usbserial-0001",
    );
  });

  test("must be chosen if there are several, must be connected, and must be named on Windows", () => {
    expect(() => find(["ttyUSB1", "ttyUSB0"])).toThrow("There are 2 serial ports: set UPLOAD_PORT to one of them.");
    expect(() => find(["ttyS0"])).toThrow("No serial port was found: is the board connected?");
    expect(() => find([], "win32")).toThrow("UPLOAD_PORT is not set");
    expect(serialPort("COM3", "win32", () => [])).toBe("COM3");
  });
});
