/** Files and standard input, read up to a limit, with failures that say what is wrong. */

import { X509Certificate } from "node:crypto";
import { createReadStream } from "node:fs";
import { CliError, exitCodes } from "./failure.js";

const MAX_FILE_BYTES = 1 << 20;

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "it does not exist",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of its path is no folder",
};

/** @param what names the file in the error, as in "the key file" */
export async function readFile(path: string, what: string, exitCode: number = exitCodes.input): Promise<Uint8Array> {
  try {
    return await readAll(createReadStream(path), what);
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    const { code = "unknown" } = cause as NodeJS.ErrnoException;
    throw new CliError("FILE_UNREADABLE", `The ${what} ${path} cannot be read: ${reasons[code] ?? code}.`, {
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

/** @throws {CliError} INVALID_UTF8 */
export function text(bytes: Uint8Array, what: string, hint?: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new CliError("INVALID_UTF8", `The ${what} is not valid UTF-8.`, { hint });
  }
}

/** Text without the byte order mark that some editors begin a file with. */
export async function readTextFile(path: string, what: string, exitCode?: number): Promise<string> {
  return text(await readFile(path, what, exitCode), what).replace(/^\ufeff/, "");
}

/** A secret from a file: neither a byte order mark nor the one line feed that editors put at its end is part of it. */
export async function readSecret(path: string, what: string): Promise<string> {
  return (await readTextFile(path, what, exitCodes.credential)).replace(/\r?\n$/, "");
}

/** A private key, PEM or DER. What it is and whether it can be used is for the core to say. */
export function readKey(path: string): Promise<Uint8Array> {
  return readFile(path, "key file", exitCodes.credential);
}

/** @throws {CliError} FILE_UNREADABLE, INVALID_CA */
export async function readCa(path: string): Promise<string> {
  const pem = Buffer.from(await readFile(path, "CA file")).toString("latin1");
  const certificates = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g);
  try {
    if (certificates === null) throw new Error("no certificate in PEM");
    for (const certificate of certificates) new X509Certificate(certificate);
    return certificates.join("\n");
  } catch (cause) {
    throw new CliError("INVALID_CA", `The CA file ${path} holds no certificate in PEM that can be read.`, {
      cause,
      hint: "openssl x509 -in FILE -noout -subject shows what a file holds; -inform DER reads the binary form.",
    });
  }
}
