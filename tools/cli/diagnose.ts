/** `tencent-iothub diagnose`: why a signature is wrong. Nothing is sent. */

import { readFileSync, statSync } from "node:fs";
import { describeFileError } from "../../host/node/file-system.js";
import {
  DiagnoseError,
  type DiagnosisKey,
  describeDiagnosis,
  diagnose,
  parseHttp,
  parseRequest,
  type RequestFormat,
  type SentRequest,
} from "../diagnose/index.js";
import { CliError } from "./failure.js";
import { MAX_FILE_BYTES, readAll, readFile } from "./files.js";
import { printLine, type Streams, wholeNumber } from "./io.js";
import { type KeyArguments, readSigningKeys, type SigningKeys } from "./signing-key.js";

export interface DiagnoseArguments extends KeyArguments {
  readonly format?: RequestFormat;
  readonly index?: number;
  readonly url?: string;
  readonly method?: string;
  readonly header?: readonly string[];
  readonly body?: string;
  readonly bodyFile?: string;
  readonly sentAt?: string;
  readonly json?: boolean;
}

export async function diagnoseRequest(io: Streams, file: string | undefined, given: DiagnoseArguments): Promise<void> {
  if ((file === undefined) === (given.url === undefined)) {
    throw new CliError("USAGE", "Use either a file with the request or --url.");
  }
  const keys = await readSigningKeys(io, given);
  const read = file === undefined ? await requestOfParts(given) : await requestOfFile(io, file, given);
  const request = given.sentAt === undefined ? read : { ...read, sentAtMs: sentAtMs(given.sentAt) };
  const diagnosis = diagnose(request, diagnosisKey(keys, request.target));
  if (given.json) printLine(io.stdout, JSON.stringify(diagnosis));
  else for (const line of describeDiagnosis(diagnosis)) printLine(io.stdout, line);
}

async function requestOfFile(io: Streams, file: string, given: DiagnoseArguments): Promise<SentRequest> {
  if (given.method !== undefined || given.header !== undefined) {
    throw new CliError("USAGE", "--method and --header require --url.");
  }
  const bytes = file === "-" ? await readAll(io.stdin, "request") : await readFile(file, "request file");
  const body = await readBody(given);
  const request = parseRequest(bytes, { format: given.format, body, index: given.index, readFile: readNamedFile });
  if (body !== undefined && !request.isPrefix) {
    throw new CliError("USAGE", "--body and --body-file require --url or a trace; this request contains its body.");
  }
  return request;
}

async function requestOfParts(given: DiagnoseArguments): Promise<SentRequest> {
  const match = /^https?:\/\/([^/?#@\s]+)([^#\s]*)$/i.exec(given.url as string);
  if (match === null) throw new CliError("USAGE", "The URL must begin with http:// or https:// and contain a host.");
  const [, host, rest] = match;
  const target = rest.startsWith("/") ? rest : `/${rest}`;
  const head = `${given.method ?? "POST"} ${target} HTTP/1.1\n${(given.header ?? []).join("\n")}`;
  const { body: _empty, ...request } = parseHttp(Buffer.from(head));
  const body = (await readBody(given)) ?? new Uint8Array();
  return { ...request, host: request.host === "" ? host : request.host, body };
}

async function readBody({ body, bodyFile }: DiagnoseArguments): Promise<Uint8Array | undefined> {
  if (bodyFile !== undefined) return readFile(bodyFile, "body file");
  return body === undefined ? undefined : Buffer.from(body);
}

/** Reads a file of a curl command; like for curl, its path is relative to the current folder. */
function readNamedFile(path: string): Uint8Array {
  try {
    if (statSync(path).size > MAX_FILE_BYTES) {
      throw new CliError("FILE_TOO_LARGE", `The body file ${path} has more than ${MAX_FILE_BYTES} bytes.`);
    }
    return readFileSync(path);
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw new CliError("FILE_UNREADABLE", `The body file ${path} cannot be read: ${describeFileError(cause)}.`, {
      cause,
    });
  }
}

/** Returns the key that the request must be signed with: the ProductSecret for a registration, or if it is the only one. */
function diagnosisKey({ psk, productSecret, privateKey }: SigningKeys, target: string): DiagnosisKey {
  const isRegistration = /\/device\/register(?:\?|$)/.test(target);
  if (privateKey !== undefined && !(isRegistration && productSecret !== undefined)) {
    if (typeof privateKey !== "string") throw new DiagnoseError("INVALID_KEY", "The key file must be PEM.");
    return { rsaKey: privateKey };
  }
  if (psk === "" || productSecret === "") throw new DiagnoseError("INVALID_KEY", "The key is empty.");
  if (psk === undefined) return { secret: productSecret as string };
  if (productSecret === undefined) return { secret: psk };
  return isRegistration
    ? { secret: productSecret, others: [{ name: "the device's PSK", secret: psk }] }
    : { secret: psk, others: [{ name: "the ProductSecret", secret: productSecret }] };
}

function sentAtMs(text: string): number {
  const seconds = wholeNumber(text);
  if (!(seconds >= 0 && seconds < 1e11)) {
    throw new CliError("USAGE", "--sent-at must be a whole number of seconds, not milliseconds, since 1970.");
  }
  return seconds * 1000;
}
