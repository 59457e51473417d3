import { createHash, createHmac, verify as verifySignature } from "node:crypto";
import type { SignedFields } from "../diagnose/fields.js";
import {
  type Authentication,
  type Credential,
  type DeviceRecord,
  type SignatureAlgorithm,
  signatureAlgorithms,
} from "./devices.js";
import { Refusal } from "./responses.js";

/** A request as received, before any check. */
export interface RawRequest {
  readonly method: string;
  /** Path with query, as in the request line. */
  readonly url: string;
  /** The Host header as sent. */
  readonly hostHeader: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Buffer;
}

/** The five signature headers; only their format is checked. */
export interface SignatureHeaders {
  readonly algorithm: SignatureAlgorithm;
  readonly timestampSeconds: number;
  readonly timestamp: string;
  readonly nonce: string;
  readonly signature: string;
}

/**
 * Reads the signature headers.
 * @throws {Refusal} MissingParameter, InvalidParameterValue
 */
export function readSignatureHeaders(request: RawRequest): SignatureHeaders {
  const header = (name: string): string => {
    const value = request.headers[name.toLowerCase()];
    if (value === undefined || value === "") throw new Refusal("MissingParameter", `The header ${name} is missing.`);
    return value;
  };
  const algorithm = header("X-TC-Algorithm");
  const timestamp = header("X-TC-Timestamp");
  const nonce = header("X-TC-Nonce");
  const signature = header("X-TC-Signature");
  if (!signatureAlgorithms.includes(algorithm as SignatureAlgorithm)) {
    const lower = algorithm.toLowerCase();
    const hint = signatureAlgorithms.includes(lower as SignatureAlgorithm) ? `: write it in lower case, ${lower}` : "";
    throw new Refusal("InvalidParameterValue", `X-TC-Algorithm ${quote(algorithm)} is unknown${hint}.`);
  }
  if (!/^(0|[1-9]\d{0,15})$/.test(timestamp)) {
    throw new Refusal("InvalidParameterValue", "X-TC-Timestamp is not a decimal number of seconds.");
  }
  if (!/^(0|[1-9]\d{0,18})$/.test(nonce)) {
    throw new Refusal("InvalidParameterValue", "X-TC-Nonce is not a non-negative decimal integer.");
  }
  const timestampSeconds = Number(timestamp);
  return { algorithm: algorithm as SignatureAlgorithm, timestampSeconds, timestamp, nonce, signature };
}

/** Checks a timestamp. @throws {Refusal} AuthFailure.SignatureExpire if it differs by more than the window */
export function checkTimestamp(timestampSeconds: number, nowSeconds: number, windowSeconds: number): void {
  const ahead = timestampSeconds - nowSeconds;
  if (Math.abs(ahead) <= windowSeconds) return;
  const hint =
    Math.abs(timestampSeconds / 1000 - nowSeconds) <= windowSeconds
      ? "; it is in milliseconds instead of seconds"
      : timestampSeconds < 1_000_000_000
        ? "; it seems to count from the device's start instead of 1970"
        : "";
  throw new Refusal(
    "AuthFailure.SignatureExpire",
    `The timestamp is ${Math.abs(Math.round(ahead))} s ${ahead > 0 ? "ahead of" : "behind"} the gateway's clock${hint}.`,
  );
}

/** Returns the fields that a correct client signs for this request. */
export function expectedFields(request: RawRequest, signed: SignatureHeaders, fixedHost?: string): SignedFields {
  return {
    method: "POST",
    host: fixedHost ?? hostWithoutPort(request.hostHeader).toLowerCase(),
    path: request.url.split("?")[0],
    query: "",
    algorithm: signed.algorithm,
    timestamp: signed.timestamp,
    nonce: signed.nonce,
    bodyHash: bodyHash(signed.algorithm, request.body),
  };
}

