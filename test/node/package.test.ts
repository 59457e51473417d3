import { type SpawnSyncReturns, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { type Block, LOCAL_GATEWAY, linksIn, pageDevice, programsFor } from "../../scripts/pages.mjs";
import { stripTypes } from "../../scripts/strip-types.mjs";
import { type Gateway, startGateway } from "../../tools/gateway/index.js";
import { BUILD_TIMEOUT_MS, build, run as runOnXs } from "../support/engine.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const PSK = "c2VjcmV0IG9mIHNlbnNvcjE=";
const description = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
const cli = JSON.parse(await readFile(join(root, "tools/package.json"), "utf8"));
// Installing must not depend on what the user of this machine has configured, nor on a registry.
const npm = ["--offline", "--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts"];

beforeAll(() => build(), BUILD_TIMEOUT_MS);

let folder: string;
let app: string;
let installed: string;
let tarball: string;
let tools: string;
let gateway: Gateway;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tencent-iothub-package-"));
  const [dist, stage] = [join(folder, "dist"), join(folder, "stage")];
  app = join(folder, "app");
  installed = join(app, "node_modules", description.name);
  await mkdir(app);
  succeed(
    spawnSync(process.execPath, ["node_modules/rollup/dist/bin/rollup", "-c", "--silent", "--configDist", dist], {
      cwd: root,
    }),
  );
  succeed(spawnSync(process.execPath, ["scripts/package.mjs", "--dist", dist, "--output", stage], { cwd: root }));
  const packed = succeed(spawnSync("npm", ["pack", "--json", "--pack-destination", folder, ...npm], { cwd: stage }));
  tarball = join(folder, JSON.parse(packed)[0].filename);
  await writeFile(join(app, "package.json"), JSON.stringify({ private: true, type: "module" }));
  succeed(spawnSync("npm", ["install", ...npm, tarball], { cwd: app }));
  tools = join(app, "node_modules", cli.name);
  await installTools(`${stage}-cli`);
  gateway = await startGateway({ devices: { products: { ABCDE12345: { devices: { sensor1: { psk: PSK } } } } } });
});

afterAll(async () => {
  await gateway?.close();
  if (folder !== undefined) await rm(folder, { recursive: true });
});

/**
 * Installs the package of the tools as npm would, from what it packs. npm itself would ask a registry for the
 * dependencies, which are linked here: for what they import themselves, Node looks where they really are.
 */
async function installTools(stage: string): Promise<void> {
  const packed = succeed(spawnSync("npm", ["pack", "--json", "--pack-destination", folder, ...npm], { cwd: stage }));
  await mkdir(tools);
  const archive = join(folder, JSON.parse(packed)[0].filename);
  succeed(spawnSync("tar", ["-xzf", archive, "--strip-components=1", "-C", tools]));
  for (const name of Object.keys(cli.dependencies).filter((name) => name !== description.name)) {
    await mkdir(dirname(join(app, "node_modules", name)), { recursive: true });
    await symlink(join(root, "node_modules", name), join(app, "node_modules", name));
  }
}

function succeed({ status, stdout, stderr, error }: SpawnSyncReturns<Buffer>): string {
  if (error) throw error;
  if (status !== 0) throw new Error(`It ended with ${status}: ${stderr}${stdout}`);
  return stdout.toString();
}

const files = async () => {
  const entries = await readdir(installed, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(installed.length + 1))
    .sort();
};

