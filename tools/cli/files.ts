/** Reads files and standard input up to a limit. */

import { X509Certificate } from "node:crypto";
import { createReadStream } from "node:fs";
import { describeFileError } from "../../host/node/file-system.js";
import { CliError, exitCodes } from "./failure.js";
import type { Settings } from "./settings.js";

export const MAX_FILE_BYTES = 1 << 20;

/** Reads a file. @param what description of the file for errors, as in "key file" */
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
  // Not a Buffer: the core passes bytes on unchanged.
  return new Uint8Array(Buffer.concat(chunks));
}

/**
 * Decodes UTF-8; a byte order mark is kept.
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
 * Decodes text from an editor, without the byte order mark that some editors add (RFC 3629 section 6).
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
    hint: "Save it as UTF-8; Windows PowerShell 5 writes UTF-16 by default, UTF-8 with -Encoding utf8.",
  });
}

/** Whether bytes begin with a UTF-16 byte order mark, or with an ASCII character in UTF-16. */
function isUtf16(bytes: Uint8Array): boolean {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) return true;
  const isAscii = (byte: number) => byte >= 0x09 && byte < 0x7f;
  return bytes.length % 2 === 0 && ((first === 0 && isAscii(second)) || (second === 0 && isAscii(first)));
}

/** Reads a secret, without one trailing LF or CR LF, which editors add. */
export async function readSecret(path: string, what: string): Promise<string> {
  return (await readText(path, what, exitCodes.credential)).replace(/\r?\n$/, "");
}

/**
 * Reads a private key: PEM as text, anything else as DER. The core validates it.
 * @throws {CliError} FILE_UNREADABLE, FILE_TOO_LARGE, INVALID_UTF8
 */
export async function readKey(path: string, what = "key file"): Promise<string | Uint8Array> {
  const bytes = await readFile(path, what, exitCodes.credential);
  // DER begins with the tag 0x30 and a length that is not 0.
  refuseUtf16(bytes, `${what} ${path}`, exitCodes.credential);
  const latin = Buffer.from(bytes).toString("latin1");
  return latin.includes("-----BEGIN") ? latin : bytes;
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/**
 * Reads the certificates of the file given with `--trust-anchors`, PEM or DER.
 * @throws {CliError} FILE_UNREADABLE, INVALID_TRUST_ANCHORS
 */
export async function readTrustAnchors({ trustAnchors: path }: Settings): Promise<Uint8Array[] | undefined> {
  if (path === undefined) return undefined;
  const bytes = await readFile(path, "trust anchor file");
  refuseUtf16(bytes, `trust anchor file ${path}`);
  try {
    const pem = Buffer.from(bytes).toString("latin1").match(PEM_CERTIFICATE);
    return (pem ?? [bytes]).map((certificate) => new Uint8Array(new X509Certificate(certificate).raw));
  } catch (cause) {
    const message = `The trust anchor file ${path} contains no readable certificate in PEM or DER.`;
    throw new CliError("INVALID_TRUST_ANCHORS", message, {
      cause,
      hint: "openssl x509 -in FILE -noout -subject shows the contents of a file.",
    });
  }
}
