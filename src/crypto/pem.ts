/** Certificates in the forms in which an app may have them: PEM (RFC 7468) or DER, one or a list. */

import { IotHubError } from "../errors.js";
import { base64, base64DecodeLines } from "./base64.js";
import { SEQUENCE } from "./der.js";
import { latin1 } from "./key.js";

/** One or more certificates or a key: PEM as text or in bytes, or DER in bytes. */
export type PemOrDer<Bytes = Uint8Array> = string | Bytes;

const BEGIN = "-----BEGIN CERTIFICATE-----";
const END = "-----END CERTIFICATE-----";

/**
 * DER of each certificate, in the order given. Text around the blocks of PEM is passed over.
 * @param option name of the option, for errors
 * @param viewOf bytes of what is neither text nor a list; undefined if it has none
 * @throws {IotHubError} INVALID_OPTION if there is none, or the PEM cannot be read; the DER is not looked into
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

/** PEM of a certificate's DER, with lines of 64 characters (RFC 7468 section 2). */
export function certificatePem(der: Uint8Array): string {
  return `${BEGIN}\n${base64(der).replace(/.{1,64}/g, "$&\n")}${END}\n`;
}

function readBlock(option: string, body: string): Uint8Array {
  try {
    const der = base64DecodeLines(body);
    if (der[0] === SEQUENCE) return der;
  } catch {
    // Reported below: what was read says more than what its Base64 lacks.
  }
  throw new IotHubError("INVALID_OPTION", `A certificate in ${option} is damaged: its PEM text cannot be read.`);
}

function none(option: string): IotHubError {
  return new IotHubError("INVALID_OPTION", `${option} must be certificates, PEM text or DER bytes: one or a list.`);
}
