/** How each runtime is started, and how it is made to trust the gateway's CA. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Report, Task } from "./program.js";

export interface Programs {
  /** Folder with script.mjs, worker.mjs, task.json and ca.pem. */
  readonly folder: string;
  readonly task: Task;
}

export interface Runtime {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  /** Outcomes where the runtime says less than others; empty: does not apply. */
  readonly less?: Readonly<Record<string, string>>;
  run(programs: Programs): Promise<Report>;
}

const modules = fileURLToPath(new URL("./node_modules/", import.meta.url));
const { dependencies } = JSON.parse(readFileSync(new URL("./package.json", import.meta.url), "utf8"));
/** What a runtime may take for everything, on a machine that does much else. */
const TIMEOUT_MS = 240_000;

const paths = {
  bun: `${modules}@oven/bun-linux-x64/bin/bun`,
  deno: `${modules}@deno/linux-x64-glibc/deno`,
  workerd: `${modules}@cloudflare/workerd-linux-64/bin/workerd`,
};

const versionOf = (name: string): string => (dependencies[name] as string).split("@").at(-1) as string;

const nodes = [20, 22, 24, 26].map((major): Runtime => {
  const version = versionOf(`node${major}`);
  return {
    id: `node${major}`,
    name: "Node",
    version,
    run: ({ folder }) =>
      runScript(`${modules}node${major}/bin/node`, [join(folder, "script.mjs"), join(folder, "task.json")], {
        NODE_EXTRA_CA_CERTS: join(folder, "ca.pem"),
      }),
  };
});

export const runtimes: readonly Runtime[] = [
  ...nodes,
  {
    id: "deno",
    name: "Deno",
    version: versionOf("@deno/linux-x64-glibc"),
    run: ({ folder }) => {
      const rights = ["--allow-net=127.0.0.1", `--allow-read=${folder}`, "--allow-env", "--allow-sys"];
      const alone = ["--no-prompt", "--no-remote", "--no-npm", "--no-config", "--no-lock"];
      const args = ["run", ...alone, ...rights, `--cert=${join(folder, "ca.pem")}`];
      return runScript(paths.deno, [...args, join(folder, "script.mjs"), join(folder, "task.json")], {
        DENO_DIR: join(folder, "deno"),
        DENO_NO_UPDATE_CHECK: "1",
      });
    },
  },
  {
    id: "bun",
    name: "Bun",
    version: versionOf("@oven/bun-linux-x64"),
    run: ({ folder }) =>
      runScript(paths.bun, ["--no-install", join(folder, "script.mjs"), join(folder, "task.json")], {
        NODE_EXTRA_CA_CERTS: join(folder, "ca.pem"),
      }),
  },
  {
    id: "workerd",
    name: "workerd",
    version: versionOf("@cloudflare/workerd-linux-64"),
    // It says "Network connection lost." or "internal error" for all of these.
    less: {
      refused: "NETWORK_FAILED",
      "unknown CA": "NETWORK_FAILED",
      expired: "NETWORK_FAILED",
      "other name": "NETWORK_FAILED",
      reset: "NETWORK_FAILED",
      "not HTTP": "NETWORK_FAILED",
      "Node host": "",
    },
    run: runWorker,
  },
];

/** The variables of this process that a runtime needs, and none that changes what it trusts. */
function environment(more: Readonly<Record<string, string>>): Record<string, string> {
  const { PATH = "", HOME = "", TMPDIR = "/tmp" } = process.env;
  return { PATH, HOME, TMPDIR, ...more };
}

async function runScript(program: string, args: string[], env: Record<string, string>): Promise<Report> {
  const child = spawn(program, args, { env: environment(env), stdio: ["ignore", "pipe", "pipe"] });
  const out = text(child.stdout);
  const err = text(child.stderr);
  const code = await ended(child);
  const last = (await out).trim().split("\n").at(-1) ?? "";
  if (code !== 0 || !last.startsWith("{")) throw new Error(`it ended with ${code}: ${(await err).slice(-2000)}`);
  return JSON.parse(last);
}

async function runWorker({ folder, task }: Programs): Promise<Report> {
  const config = join(folder, "worker.capnp");
  await writeFile(
    config,
    `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "local", network = (
      allow = ["local"],
      tlsOptions = (trustBrowserCas = false, trustedCertificates = [embed "ca.pem"])
    ))
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")]
);

const worker :Workerd.Worker = (
  modules = [(name = "worker.mjs", esModule = embed "worker.mjs")],
  compatibilityDate = "2026-11-01",
  globalOutbound = "local"
);
`,
  );
  const child = spawn(paths.workerd, ["serve", config, "--control-fd=3"], {
    env: environment({}),
    stdio: ["ignore", "ignore", "pipe", "pipe"],
  });
  const err = text(child.stderr as Readable);
  const end = ended(child);
  try {
    const listening = JSON.parse(await Promise.race([firstLine(child.stdio[3] as Readable), failed(end, err)]));
    return JSON.parse(await post(listening.port, JSON.stringify(task)));
  } finally {
    child.kill();
    await end;
  }
}

/**
 * Starts the gateway on Bun and calls back with where it listens.
 * @returns what the callback returned
 */
export async function serveOnBun<T>(
  program: string,
  folder: string,
  psk: string,
  use: (gateway: { url: string; ca: string }) => Promise<T>,
): Promise<T> {
  const child = spawn(paths.bun, ["--no-install", program, psk], {
    env: environment({ BUN_RUNTIME_TRANSPILER_CACHE_PATH: join(folder, "bun") }),
    stdio: ["pipe", "pipe", "pipe"],
  });
  const err = text(child.stderr);
  const end = ended(child);
  try {
    return await use(JSON.parse(await Promise.race([firstLine(child.stdout), failed(end, err)])));
  } finally {
    child.stdin.end();
    await end;
  }
}

/** Resolves with the exit code; ends a child that takes too long. */
async function ended(child: ChildProcess): Promise<number | null> {
  const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
  try {
    const [code] = await once(child, "close");
    return code;
  } finally {
    clearTimeout(timer);
  }
}

async function failed(end: Promise<number | null>, err: Promise<string>): Promise<never> {
  const code = await end;
  throw new Error(`it ended with ${code}: ${(await err).slice(-2000)}`);
}

async function text(stream: Readable): Promise<string> {
  let all = "";
  for await (const chunk of stream.setEncoding("utf8")) all += chunk;
  return all;
}

function firstLine(stream: Readable): Promise<string> {
  return new Promise((resolve) => {
    let all = "";
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      all += chunk;
      const end = all.indexOf("\n");
      if (end >= 0) resolve(all.slice(0, end));
    });
  });
}

function post(port: number, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: "127.0.0.1", port, method: "POST", timeout: TIMEOUT_MS, agent: false });
    outgoing.on("response", (incoming) => {
      text(incoming).then((all) => {
        if (incoming.statusCode === 200) resolve(all);
        else reject(new Error(`the worker responded with ${incoming.statusCode}: ${all.slice(0, 2000)}`));
      }, reject);
    });
    outgoing.on("timeout", () => outgoing.destroy(new Error("the worker took too long")));
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}
