// Type-checks every part of the project with its own tsconfig: the layering is what each of them lets its files see.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const projects = ["src", "host/node", "host/node/cli", "host/moddable", "mocks", "test/conformance", "test", "bench"];
projects.push("test/sim", "test/sim/app", "examples");
projects.push(readme());
if (process.env.MODDABLE) projects.push(againstSdk(process.env.MODDABLE));
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
  const project = "node_modules/.cache/tencent-iothub-xs/sdk-types";
  const typings = ["Resource", "crypt", "mc/config", "net", "preference", "time", "timer"];
  const sockets = ["_common", "socket/tcp", "socket/udp"].map((name) => `embedded_io/${name}`);
  const config = {
    extends: `${root}host/moddable/tsconfig.json`,
    compilerOptions: {
      rootDir: root,
      lib: ["ES2025"],
      types: [
        `${sdk}/xs/includes/xs`,
        ...[...typings, ...sockets, "embedded_network/http/client"].map((name) => `${sdk}/typings/${name}`),
      ],
    },
    include: [`${root}host/moddable/**/*.ts`],
    exclude: [`${root}host/moddable/declarations/crypt.d.ts`, `${root}host/moddable/**/*.test.ts`],
  };
  mkdirSync(`${root}${project}`, { recursive: true });
  writeFileSync(`${root}${project}/tsconfig.json`, JSON.stringify(config));
  return project;
}

/** What the README shows, each block a module of its own. */
function readme() {
  const project = "node_modules/.cache/tencent-iothub-xs/readme";
  rmSync(`${root}${project}`, { recursive: true, force: true });
  mkdirSync(`${root}${project}`, { recursive: true });
  const around = "declare function trace(text: string): void;\ndeclare const productSecret: string;\nexport {};\n";
  const blocks = readFileSync(`${root}README.md`, "utf8").matchAll(/^```ts\n([\s\S]*?)^```/gm);
  for (const [index, [, code]] of [...blocks].entries()) {
    writeFileSync(`${root}${project}/block-${index + 1}.ts`, `${around}${code}`);
  }
  const config = {
    extends: `${root}host/node/tsconfig.json`,
    compilerOptions: {
      rootDir: root,
      noUnusedLocals: false,
      paths: { "tencent-iothub-xs": [`${root}host/node/index.ts`] },
      typeRoots: [`${root}node_modules/@types`],
    },
    include: ["*.ts"],
  };
  // The blocks stand where package.json says they are modules.
  writeFileSync(`${root}${project}/package.json`, '{ "type": "module" }');
  writeFileSync(`${root}${project}/tsconfig.json`, JSON.stringify(config));
  return project;
}