/** Returns the body hash in lower-case hex; `hmacsha1` uses SHA-1, like the official C client. */
export function bodyHash(algorithm: SignatureAlgorithm, body: Buffer): string {
  return createHash(algorithm === "hmacsha1" ? "sha1" : "sha256")
    .update(body)
    .digest("hex");
}

export function hmacName(algorithm: SignatureAlgorithm): "sha1" | "sha256" {
  return algorithm === "hmacsha1" ? "sha1" : "sha256";
}

/**
 * Checks an algorithm.
 * @throws {Refusal} UnauthorizedOperation.ProductNotSupportPSK, UnsupportedOperation.WrongProductAuthType,
 * AuthFailure.SignatureFailure if the credential or the product does not support it
 */
export function checkAlgorithmFits(
  device: DeviceRecord,
  algorithm: SignatureAlgorithm,
  authentication?: Authentication,
): void {
  const usesKey = algorithm !== "rsa-sha256";
  const hasKey = device.credential.kind === "psk";
  if (usesKey && (authentication === "certificate" || !hasKey)) {
    const what =
      authentication === "certificate" ? "The product's devices have certificates" : "The device has a certificate";
    throw new Refusal("UnauthorizedOperation.ProductNotSupportPSK", `${what}, which does not support ${algorithm}.`);
  }
  if (!usesKey && (authentication === "psk" || hasKey)) {
    const what = authentication === "psk" ? "The product's devices have keys" : "The device has a key";
    throw new Refusal(
      "UnsupportedOperation.WrongProductAuthType",
      `${what} (psk), which does not support ${algorithm}.`,
    );
  }
  const wanted = device.algorithm;
  if (wanted !== undefined && wanted !== algorithm) {
    throw new Refusal("AuthFailure.SignatureFailure", `The device signs with ${wanted}, not with ${algorithm}.`);
  }
}

/** Whether `signature` (standard Base64 with padding) is that of `text`. */
export function signatureMatches(
  credential: Credential,
  algorithm: SignatureAlgorithm,
  text: string,
  signature: string,
): boolean {
  if (credential.kind === "psk") {
    // A plain comparison: timing does not matter here, and the exact text must match, not only the decoded bytes.
    return createHmac(hmacName(algorithm), credential.psk).update(text).digest("base64") === signature;
  }
  const bytes = Buffer.from(signature, "base64");
  if (bytes.toString("base64") !== signature) return false;
  return verifySignature("sha256", Buffer.from(text), credential.publicKey, bytes);
}

/**
 * Remembers the nonces of devices as long as a copy of their request would have a valid timestamp, up to a maximum
 * number. Forgets expired ones with each use, so that its size follows the requests of two windows.
 */
export class NonceMemory {
  /** Expiry by device and nonce, in the order of use and so of expiry. */
  readonly #used = new Map<string, number>();
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** @throws {Refusal} AuthFailure.NonceReused */
  use(device: string, nonce: string, nowSeconds: number, windowSeconds: number): void {
    const key = `${device} ${nonce}`;
    const until = this.#used.get(key);
    if (until !== undefined && until >= nowSeconds) {
      throw new Refusal("AuthFailure.NonceReused", "The nonce was used before.");
    }
    this.#used.delete(key);
    this.#forgetExpired(nowSeconds);
    // A timestamp may be one window ahead, so a copy of the request stays valid for two windows.
    this.#used.set(key, nowSeconds + 2 * windowSeconds);
    if (this.#used.size > this.#limit) this.#used.delete(this.#used.keys().next().value as string);
  }

  /** Stops at the first that is still valid: each is looked at once, and deleted once. */
  #forgetExpired(nowSeconds: number): void {
    for (const [key, until] of this.#used) {
      if (until >= nowSeconds) return;
      this.#used.delete(key);
    }
  }

  /** Forgets all nonces. */
  clear(): void {
    this.#used.clear();
  }

  get size(): number {
    return this.#used.size;
  }
}

export function hostWithoutPort(hostHeader: string): string {
  return hostHeader.replace(/:\d*$/, "");
}

/** Quotes a short excerpt on one line, for messages. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
