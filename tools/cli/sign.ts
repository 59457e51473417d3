/** `tencent-iothub sign`: shows the string to sign line by line, the signature and the headers. Sends nothing. */

import { randomInt } from "node:crypto";
import {
  type Algorithm,
  type Credential,
  type SignedRequest,
  secretMistake,
  signRequest,
} from "tencent-iothub-xs/signing";
import { visible } from "../diagnose/fields.js";
import { CliError } from "./failure.js";
import { readFile } from "./files.js";
import { colorsFor, printLine, quote, type Streams, wholeNumber } from "./io.js";
import { type KeyArguments, readSigningKeys } from "./signing-key.js";

export interface SignArguments extends KeyArguments {
  readonly host?: string;
  readonly path: string;
  readonly url?: string;
  readonly body?: string;
  readonly bodyFile?: string;
  readonly timestamp?: string;
  readonly nonce?: string;
  readonly algorithm?: Algorithm;
  readonly json?: boolean;
  readonly curl?: boolean;
}

/** Fields of the string to sign, in order. */
const fieldNames = ["method", "host", "path", "query", "algorithm", "timestamp", "nonce", "body hash"];

const SHOWN_BODY_CHARACTERS = 400;

export async function sign(io: Streams, given: SignArguments): Promise<void> {
  const target = targetOf(given);
  const body = await readBody(given);
  const credential = await readCredential(io, given);
  const time = {
    timestampSeconds: given.timestamp === undefined ? Math.floor(Date.now() / 1000) : wholeNumber(given.timestamp),
    nonce: given.nonce === undefined ? randomInt(0, 2147483647) : wholeNumber(given.nonce),
  };
  const { host, path } = target;
  const signed = signRequest({ host, path, body }, credential, time);
  const command = given.curl ? curl(target, given.bodyFile, body, signed) : undefined;
  if (given.json) {
    const { stringToSign, signature, headers } = signed;
    printLine(io.stdout, JSON.stringify({ stringToSign, signature, headers, curl: command }));
  } else if (command !== undefined) {
    printLine(io.stdout, command);
  } else {
    print(io, body, signed);
  }
}

interface Target {
  readonly origin: string;
  readonly host: string;
  readonly path: string;
}

function targetOf({ host, path, url }: SignArguments): Target {
  if (url === undefined) {
    if (host === undefined) throw new CliError("USAGE", "Use either --url or --host.");
    return { origin: `https://${host}`, host, path };
  }
  if (!URL.canParse(url)) throw new CliError("USAGE", "--url is not a URL.");
  const { protocol, origin, host: named, pathname } = new URL(url);
  if (protocol !== "http:" && protocol !== "https:")
    throw new CliError("USAGE", "--url must begin with http or https.");
  return { origin, host: named, path: pathname };
}

function print(io: Streams, body: string | Uint8Array, { stringToSign, signature, headers }: SignedRequest): void {
  const c = colorsFor(io.stdout, io.env);
  const out = (line = "") => printLine(io.stdout, line);
  const lines = stringToSign.split("\n");
  out(c.bold(`String to sign: ${lines.length} fields joined by line feeds, ${stringToSign.length} bytes`));
  lines.forEach((line, i) => {
    const end = i < lines.length - 1 ? c.dim("␊") : "";
    out(`  ${c.dim(`${i + 1} ${fieldNames[i].padEnd(10)}`)} ${visible(line)}${end}`);
  });
  out();
  const bytes = Buffer.from(body);
  out(c.bold(`Body: ${bytes.length === 1 ? "1 byte, hashed unchanged" : `${bytes.length} bytes, hashed unchanged`}`));
  const shown = bytes.toString("utf8");
  const cut = shown.length > SHOWN_BODY_CHARACTERS;
  out(`  ${visible(cut ? shown.slice(0, SHOWN_BODY_CHARACTERS) : shown)}${cut ? c.dim(" … (cut here)") : ""}`);
  out();
  out(c.bold("Signature"));
  out(`  ${c.green(signature)}`);
  out();
  out(c.bold("Headers"));
  for (const [name, value] of Object.entries(headers)) out(`  ${c.dim(`${name}:`)} ${value}`);
}

/** Returns a curl command that sends exactly the signed bytes. Contains the signature, not the secret. */
function curl(
  { origin, path }: Target,
  bodyFile: string | undefined,
  body: string | Uint8Array,
  { headers }: SignedRequest,
): string {
  const lines = [`curl -sS -X POST ${quote(`${origin}${path}`)}`];
  for (const [name, value] of Object.entries(headers)) lines.push(`-H ${quote(`${name}: ${value}`)}`);
  // Only --data-binary interprets @ as a file name; both keep line feeds.
  lines.push(typeof body === "string" ? `--data-raw ${quote(body)}` : `--data-binary ${quote(`@${bodyFile}`)}`);
  return lines.join(" \\\n  ");
}

async function readBody({ body, bodyFile }: SignArguments): Promise<string | Uint8Array> {
  if (body === undefined && bodyFile === undefined) {
    throw new CliError("USAGE", "Use either --body or --body-file.", { hint: 'An empty body is --body "".' });
  }
  return body ?? (await readFile(bodyFile as string, "body file"));
}

async function readCredential(io: Streams, given: SignArguments): Promise<Credential> {
  const { keyFile, algorithm = keyFile === undefined ? "hmacsha256" : "rsa-sha256" } = given;
  const { psk, productSecret, privateKey } = await readSigningKeys(io, given);
  if (productSecret !== undefined && (psk !== undefined || privateKey !== undefined)) {
    throw new CliError("USAGE", "A request is signed with one key: the ProductSecret only for a registration.");
  }
  if ((algorithm === "rsa-sha256") !== (privateKey !== undefined)) {
    const wanted = algorithm === "rsa-sha256" ? "--key-file" : "--psk-file or --product-secret-file";
    throw new CliError("USAGE", `The algorithm ${algorithm} requires ${wanted}.`);
  }
  if (privateKey !== undefined) return { privateKey };
  const secret = psk ?? (productSecret as string);
  // Only a warning, so that wrong keys can be tried.
  const mistake = secretMistake(secret, psk !== undefined);
  const what = psk === undefined ? "ProductSecret" : "PSK";
  if (mistake !== undefined) warn(io, `the ${what} may not be what the console shows: ${mistake}.`);
  return { secret, algorithm: algorithm as "hmacsha256" | "hmacsha1" };
}

function warn(io: Streams, sentence: string): void {
  printLine(io.stderr, `${colorsFor(io.stderr, io.env).yellow("warning:")} ${sentence}`);
}