describe("the installed package", () => {
  test("has no dependencies", async () => {
    expect(description.dependencies).toBeUndefined();
    const locked = JSON.parse(await readFile(join(app, "package-lock.json"), "utf8"));
    expect(Object.keys(locked.packages)).toEqual(["", `node_modules/${description.name}`]);
  });

  test("contains the expected files only", async () => {
    const names = await files();
    for (const name of [
      "README.md",
      "LICENSE",
      "CHANGELOG.md",
      "docs/errors.md",
      "package.json",
      "manifest.json",
      "manifest-http.json",
      "host/moddable/sdk-tls.json",
    ]) {
      expect(names).toContain(name);
    }
    const folders = /^(dist\/(bare|es|moddable|types)|host\/moddable\/anchors)\//;
    const single =
      /^(README\.md|LICENSE|CHANGELOG\.md|docs\/errors\.md|package\.json|manifest(-http)?\.json|host\/moddable\/sdk(-tls)?\.json)$/;
    expect(names.filter((name) => !folders.test(name) && !single.test(name))).toEqual([]);
    expect(names.filter((name) => /test|tsconfig|\.map$|(?<!\.d)\.ts$/.test(name))).toEqual([]);
    const packed = JSON.parse(await readFile(join(installed, "package.json"), "utf8"));
    expect(Object.keys(packed)).not.toEqual(expect.arrayContaining(["private"]));
    expect(packed).toMatchObject({ name: description.name, exports: description.exports });
    expect(packed.bin).toBeUndefined();
  });

  test("has pages whose links lead to its own files or to the web", async () => {
    const pages = (await files()).filter((name) => name.endsWith(".md")).map((name) => join(installed, name));
    expect(pages.length).toBe(3);
    for (const page of [...pages, join(tools, "README.md")]) {
      const text = await readFile(page, "utf8");
      const links = linksIn(text).map((link) => link.split("#")[0]);
      expect([page, links.filter((link) => !existsSync(join(dirname(page), link)))]).toEqual([page, []]);
    }
    const readme = await readFile(join(installed, "README.md"), "utf8");
    expect(linksIn(readme)).toContain("docs/errors.md");
    expect(readme).not.toContain("](docs/images/");
    // What is left of a link is its text.
    expect(readme).toContain("English | 简体中文");
  });

  test("cannot be published by mistake from the checkout", () => {
    expect(description.private).toBe(true);
  });

  test("contains every file of its package.json", () => {
    const paths: string[] = [];
    const collect = (target: unknown): void => {
      if (typeof target === "string") paths.push(target);
      else for (const inner of Object.values(target as object)) collect(inner);
    };
    collect(description.exports);
    expect(paths.length).toBeGreaterThan(8);
    const complete = existsSync(join(root, "host/moddable/index.ts"));
    const wanted = paths.filter((path) => complete || !/moddable\/index/.test(path));
    expect(wanted.filter((path) => !existsSync(join(installed, path)))).toEqual([]);
  });

  test("contains no paths of the build machine", async () => {
    const telling: string[] = [];
    for (const name of await files()) {
      const content = await readFile(join(installed, name), "utf8");
      if (content.includes(root) || content.includes(folder)) telling.push(name);
    }
    expect(telling).toEqual([]);
  });
});

describe("programs of the pages", () => {
  const place = ({ page, section }: Block) => `${page}, ${section}`;
  /** With the gateway of this test instead of the one that a user starts. */
  const textOf = ({ text }: Block) => text.replaceAll(LOCAL_GATEWAY, gateway.url);

  test.each([...programsFor("node"), ...programsFor("fetch")].map((block) => [place(block), block] as const))(
    "%s: runs with the installed package, and publishes",
    async (_place, block) => {
      const source = join(app, `page-${block.page.replace(/\W/g, "-")}-${block.line}.ts`);
      await writeFile(source, textOf(block));
      const program = source.replace(/ts$/, "mjs");
      await writeFile(program, (await stripTypes(source)).code);
      const before = gateway.counts.accepted;
      const env = { PATH: process.env.PATH, TENCENT_IOTHUB_URL: gateway.url, TENCENT_IOTHUB_PSK: pageDevice.psk };
      const stdout = await node([program], env);
      // A program may start another gateway.
      if (block.text.includes("startGateway")) expect(stdout).toBe("1 of 2 requests accepted\n");
      else expect(gateway.counts.accepted).toBe(before + 1);
    },
  );

  test.each(programsFor("jest").map((block) => [place(block), block] as const))(
    "%s: passes under jest, as a user starts it",
    async (_place, block) => {
      for (const name of ["nock", "@jest/globals"]) {
        await mkdir(dirname(join(app, "node_modules", name)), { recursive: true });
        await symlink(join(root, "node_modules", name), join(app, "node_modules", name));
      }
      await writeFile(join(app, "page.test.js"), textOf(block));
      const jest = join(root, "node_modules/jest/bin/jest.js");
      const { status, stderr } = spawnSync(process.execPath, [jest, "--rootDir", app, "page.test.js"], {
        cwd: app,
        env: { PATH: process.env.PATH, NODE_OPTIONS: "--experimental-vm-modules", CI: "true" },
      });
      expect(`${stderr}`).toMatch(/^Tests: +1 passed, 1 total$/m);
      expect(status).toBe(0);
    },
  );
});

