/** Files and standard input, read up to a limit, with failures that say what is wrong. */

import { X509Certificate } from "node:crypto";
import { createReadStream } from "node:fs";
import { toBytes } from "../../../src/crypto/bytes.js";
import { readCertificates } from "../../../src/crypto/pem.js";
import { describeFileError } from "../file-system.js";
import { CliError, exitCodes } from "./failure.js";
import type { Settings } from "./settings.js";

export const MAX_FILE_BYTES = 1 << 20;

/** @param what names the file in the error, as in "the key file" */
export async function readFile(path: string, what: string, exitCode: number = exitCodes.input): Promise<Uint8Array> {
  try {
    return await readAll(createReadStream(path), `${what} ${path}`);
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw new CliError("FILE_UNREADABLE", `The ${what} ${path} cannot be read: ${describeFileError(cause)}.`, {
      exitCode,
      cause,
    });
  }
}

export async function readAll(stream: AsyncIterable<Uint8Array | string>, what: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of stream) {
    const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    length += bytes.length;
    if (length > MAX_FILE_BYTES) {
      const code = what.startsWith("payload") ? "PAYLOAD_TOO_LARGE" : "FILE_TOO_LARGE";
      throw new CliError(code, `The ${what} has more than ${MAX_FILE_BYTES} bytes.`);
    }
    chunks.push(bytes);
  }
  // Not a Buffer: the core hands bytes on as they are.
  return new Uint8Array(Buffer.concat(chunks));
}

/**
 * Decodes UTF-8 as it is; a byte order mark stays.
 * @throws {CliError} INVALID_UTF8
 */
export function text(bytes: Uint8Array, what: string, options: { hint?: string; exitCode?: number } = {}): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new CliError("INVALID_UTF8", `The ${what} is not valid UTF-8.`, options);
  }
}

/**
 * Decodes text that a person has typed: without the byte order mark that some editors put in front of UTF-8 (RFC 3629
 * section 6).
 * @throws {CliError} INVALID_UTF8
 */
export function typedText(bytes: Uint8Array, what: string, exitCode?: number): string {
  refuseUtf16(bytes, what, exitCode);
  return text(bytes, what, { exitCode }).replace(/^\ufeff/, "");
}

/** @throws {CliError} FILE_UNREADABLE, FILE_TOO_LARGE, INVALID_UTF8 */
export async function readText(path: string, what: string, exitCode?: number): Promise<string> {
  return typedText(await readFile(path, what, exitCode), `${what} ${path}`, exitCode);
}

/** @throws {CliError} INVALID_UTF8 */
function refuseUtf16(bytes: Uint8Array, what: string, exitCode?: number): void {
  if (!isUtf16(bytes)) return;
  throw new CliError("INVALID_UTF8", `The ${what} is UTF-16, not UTF-8.`, {
    exitCode,
    hint: "Save it as UTF-8; Windows PowerShell 5 writes UTF-16 unless it gets -Encoding utf8.",
  });
}

/** A byte order mark of UTF-16, or a first character of ASCII in UTF-16 without one. */
function isUtf16(bytes: Uint8Array): boolean {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) return true;
  const isAscii = (byte: number) => byte >= 0x09 && byte < 0x7f;
  return bytes.length % 2 === 0 && ((first === 0 && isAscii(second)) || (second === 0 && isAscii(first)));
}

/** Reads a secret. The one line feed, or CR and LF, that editors put at its end is not part of it. */
export async function readSecret(path: string, what: string): Promise<string> {
  return (await readText(path, what, exitCodes.credential)).replace(/\r?\n$/, "");
}

/**
 * Reads a private key: PEM as text, anything else as DER. What it is and whether it can be used is for the core to say.
 * @throws {CliError} FILE_UNREADABLE, FILE_TOO_LARGE, INVALID_UTF8
 */
export async function readKey(path: string, what = "key file"): Promise<string | Uint8Array> {
  const bytes = await readFile(path, what, exitCodes.credential);
  // DER begins with the tag 0x30 and a length that is not 0.
  refuseUtf16(bytes, `${what} ${path}`, exitCodes.credential);
  const latin = Buffer.from(bytes).toString("latin1");
  return latin.includes("-----BEGIN") ? latin : bytes;
}

/**
 * The certificates of the file that `--trust-anchors` names, PEM or DER.
 * @throws {CliError} FILE_UNREADABLE, INVALID_TRUST_ANCHORS
 */
export async function readTrustAnchors({ trustAnchors: path }: Settings): Promise<Uint8Array[] | undefined> {
  if (path === undefined) return undefined;
  const bytes = await readFile(path, "file of trust anchors");
  refuseUtf16(bytes, `file of trust anchors ${path}`);
  try {
    const anchors = readCertificates("--trust-anchors", bytes, toBytes);
    for (const der of anchors) new X509Certificate(der);
    return anchors;
  } catch (cause) {
    const message = `The file of trust anchors ${path} holds no certificate, PEM or DER, that can be read.`;
    throw new CliError("INVALID_TRUST_ANCHORS", message, {
      cause,
      hint: "openssl x509 -in FILE -noout -subject shows what a file holds.",
    });
  }
}
