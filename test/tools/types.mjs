// Type-checks every part of the project with its own tsconfig: the layering is what each of them lets its files see.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const projects = ["src", "host/node", "host/node/cli", "host/moddable", "mocks", "test/conformance", "test", "bench"];
projects.push("test/sim", "test/sim/app", "examples");
projects.push(readme());
if (process.env.MODDABLE) projects.push(againstSdk(process.env.MODDABLE), examplesAgainstSdk(process.env.MODDABLE));
let failed = 0;
for (const project of projects.filter((name) => existsSync(`${root}${name}/tsconfig.json`))) {
  const { status } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", project], {
    cwd: root,
    stdio: "inherit",
  });
  console.log(`${status === 0 ? "ok    " : "failed"} ${project}`);
  failed += status === 0 ? 0 : 1;
}
process.exitCode = failed ? 1 : 0;

/** The Moddable host once more, with the SDK's own typings in place of those on npm. */
function againstSdk(sdk) {
  return sdkProject("sdk-types", sdk, "host/moddable", [`${root}host/moddable/**/*.ts`]);
}

/** The examples, without their declarations of what the SDK declares: these must not say otherwise than the SDK. */
function examplesAgainstSdk(sdk) {
  const declarations = [`${root}host/moddable/declarations/sdk.d.ts`, `${root}examples/declarations/native.d.ts`];
  return sdkProject("sdk-examples", sdk, "examples", [`${root}examples/**/*.js`, ...declarations]);
}

function sdkProject(name, sdk, project, include) {
  const folder = `node_modules/.cache/tencent-iothub-xs/${name}`;
  const typings = ["Resource", "crypt", "mc/config", "net", "preference", "time", "timer"];
  const more = ["embedded_network/http/client", "embedded_network/interface/wifi"];
  const streams = ["_common", "analog", "socket/tcp", "socket/udp"].map((name) => `embedded_io/${name}`);
  const config = {
    extends: `${root}${project}/tsconfig.json`,
    compilerOptions: {
      rootDir: root,
      lib: ["ES2025"],
      types: [`${sdk}/xs/includes/xs`, ...[...typings, ...streams, ...more].map((name) => `${sdk}/typings/${name}`)],
    },
    include,
    exclude: [`${root}host/moddable/declarations/crypt.d.ts`, `${root}**/*.test.ts`, `${root}examples/**/node_modules`],
  };
  mkdirSync(`${root}${folder}`, { recursive: true });
  writeFileSync(`${root}${folder}/tsconfig.json`, JSON.stringify(config));
  return folder;
}

/** The programs that the README shows, each a module of its own. */
function readme() {
  const project = "node_modules/.cache/tencent-iothub-xs/readme";
  rmSync(`${root}${project}`, { recursive: true, force: true });
  mkdirSync(`${root}${project}`, { recursive: true });
  const blocks = readFileSync(`${root}README.md`, "utf8").matchAll(/^```(?:ts|js)\n([\s\S]*?)^```/gm);
  for (const [index, [, code]] of [...blocks].entries()) {
    writeFileSync(`${root}${project}/block-${index + 1}.ts`, code);
  }
  const { compilerOptions } = JSON.parse(readFileSync(`${root}host/moddable/tsconfig.json`, "utf8"));
  const config = {
    extends: `${root}host/moddable/tsconfig.json`,
    compilerOptions: {
      rootDir: root,
      paths: { "tencent-iothub-xs": [`${root}host/moddable/index.ts`] },
      // Without a folder, names of packages are looked up from where this configuration stands.
      types: compilerOptions.types.map((name) => `${root}node_modules/${name}.d.ts`),
    },
    include: ["*.ts", `${root}host/moddable/declarations/*.d.ts`],
  };
  // The blocks stand where package.json says they are modules.
  writeFileSync(`${root}${project}/package.json`, '{ "type": "module" }');
  writeFileSync(`${root}${project}/tsconfig.json`, JSON.stringify(config));
  return project;
}
