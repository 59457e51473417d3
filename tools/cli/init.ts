/** `tencent-iothub init`: creates the project of an app. */

import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { describeFileError } from "../../host/node/file-system.js";
import { type Board, boards, type Language, languages } from "./boards.js";
import { CliError } from "./failure.js";
import { colorsFor, printLine, type Streams, shellWord } from "./io.js";
import { version } from "./version.js";

export interface InitArguments {
  readonly board?: Board;
  readonly language?: Language;
  readonly packages?: string;
  readonly json?: boolean;
}

const templates = fileURLToPath(new URL("../templates/", import.meta.url));
/** Of no consequence for a new project. */
const harmless = [".git", ".DS_Store"];
const packages = ["tencent-iothub-xs", "tencent-iothub-cli"] as const;

export async function init(io: Streams, directory: string, given: InitArguments): Promise<void> {
  const folder = resolve(directory);
  await refuseUsed(folder, directory);
  const { board, language } = await choose(io, given);
  const dependencies = await findPackages(folder, given.packages);
  const values = { name: packageName(folder), board, version };
  const files = [
    ...(await render("project", values)),
    ...(await render(language, values)).map(([path, text]): [string, string] =>
      path === "package.json" ? [path, describe(text, board, dependencies)] : [path, text],
    ),
  ];
  for (const [path, text] of files) await write(join(folder, path), text);
  if (given.json) {
    printLine(io.stdout, JSON.stringify({ folder, board, language, files: files.map(([path]) => path).sort() }));
    return;
  }
  const c = colorsFor(io.stdout, io.env);
  const steps: [string, string][] = [
    ...(folder === process.cwd() ? [] : [[`cd ${shellWord(directory)}`, ""] as [string, string]]),
    ["npm install", ""],
    ["npm test", "the app against a gateway, on Node"],
    ["npm run dev", "the app in the simulator against a gateway, with the Moddable SDK"],
    ...(board === "sim"
      ? []
      : ([
          ["npm run flash:desk", "the app on the board, against a gateway on this computer: Wi-Fi in secrets.json"],
          ["npm run flash", "the app on the board, for the cloud: credential in secrets.json"],
        ] as [string, string][])),
  ];
  const width = Math.max(...steps.map(([command]) => command.length));
  printLine(io.stdout, `${c.green("created")} ${files.length} files in ${directory} (${board}, ${language}); next:`);
  for (const [command, what] of steps) {
    printLine(io.stdout, `  ${what ? `${command.padEnd(width)}  ${c.dim(what)}` : command}`);
  }
}

/** @throws {CliError} FOLDER_NOT_EMPTY, FILE_UNREADABLE */
async function refuseUsed(folder: string, shown: string): Promise<void> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return;
    const message = `The folder ${shown} cannot be used: ${describeFileError(cause)}.`;
    throw new CliError("FILE_UNREADABLE", message, { cause });
  }
  const [found] = names.filter((name) => !harmless.includes(name)).sort();
  if (found !== undefined) {
    throw new CliError("FOLDER_NOT_EMPTY", `The folder ${shown} is not empty: it contains ${found}.`, {
      hint: "Name a new folder.",
    });
  }
}

/** Asks for what was not given, where somebody can reply; takes the first choice otherwise. */
async function choose(io: Streams, { board, language }: InitArguments): Promise<{ board: Board; language: Language }> {
  if ((board !== undefined && language !== undefined) || io.stdin.isTTY !== true || io.stdout.isTTY !== true) {
    return { board: board ?? boards[0], language: language ?? languages[0] };
  }
  const input = io.stdin instanceof Readable ? io.stdin : Readable.from(io.stdin);
  const reader = createInterface({ input });
  const lines = reader[Symbol.asyncIterator]();
  const ask = async <T extends string>(what: string, choices: readonly T[]): Promise<T> => {
    for (;;) {
      io.stdout.write(`${what} (${choices.join(", ")}) [${choices[0]}]: `);
      const { value, done } = await lines.next();
      if (done) printLine(io.stdout);
      const reply = done ? "" : value.trim().toLowerCase();
      if (reply === "") return choices[0];
      const found = choices.filter((choice) => choice.startsWith(reply));
      if (found.length === 1 || found.includes(reply as T)) return found.length === 1 ? found[0] : (reply as T);
    }
  };
  try {
    return {
      board: board ?? (await ask("Board", boards)),
      language: language ?? (await ask("Language", languages)),
    };
  } finally {
    reader.close();
  }
}

/**
 * Returns what package.json depends on: the versions of this release, or tarballs in a folder.
 * @throws {CliError} PACKAGE_MISSING, FILE_UNREADABLE
 */
async function findPackages(folder: string, from: string | undefined): Promise<Record<string, string>> {
  if (from === undefined) return Object.fromEntries(packages.map((name) => [name, version]));
  let names: string[];
  try {
    names = await readdir(from);
  } catch (cause) {
    const message = `The folder ${from} with packages cannot be read: ${describeFileError(cause)}.`;
    throw new CliError("FILE_UNREADABLE", message, { cause });
  }
  return Object.fromEntries(
    packages.map((name) => {
      const wanted = `${name}-${version}.tgz`;
      if (!names.includes(wanted)) throw new CliError("PACKAGE_MISSING", `The folder ${from} has no ${wanted}.`);
      return [name, `file:${relative(folder, join(resolve(from), wanted)).replaceAll("\\", "/")}`];
    }),
  );
}

/** The files of a template, of which npm would not pack a .gitignore and take a package.json for that of a package. */
async function render(template: string, values: Readonly<Record<string, string>>): Promise<[string, string][]> {
  const root = join(templates, template);
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Promise.all(
    files.sort().map(async (file): Promise<[string, string]> => {
      const path = relative(root, file)
        .replaceAll("\\", "/")
        .replace(/(^|\/)_/g, "$1.")
        .replace(/\.template$/, "");
      const text = await readFile(file, "utf8");
      return [path, text.replace(/\{\{(\w+)\}\}/g, (placeholder, name) => values[name] ?? placeholder)];
    }),
  );
}

/** Completes package.json. */
function describe(text: string, board: Board, versions: Readonly<Record<string, string>>): string {
  const description = JSON.parse(text);
  for (const list of [description.dependencies, description.devDependencies]) {
    for (const name of packages) if (Object.hasOwn(list, name)) list[name] = versions[name];
  }
  if (board === "sim") for (const name of ["flash", "flash:desk"]) delete description.scripts[name];
  return `${JSON.stringify(description, null, 2)}\n`;
}

/** Creates a file. @throws {CliError} FILE_UNWRITABLE */
async function write(path: string, text: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    // The secrets are for their owner alone.
    const mode = basename(path) === "secrets.json" ? 0o600 : 0o666;
    await writeFile(path, text, { flag: "wx", mode });
  } catch (cause) {
    const message = `The file ${path} cannot be written: ${describeFileError(cause)}.`;
    throw new CliError("FILE_UNWRITABLE", message, { cause });
  }
}

/** Returns a name that npm accepts, from the folder's. */
function packageName(folder: string): string {
  const name = basename(folder)
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/^[._-]+|[._-]+$/g, "")
    .slice(0, 100);
  // npm refuses this name, and a package that depends on its own.
  return name === "" || name === "node_modules" || packages.includes(name as never) ? "device" : name;
}
