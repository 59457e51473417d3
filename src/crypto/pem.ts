/** Reads certificates in the formats that an app may have: PEM (RFC 7468) or DER, one or a list. */

import { IotHubError } from "../errors.js";
import { base64, base64DecodeLines } from "./base64.js";
import { SEQUENCE } from "./der.js";
import { latin1 } from "./key.js";

/** Certificates or a key: PEM as a string or bytes, or DER bytes. */
export type PemOrDer<Bytes = Uint8Array> = string | Bytes;

const BEGIN = "-----BEGIN CERTIFICATE-----";
const END = "-----END CERTIFICATE-----";

/**
 * Returns the DER of each certificate, in the given order. Text around PEM blocks is ignored.
 * @param option name of the option, for errors
 * @param viewOf returns the bytes of a value that is not a string; undefined if it has none
 * @throws {IotHubError} INVALID_OPTION if there is no certificate, or the PEM cannot be read; the DER is not parsed
 */
export function readCertificates(
  option: string,
  given: unknown,
  viewOf: (value: unknown) => Uint8Array | undefined,
): Uint8Array[] {
  const ders: Uint8Array[] = [];
  for (const each of Array.isArray(given) ? given : [given]) {
    const bytes = typeof each === "string" ? undefined : viewOf(each);
    if (bytes?.[0] === SEQUENCE) {
      ders.push(bytes);
      continue;
    }
    const before = ders.length;
    const text = typeof each === "string" ? each : bytes === undefined ? "" : latin1(bytes);
    for (let at = text.indexOf(BEGIN); at >= 0; at = text.indexOf(BEGIN, at)) {
      at += BEGIN.length;
      ders.push(readBlock(option, text.slice(at, text.indexOf(END, at))));
    }
    if (ders.length === before) throw none(option);
  }
  if (ders.length === 0) throw none(option);
  return ders;
}

/** Converts a certificate from DER to PEM, with lines of 64 characters (RFC 7468 section 2). */
export function certificatePem(der: Uint8Array): string {
  return `${BEGIN}\n${base64(der).replace(/.{1,64}/g, "$&\n")}${END}\n`;
}

function readBlock(option: string, body: string): Uint8Array {
  try {
    const der = base64DecodeLines(body);
    if (der[0] === SEQUENCE) return der;
  } catch {
    // Reported below: naming the option helps more than the Base64 error.
  }
  throw new IotHubError("INVALID_OPTION", `A certificate in ${option} is corrupt: its PEM text cannot be read.`);
}

function none(option: string): IotHubError {
  return new IotHubError(
    "INVALID_OPTION",
    `${option} must be one certificate or a list of certificates, each as PEM text or DER bytes.`,
  );
}
