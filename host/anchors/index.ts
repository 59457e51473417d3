/**
 * The trust anchors of boards, and the verification of certificate chains that boards do: for tools that say in advance
 * what a board would say. Boards have the same anchors as resources in flash, see `defaultAnchors()`.
 */

import { base64Decode } from "../../src/crypto/base64.js";
import { Certificate, DIGITAL_SIGNATURE, KEY_ENCIPHERMENT } from "../moddable/tls/certificate.js";
import { verifyChain } from "../moddable/tls/chain.js";
import { Rejection, UNSUPPORTED_CERTIFICATE } from "../moddable/tls/rejection.js";
import type { SignaturePrimitives } from "../moddable/tls/verify.js";
import { anchorData } from "./data.js";

export { type Endpoint, type Region, readEndpoint } from "../../src/request/endpoint.js";
export type { CurveName } from "../moddable/tls/curves.js";
export type { HashName, SignaturePrimitives } from "../moddable/tls/verify.js";

/** A bundled trust anchor. */
export interface BundledAnchor {
  /** Common name of its subject. */
  readonly name: string;
  /** Whether boards trust it by default. */
  readonly isDefault: boolean;
  /** The certificate, DER. */
  readonly der: Uint8Array;
  /** Milliseconds since 1970. */
  readonly notBeforeMs: number;
  /** Milliseconds since 1970. */
  readonly notAfterMs: number;
}

/** Returns all bundled anchors: the default ones, then those that an app can add. */
export function bundledAnchors(): BundledAnchor[] {
  return anchorData.map(([name, isDefault, text]) => {
    const der = base64Decode(text);
    const { notBeforeMs, notAfterMs } = new Certificate(der);
    return { name, isDefault, der, notBeforeMs, notAfterMs };
  });
}

/** What a board says of a chain. */
export type Judgement =
  /** `notAfterMs`: when the server's certificate expires, milliseconds since 1970. */
  | { readonly accepted: true; readonly notAfterMs: number }
  /** One clause, and the TLS alert that the board would send (RFC 5246 section 7.2.2). */
  | { readonly accepted: false; readonly reason: string; readonly alert: number };

/** What {@link judgeChain} judges by. */
export interface JudgeOptions {
  /** Trust anchors, DER. @default the default ones of {@link bundledAnchors} */
  readonly anchors?: readonly Uint8Array[];
  /** Time by which dates are judged, milliseconds since 1970. */
  readonly nowMs: number;
  /** Hashes and signatures; on a board they are those of the SDK. */
  readonly primitives: SignaturePrimitives;
}

/**
 * Judges a server's certificate chain with the code that runs on boards.
 *
 * @param chain certificates in DER, the server's own first, the others in any order
 * @param host an ASCII hostname without trailing dot, or an IPv4 address
 */
export function judgeChain(chain: readonly Uint8Array[], host: string, options: JudgeOptions): Judgement {
  const { nowMs, primitives } = options;
  const anchors =
    options.anchors ??
    bundledAnchors()
      .filter(({ isDefault }) => isDefault)
      .map(({ der }) => der);
  const trust = { anchors, pins: [], acceptAnything: false, nowMs: () => nowMs };
  try {
    const leaf = verifyChain(chain, host, trust, primitives);
    const { keyUsage, notAfterMs } = leaf;
    // In a handshake, the cipher suite decides which one is needed.
    const uses = leaf.publicKey().type === "rsa" ? DIGITAL_SIGNATURE | KEY_ENCIPHERMENT : DIGITAL_SIGNATURE;
    if (keyUsage !== undefined && (keyUsage & uses) === 0) {
      throw new Rejection("its key is not meant for this key exchange", UNSUPPORTED_CERTIFICATE);
    }
    return { accepted: true, notAfterMs };
  } catch (error) {
    if (!(error instanceof Rejection)) throw error;
    return { accepted: false, reason: error.message, alert: error.alert };
  }
}