describe("import in Node", () => {
  test("publishes", async () => {
    const script = `
      import { Device } from "${description.name}";
      const device = new Device({
        productId: "ABCDE12345", deviceName: "sensor1", url: ${JSON.stringify(gateway.url)},
        credential: { secret: ${JSON.stringify(PSK)} },
      });
      console.log((await device.publish({ topic: "data", payload: { temperature: 21.5 } })).requestId);
      device.close();`;
    const stdout = await node(["--input-type=module", "--eval", script]);
    const received = gateway.received.find(({ requestId }) => requestId === stdout.trim());
    expect(received?.payload?.toString()).toBe('{"temperature":21.5}');
  });

  test("provides the portable core", async () => {
    const script = `
      import * as all from "${description.name}";
      import * as core from "${description.name}/core";
      console.log(JSON.stringify({ all: Object.keys(all), core: Object.keys(core) }));`;
    const { all, core } = JSON.parse(await node(["--input-type=module", "--eval", script]));
    expect(core).toContain("Device");
    expect(all.filter((name: string) => !core.includes(name)).sort()).toEqual(["createHost", "createStorage"]);
    expect(core.filter((name: string) => !all.includes(name))).toEqual([]);
    // Nothing that it reaches imports a module of Node.
    const reached = ["core.js", "crypto.js", "fetch.js", "host.js", "signing.js", "topics.js"];
    for (const name of reached) {
      const code = await readFile(join(installed, "dist/es", name), "utf8");
      expect([name, [...code.matchAll(/\brequire\(|\bimport\(/g)].map(String)]).toEqual([name, []]);
      for (const [, from] of code.matchAll(/^(?:import|export)\b[^;]*?\bfrom "([^"]+)";/gm)) {
        expect([name, from]).toEqual([name, expect.stringMatching(/^\.\.?\//)]);
        const file = join(dirname(name), from);
        if (!reached.includes(file)) reached.push(file);
      }
    }
    expect(reached.length).toBeGreaterThan(5);
    expect(reached).not.toContain("node.js");
  });

  test("publishes over fetch where a bundler for workerd resolves it", async () => {
    const script = `
      import * as all from "${description.name}";
      const device = new all.Device({
        productId: "ABCDE12345", deviceName: "sensor1", url: ${JSON.stringify(gateway.url)},
        credential: { secret: ${JSON.stringify(PSK)} },
      });
      const { status } = await device.publish({ topic: "data", payload: { temperature: 21.5 } });
      console.log(JSON.stringify([status, "createHost" in all, "createStorage" in all]));
      device.close();`;
    const stdout = await node(["--conditions=workerd", "--input-type=module", "--eval", script]);
    expect(JSON.parse(stdout)).toEqual([200, true, false]);
  });

  test("has one IotHubError for all entries", async () => {
    const entries = ["", "/core", "/node", "/fetch"].map((entry) => description.name + entry);
    const script = `
      import { hexDecode } from "${description.name}/crypto";
      import { NetworkError } from "${description.name}/host";
      import { signRequest } from "${description.name}/signing";
      import { topics } from "${description.name}/topics";
      const thrown = (callback) => {
        try {
          callback();
        } catch (error) {
          return error;
        }
      };
      const errors = [
        new NetworkError("TIMEOUT", "read", "x"),
        thrown(() => hexDecode("x")),
        thrown(() => signRequest({ host: "", path: "/", body: "" }, { secret: "x" }, { timestampSeconds: 1, nonce: 1 })),
        thrown(() => topics({ productId: "", deviceName: "" })),
      ];
      const found = {};
      for (const entry of ${JSON.stringify(entries)}) {
        const { IotHubError, Device } = await import(entry);
        errors.push(thrown(() => new Device({}, { http: {} })));
        found[entry] = IotHubError;
      }
      console.log(JSON.stringify(Object.values(found).map((c) => errors.map((e) => e instanceof c))));`;
    const results = JSON.parse(await node(["--input-type=module", "--eval", script]));
    expect(results).toEqual(entries.map(() => Array(8).fill(true)));
  });

  test("works in a CommonJS program with import()", async () => {
    const script = `import("${description.name}").then(({ version }) => console.log(version));`;
    expect((await node(["--input-type=commonjs", "--eval", script])).trim()).toBe(description.version);
  });

  test("provides topics with the same IotHubError", async () => {
    const script = `
      import { Device, IotHubError } from "${description.name}";
      import { topics } from "${description.name}/topics";
      const device = new Device({
        productId: "ABCDE12345", deviceName: "sensor1", url: ${JSON.stringify(gateway.url)},
        credential: { secret: ${JSON.stringify(PSK)} },
      });
      const { propertyReport, eventPost } = topics(device);
      let refused;
      try {
        eventPost("low", "fatal", {});
      } catch (error) {
        refused = { typed: error instanceof IotHubError, code: error.code };
      }
      const { topic } = await device.publish(propertyReport({ temperature: 21.5 }));
      console.log(JSON.stringify({ refused, topic }));
      device.close();`;
    expect(JSON.parse(await node(["--input-type=module", "--eval", script]))).toEqual({
      refused: { typed: true, code: "INVALID_EVENT_TYPE" },
      topic: "$thing/up/property/ABCDE12345/sensor1",
    });
  });
});

// Each is a project as users have them: with every check of TypeScript, of the library's declarations, too.
describe("the types of the installed package hold", () => {
  const fixtures = join(root, "test/fixtures/types");
  /** What a project has installed besides the library. */
  const typings: Record<string, readonly string[]> = {
    bundler: [],
    "bundler-moddable": ["@moddable/typings"],
    "moddable-sdk": ["@moddable/typings"],
  };

  test("in every fixture", async () => {
    expect((await readdir(fixtures)).length).toBeGreaterThanOrEqual(9);
  });

  test.each(readdirSync(fixtures))("in a project of the kind %s", async (name) => {
    const project = join(folder, "typed", name);
    // The resolvers of Node differ by their settings only, and compile the same program.
    if (name.startsWith("node")) await cp(join(fixtures, "node16"), project, { recursive: true });
    await cp(join(fixtures, name), project, { recursive: true });
    await writeFile(
      join(project, "package.json"),
      JSON.stringify({ private: true, type: name === "commonjs" ? "commonjs" : "module" }),
    );
    for (const needed of typings[name] ?? ["@types/node", "undici-types"]) {
      await mkdir(join(project, "node_modules", dirname(needed)), { recursive: true });
      await symlink(join(root, "node_modules", needed), join(project, "node_modules", needed));
    }
    // A copy: through a link, TypeScript would look for typings beside the link's target.
    await cp(installed, join(project, "node_modules", description.name), { recursive: true });
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    succeed(spawnSync(process.execPath, [tsc, "-p", "."], { cwd: project }));
  });

  test("and report a wrong type", async () => {
    const project = join(folder, "typed", "nodenext");
    await writeFile(
      join(project, "wrong.ts"),
      'import { TokenBucket } from "tencent-iothub-xs";\nnew TokenBucket({});\n',
    );
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const { status, stdout } = spawnSync(process.execPath, [tsc, "-p", "."], { cwd: project, encoding: "utf8" });
    expect([status, stdout]).toEqual([2, expect.stringContaining("no exported member 'TokenBucket'")]);
  });
});

describe("the command line", () => {
  const bin = () => join(tools, cli.bin["tencent-iothub"]);
  const publish = ["publish", "--product-id", "ABCDE12345", "--device-name", "sensor1", "--topic", "data"];

  test("runs by its name, and ends with the code of what happened", async () => {
    expect(await command(["--version"])).toEqual({ code: 0, stdout: `${description.version}\n`, stderr: "" });
    const given = { TENCENT_IOTHUB_PSK: PSK, TENCENT_IOTHUB_URL: gateway.url };
    expect(await command([...publish, "--json", "hello"], given)).toMatchObject({ code: 0, stderr: "" });
    const refused = await command([...publish, "--device-name", "sensor9", "hello"], given);
    expect(refused).toMatchObject({ code: 5, stdout: "" });
    expect(refused.stderr).toMatch(/^error: GATEWAY_REJECTED: [^\n]*\n$/);
  });

  test("reads standard input", async () => {
    const given = { TENCENT_IOTHUB_PSK: PSK, TENCENT_IOTHUB_URL: gateway.url };
    gateway.clearReceived();
    expect(await command([...publish, "-"], given, "温度\n")).toMatchObject({ code: 0 });
    expect(gateway.received[0].payload?.toString()).toBe("温度\n");
  });

  test("runs the demo", async () => {
    const { code, stdout, stderr } = await command(["demo"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^([0-9]+) of \1 messages published, verified and received byte for byte/m);
  });

  test.each(["SIGINT", "SIGTERM"] as const)("ends the gateway cleanly on %s", async (signal) => {
    const child = spawn(bin(), ["gateway", "--port", "0", "--no-state", "--json"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let stdout = "";
    const started = new Promise<void>((resolve) => {
      child.stdout.on("data", (chunk) => {
        stdout += chunk;
        if (stdout.includes("\n")) resolve();
      });
    });
    const end = once(child, "close");
    await Promise.race([started, end]);
    child.kill(signal);
    expect(await end).toEqual([0, null]);
    expect(stdout.trimEnd().split("\n").at(-1)).toBe('{"requests":0,"accepted":0,"refused":0}');
  });

  test("serves the gateway's page with all of its files", async () => {
    const args = ["gateway", "--port", "0", "--ui-port", "0", "--no-state", "--json"];
    const child = spawn(bin(), args, { stdio: ["ignore", "pipe", "inherit"] });
    const end = once(child, "close");
    const [line] = await Promise.race([once(child.stdout, "data"), end.then(() => ["{}"])]);
    const { uiUrl } = JSON.parse(`${line}`);
    const statuses: [string, number][] = [];
    try {
      const page = await (await fetch(uiUrl)).text();
      const files = [...page.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, file]) => file);
      for (const file of files) {
        const response = await fetch(new URL(file, uiUrl));
        statuses.push([file, response.status]);
        const imports = file.endsWith(".js")
          ? [...(await response.text()).matchAll(/^import [^;]*?"([^"]+)";$/gm)]
          : [];
        for (const [, from] of imports) {
          const { pathname } = new URL(from, new URL(file, uiUrl));
          if (!files.includes(pathname)) files.push(pathname);
        }
      }
    } finally {
      child.kill();
      await end;
    }
    expect(statuses.length).toBeGreaterThan(12);
    expect(statuses.filter(([, status]) => status !== 200)).toEqual([]);
  });

  test("loads the gateway for those commands alone that need it", async () => {
    for (const name of ["tencent-iothub.js", "publish.js", "sign.js", "register.js"]) {
      expect([name, (await loaded(name)).filter((from) => from === "fastify")]).toEqual([name, []]);
    }
    expect(await loaded("demo.js")).toContain("fastify");
  });

  test("depends on libraries whose licences go with MIT", async () => {
    const lock = JSON.parse(await readFile(join(root, "package-lock.json"), "utf8"));
    const found = new Map<string, string>();
    const add = (names: readonly string[], from: string) => {
      for (const name of names) {
        // Where Node looks: in the folder of each package on the way up.
        let at = from;
        while (lock.packages[`${at}node_modules/${name}`] === undefined) {
          if (at === "") throw new Error(`${name} is not locked.`);
          at = at.slice(0, at.lastIndexOf("node_modules/"));
        }
        const path = `${at}node_modules/${name}`;
        if (found.has(path) || name === description.name) continue;
        found.set(path, lock.packages[path].license);
        add(Object.keys(lock.packages[path].dependencies ?? {}), `${path}/`);
      }
    };
    add(Object.keys(cli.dependencies), "");
    expect(found.size).toBeGreaterThan(Object.keys(cli.dependencies).length);
    const wrong = [...found].filter(
      ([, license]) => !/^(MIT|ISC|0BSD|BSD-[23]-Clause|Apache-2\.0|BlueOak-1\.0\.0)$/.test(license),
    );
    expect(wrong).toEqual([]);
  });

  test("says what to do where it was not built", async () => {
    const unbuilt = join(folder, "unbuilt/bin");
    await mkdir(unbuilt, { recursive: true });
    await cp(bin(), join(unbuilt, "tencent-iothub.mjs"));
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(unbuilt, "tencent-iothub.mjs")]);
    expect([status, `${stdout}`]).toEqual([1, ""]);
    expect(`${stderr}`).toBe("error: NOT_BUILT: This checkout has not been built; npm run build does it.\n");
  });

  test("has a file for everything that its description names, and its version", async () => {
    const paths = [...Object.values<string>(cli.bin)];
    for (const target of Object.values<string | Record<string, string>>(cli.exports)) {
      paths.push(...(typeof target === "string" ? [target] : Object.values(target)));
    }
    expect(paths.filter((path) => !existsSync(join(tools, path)))).toEqual([]);
    expect(cli.version).toBe(description.version);
    expect(cli.dependencies[description.name]).toBe(description.version);
  });

  test.each([
    ["gateway", "typeof gateway.url", "const gateway = await startGateway(); await gateway.close();", "startGateway"],
    ["diagnose", "typeof describeDiagnosis", "", "describeDiagnosis"],
  ])("can be imported in parts: %s, without the library", async (part, expression, code, name) => {
    expect(await loaded(`${part}.js`)).not.toContain(description.name);
    const script = `import { ${name} } from "${cli.name}/${part}"; ${code} console.log(${expression});`;
    expect((await node(["--input-type=module", "--eval", script])).trim()).toMatch(/^(string|function)$/);
  });

  async function command(args: string[], env: Record<string, string> = {}, stdin = "") {
    const child = spawn(bin(), args, { env: { PATH: process.env.PATH, ...env } });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    child.stdin.end(stdin);
    const [code] = await once(child, "close");
    return { code, stdout, stderr };
  }

  /** All files and packages that a file imports before it runs. */
  async function loaded(name: string): Promise<string[]> {
    const seen = [name];
    for (const file of seen) {
      if (!file.endsWith(".js")) continue;
      const code = await readFile(join(tools, "dist", file), "utf8");
      for (const [, imported] of code.matchAll(/^(?:import|export)\b[^;]*?["'](?:\.\/)?([^"']+)["'];/gm)) {
        if (!seen.includes(imported)) seen.push(imported);
      }
    }
    return seen;
  }
});

describe("for other engines", () => {
  const sign = `TencentIoTHub.signRequest(
    { host: "Example.com:443", path: "/device/publish", body: '{"t":"温度"}' },
    TencentIoTHub.createSigner({ secret: "${PSK}" }), { timestampSeconds: 1700000000, nonce: 42 }).signature`;

  test("the script signs on XS, under its global name, like the command line", async () => {
    const path = join(installed, "dist/bare/tencent-iothub.min.js");
    const { end, output, message } = await runOnXs({ script: `print(${sign});` }, { preload: [path] });
    expect({ end, message }).toEqual({ end: "ok", message: "" });
    const signed = succeed(
      spawnSync(process.execPath, [
        join(tools, "dist/tencent-iothub.js"),
        ...["sign", "--json", "--host", "example.com", "--body", '{"t":"温度"}', "--psk", PSK],
        ...["--timestamp", "1700000000", "--nonce", "42"],
      ]),
    );
    expect(output.trim()).toBe(JSON.parse(signed).signature);
  });

  test("the Moddable entries import only modules of its SDK, and contain what mcpack looks for", async () => {
    const names = (await files()).filter((name) => /^dist\/moddable\/.*\.js$/.test(name));
    expect(names).toEqual(
      expect.arrayContaining(["dist/moddable/host/moddable/index.js", "dist/moddable/host/moddable/index-http.js"]),
    );
    const read = async (name: string) => JSON.parse(await readFile(join(installed, "dist/moddable", name), "utf8"));
    const manifestOf = async (folder: string) => {
      const { include, ...rest } = await read(`${folder}manifest.json`);
      expect(include.length).toBe(1);
      const path = join("dist/moddable", folder, include[0]);
      expect(existsSync(join(installed, path))).toBe(true);
      return { include: path, ...rest };
    };
    expect(await read("package.json")).toEqual({ name: description.name, type: "module" });
    const { include, preload, platforms } = await manifestOf("");
    expect(include).toBe("host/moddable/sdk.json");
    const modules: string[] = [...preload, ...platforms.esp32.preload];
    // What apps import by these names, mcpack maps itself.
    const entries = ["", "/crypto", "/host", "/signing", "/topics"].map((entry) => description.name + entry);
    expect(modules).toEqual(expect.arrayContaining(entries));
    for (const module of modules.filter((module) => !entries.includes(module))) {
      expect(names).toContain(`dist/moddable${module.slice(description.name.length)}.js`);
    }
    // Only apps that import a module from there get what the SDK has for TLS.
    const tls = "host/moddable/tls/";
    expect(await read(`${tls}package.json`)).toEqual({ name: `${description.name}/host/moddable/tls`, type: "module" });
    expect(await manifestOf(tls)).toEqual({ include: "host/moddable/sdk-tls.json" });
    const importsOf = async (name: string) => {
      const code = await readFile(join(installed, name), "utf8");
      return [...code.matchAll(/^(?:import|export)\b[^;]*?\bfrom ["']([^"']+)["'];/gm)].map(([, from]) => from);
    };
    const withoutTls = ["dist/moddable/host/moddable/index-http.js"];
    for (const name of withoutTls) {
      for (const from of (await importsOf(name)).filter((from) => from.startsWith("."))) {
        const file = join(dirname(name), from);
        if (!withoutTls.includes(file)) withoutTls.push(file);
      }
    }
    expect(withoutTls.length).toBeGreaterThan(40);
    expect(withoutTls.filter((name) => name.includes(tls))).toEqual([]);
    for (const name of names) {
      for (const from of await importsOf(name)) {
        if (from.startsWith(".")) expect(names).toContain(join(dirname(name), from));
        else expect(from).not.toMatch(/^(node:|\/)/);
      }
    }
  });
});

describe("the manifests for mcconfig", () => {
  interface Part {
    readonly include?: readonly string[];
    readonly modules?: Readonly<Record<string, string | readonly string[]>>;
    readonly preload?: readonly string[];
  }
  const read = async (folder: string, name: string) =>
    JSON.parse(await readFile(join(folder, name), "utf8")) as Part & { platforms: Record<string, Part> };
  const checkout = async (name: string) => [await read(root, "host/moddable/manifest.json"), await read(root, name)];
  const parts = (manifests: readonly (Part & { readonly platforms?: Record<string, Part> })[], platform: string) =>
    manifests.flatMap((one) => [one, one.platforms?.[platform] ?? one.platforms?.["..."] ?? {}]);
  /** Files of a source, as mcconfig finds them: of every ending. */
  const filesOf = async (source: string) => {
    const found = await readdir(join(installed, dirname(source)), { withFileTypes: true });
    // A folder may have the name of a module.
    const files = found.filter((entry) => entry.isFile()).map((entry) => entry.name);
    return files.filter((file) => file.replace(/(\.d)?\.[a-z]+$/, "") === source.split("/").at(-1));
  };

  describe.each(["manifest.json", "manifest-http.json"])("%s", (name) => {
    test.each(["esp32", "lin"])("maps every module to one file of JavaScript, on %s", async (platform) => {
      const seen = new Set<string>();
      for (const { modules } of parts([await read(installed, name)], platform)) {
        for (const [module, sources] of Object.entries(modules ?? {})) {
          const found = (await Promise.all([sources].flat().map(filesOf))).flat();
          expect([module, found.filter((file) => file.endsWith(".js"))]).toEqual([module, [expect.any(String)]]);
          // Declarations are for apps in TypeScript; nothing is there for a compiler to do.
          expect(found.filter((file) => !/\.js$|\.d\.ts$/.test(file))).toEqual([]);
          expect([...seen]).not.toContain(module);
          seen.add(module);
        }
      }
      const wanted = parts(await checkout(name), platform).flatMap(({ modules }) =>
        Object.entries(modules ?? {}).flatMap(([target, sources]) =>
          [sources].flat().map((source) => target.replace("*", source.split("/").at(-1) as string)),
        ),
      );
      expect([...seen].sort()).toEqual([...new Set(wanted)].sort());
    });

    test.each(["esp32", "lin"])("preloads on %s what the checkout's does", async (platform) => {
      const preloads = (manifests: Parameters<typeof parts>[0]) =>
        parts(manifests, platform)
          .flatMap(({ preload }) => preload ?? [])
          .sort();
      const ours = preloads(await checkout(name));
      expect(ours.length).toBeGreaterThan(40);
      expect(preloads([await read(installed, name)])).toEqual(ours);
    });

    test("includes files that are there", async () => {
      const { include } = await read(installed, name);
      expect(include?.map((file) => existsSync(join(installed, file)))).toEqual([true]);
    });
  });
});

describe("an example that is copied out", () => {
  test.each(["sensor", "factory", "deep-sleep"])(
    "%s installs the package, and finds all that it names",
    async (name) => {
      const copies = join(folder, "examples");
      for (const part of ["board", name])
        await cp(join(root, "examples", part), join(copies, part), { recursive: true });
      const copy = join(copies, name);
      succeed(spawnSync("npm", ["install", ...npm, tarball], { cwd: copy }));
      const manifest = JSON.parse(await readFile(join(copy, "manifest.json"), "utf8"));
      expect(manifest.build).toEqual({ "TENCENT_IOTHUB ?=": "../.." });
      const library = join(copy, "node_modules", description.name);
      for (const include of manifest.include.filter((file: string) => !file.startsWith("$(MODDABLE)"))) {
        expect(existsSync(join(copy, include.replace("$(TENCENT_IOTHUB)", `node_modules/${description.name}`)))).toBe(
          true,
        );
      }
      expect(existsSync(join(library, "dist/moddable/entry.js"))).toBe(true);
      // Imports of the examples are modules of the SDK, of the library, or exports of a package that is installed.
      const own = JSON.parse(await readFile(join(copy, "package.json"), "utf8"));
      const code = await readFile(join(copy, "main.js"), "utf8");
      for (const [, from] of code.matchAll(/ from "((?:board|deep-sleep)\/[a-z]+)"/g)) {
        const [start, subpath] = from.split("/");
        const place = start === own.name ? copy : join(copy, "node_modules", start);
        const { exports } = JSON.parse(await readFile(join(place, "package.json"), "utf8"));
        expect(existsSync(join(place, exports[`./${subpath}`]))).toBe(true);
      }
    },
  );
});

describe("a project that init creates, with the packages installed", () => {
  describe.each(["typescript", "javascript"])("in %s", (language) => {
    let project: string;

    beforeAll(async () => {
      project = join(folder, `project-${language}`);
      const args = ["init", project, "--language", language, "--packages", folder];
      succeed(spawnSync(process.execPath, [join(tools, "bin/tencent-iothub.mjs"), ...args]));
      // As npm would install them; it would ask a registry for those that are not ours.
      const { dependencies, devDependencies } = await describeProject();
      const ours: Record<string, string> = { [description.name]: installed, [cli.name]: tools };
      for (const name of [...Object.keys({ ...dependencies, ...devDependencies }), "@jest/globals"]) {
        const link = join(project, "node_modules", name);
        await mkdir(dirname(link), { recursive: true });
        await symlink(ours[name] ?? join(root, "node_modules", name), link);
      }
    });

    const describeProject = async () => JSON.parse(await readFile(join(project, "package.json"), "utf8"));
    const checkTypes = () =>
      [".", "test"].map((path) =>
        spawnSync(process.execPath, [join(project, "node_modules/typescript/bin/tsc"), "-p", path], { cwd: project }),
      );

    test("depends on these packages, and on versions that are tried here", async () => {
      const { dependencies, devDependencies } = await describeProject();
      expect(dependencies).toEqual({ [description.name]: `file:../${basename(tarball)}` });
      const { [cli.name]: tarballOfTools, ...others } = devDependencies;
      expect(tarballOfTools).toMatch(/^file:\.\.\/tencent-iothub-cli-.*\.tgz$/);
      for (const [name, range] of Object.entries<string>(others)) {
        const own: string = description.devDependencies[name];
        expect([name, range.replace(/^[~^]/, "")]).toEqual([name, own]);
      }
    });

    test("has no type error, in the app with the types for Moddable nor in the test with those for Node", async () => {
      expect((await describeProject()).scripts.types).toBe("tsc -p . && tsc -p test");
      for (const done of checkTypes()) succeed(done);
    });

    test("shows a wrong type in the app and in its test", async () => {
      const ending = language === "typescript" ? "ts" : "js";
      const files = ["src/main", "test/app.test"].map((name) => join(project, `${name}.${ending}`));
      const before = await Promise.all(files.map((path) => readFile(path, "utf8")));
      try {
        for (const [i, path] of files.entries()) await writeFile(path, `${before[i]}\nnew Device(7);\n`);
        for (const { status, stdout } of checkTypes())
          expect([status, `${stdout}`]).toEqual([
            2,
            expect.stringMatching(/^\S+\(\d+,\d+\): error TS\d+: .*'(7|number)'/),
          ]);
      } finally {
        for (const [i, path] of files.entries()) await writeFile(path, before[i]);
      }
    });

    test("passes its own test", () => {
      const { NODE_OPTIONS: _, ...env } = process.env;
      const { status, stderr } = spawnSync("npm", ["test", ...npm], { cwd: project, env });
      expect(`${stderr}`).toContain("2 passed");
      expect(status).toBe(0);
    });
  });
});

/** Not `spawnSync`: the gateway runs in this very process. */
async function node(args: string[], env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const child = spawn(process.execPath, args, { cwd: app, env, stdio: ["ignore", "pipe", "inherit"] });
  let stdout = "";
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  const [code] = await once(child, "close");
  expect(code).toBe(0);
  return stdout;
}
