/** `tencent-iothub types`: converts a thing model to a TypeScript declaration. */

import { writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { describeFileError } from "../../host/node/file-system.js";
import { CliError } from "./failure.js";
import { readAll, readText, typedText } from "./files.js";
import { colorsFor, printLine, type Streams } from "./io.js";
import { declareModel } from "./thing-model.js";

export interface TypesArguments {
  readonly out?: string;
  readonly name: string;
  readonly json?: boolean;
}

export async function types(io: Streams, path: string, { out, name, json }: TypesArguments): Promise<void> {
  if (!/^[A-Z][A-Za-z0-9_]{0,63}$/.test(name)) {
    throw new CliError("USAGE", "The name of the type must be letters, digits and _, and begin with a capital letter.");
  }
  const isStream = path === "-";
  const content = isStream
    ? typedText(await readAll(io.stdin, "thing model on standard input"), "thing model on standard input")
    : await readText(path, "thing model");
  let model: unknown;
  try {
    model = JSON.parse(content);
  } catch (cause) {
    throw new CliError("INVALID_MODEL", "The thing model is not JSON.", {
      cause,
      hint: "Export it from the console, on the page that defines the product's functions.",
    });
  }
  const { text, warnings } = declareModel(model, isStream ? "standard input" : basename(path), name);
  const c = colorsFor(io.stderr, io.env);
  for (const warning of warnings) printLine(io.stderr, `${c.yellow("warning:")} ${warning}`);
  if (out !== undefined) await write(out, text);
  if (json) printLine(io.stdout, JSON.stringify({ declaration: text, warnings, out }));
  else if (out === undefined) io.stdout.write(text);
}

async function write(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text);
  } catch (cause) {
    const reason = describeFileError(cause);
    throw new CliError("FILE_UNWRITABLE", `The declaration cannot be written to ${path}: ${reason}.`, { cause });
  }
}
