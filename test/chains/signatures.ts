/**
 * Signatures on which the stand-ins for the SDK, the SDK and Node's cryptography have to agree, with keys and numbers
 * at the edges of the algorithms.
 */

import { createHash, generateKeyPairSync, sign } from "node:crypto";
import type { PublicKey } from "../../host/moddable/tls/certificate.js";
import { CURVES, type CurveName } from "../../host/moddable/tls/curves.js";
import type { HashName } from "../../host/moddable/tls/verify.js";
import Curve from "../../mocks/moddable/curve.js";
import ECPoint from "../../mocks/moddable/ecp.js";
import { bits, der, sequence } from "../support/x509.js";

export interface SignatureCase {
  readonly name: string;
  readonly key: PublicKey;
  readonly hash: HashName;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
  readonly good: boolean;
}

const message = Uint8Array.from(Buffer.from("a message"));
const hashes: readonly HashName[] = ["SHA256", "SHA384", "SHA512"];

function number(value: bigint): Uint8Array {
  const digits = value.toString(16);
  const bytes = Buffer.from(digits.padStart(digits.length + (digits.length % 2), "0"), "hex");
  return der(2, bytes[0] >= 0x80 ? Uint8Array.of(0) : new Uint8Array(0), bytes);
}

function octets(value: bigint, size: number): Uint8Array {
  return Uint8Array.from(Buffer.from(value.toString(16).padStart(2 * size, "0"), "hex"));
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  for (let [rest, square] = [exponent, base % modulus]; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}

function ecKey(curve: CurveName, { X, Y }: { X: bigint; Y: bigint }): PublicKey {
  const { size } = CURVES[curve];
  return { type: "ec", curve, point: Uint8Array.of(4, ...octets(X, size), ...octets(Y, size)) };
}

function digest(hash: HashName, size: number): bigint {
  return BigInt(`0x${createHash(hash).update(message).digest().subarray(0, size).toString("hex")}`);
}

/** By a key of which the private number is known, with a nonce that is. */
function ecdsa(curve: CurveName, hash: HashName, d: bigint, k: bigint): { key: PublicKey; signature: Uint8Array } {
  const { n, size } = CURVES[curve];
  const { G, ec } = new Curve(curve);
  const multiple = (factor: bigint) => ec.mul2(G, factor, G, 0n);
  const r = multiple(k).X % n;
  const s = ((digest(hash, size) + r * d) * power(k, n - 2n, n)) % n;
  return { key: ecKey(curve, multiple(d)), signature: sequence(number(r), number(s)) };
}

/** One of which the coordinate is not below the order, so that r is not the coordinate itself. */
function overflowing(curve: CurveName): { key: PublicKey; signature: Uint8Array } {
  const { p, b, n, size } = CURVES[curve];
  const { G, ec } = new Curve(curve);
  let x = n + 1n;
  let y = 0n;
  for (; ; x++) {
    const square = ((x * x - 3n) * x + b) % p;
    y = power(square, (p + 1n) / 4n, p);
    if ((y * y) % p === square) break;
  }
  const r = x - n;
  const inverse = power(r, n - 2n, n);
  // s is 1: the key is (R - e·G) / r.
  const key = ec.mul2(new ECPoint(x, y), inverse, G, ((n - digest("SHA256", size)) * inverse) % n);
  return { key: ecKey(curve, key), signature: sequence(number(r), number(1n)) };
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const changed = Uint8Array.from(bytes);
  changed[at] ^= 1;
  return changed;
}

export function signatureCases(): SignatureCase[] {
  const cases: SignatureCase[] = [];
  const add = (name: string, hash: HashName, key: PublicKey, signature: Uint8Array, good = true) => {
    cases.push({ name, key, hash, message, signature, good });
  };
  for (const curve of ["secp256r1", "secp384r1"] as const) {
    const { n } = CURVES[curve];
    for (const hash of hashes) {
      const { key, signature } = ecdsa(curve, hash, 0x1234567890abcdefn, 0xfedcba0987654321n);
      add(`${curve}, ${hash}`, hash, key, signature);
      add(`${curve}, ${hash}, the last byte changed`, hash, key, flipped(signature, signature.length - 1), false);
      add(
        `${curve}, ${hash}, the key changed for the generator`,
        hash,
        ecdsa(curve, hash, 1n, 2n).key,
        signature,
        false,
      );
    }
    for (const [name, d] of [
      ["1", 1n],
      ["2", 2n],
      ["the order less 1", n - 1n],
    ] as const) {
      const { key, signature } = ecdsa(curve, "SHA256", d, 0xfedcba0987654321n);
      add(`${curve}, a private number of ${name}`, "SHA256", key, signature);
    }
    const overflow = overflowing(curve);
    add(`${curve}, a coordinate beyond the order`, "SHA256", overflow.key, overflow.signature);
    // u1·G + u2·Q is infinity where the key is -u1/u2·G: with r = s = 1 it is the generator times minus the hash.
    const infinite = ecdsa(curve, "SHA256", n - (digest("SHA256", CURVES[curve].size) % n), 1n).key;
    add(`${curve}, a sum at infinity`, "SHA256", infinite, sequence(number(1n), number(1n)), false);
    const { key } = ecdsa(curve, "SHA256", 3n, 5n);
    add(`${curve}, zeros`, "SHA256", key, sequence(number(0n), number(0n)), false);
    add(`${curve}, ones`, "SHA256", key, sequence(number(1n), number(1n)), false);
  }
  for (const [size, exponent] of [
    [2048, 65537],
    [2048, 3],
    [4096, 65537],
  ]) {
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: size, publicExponent: exponent });
    const { n, e } = publicKey.export({ format: "jwk" });
    const [modulus, e2] = [n, e].map((value) => Uint8Array.from(Buffer.from(value as string, "base64url")));
    const key: PublicKey = { type: "rsa", modulus, exponent: e2 };
    for (const hash of hashes) {
      const signature = Uint8Array.from(sign(hash, message, privateKey));
      add(`RSA of ${size} bits, exponent ${exponent}, ${hash}`, hash, key, signature);
      add(`RSA of ${size} bits, exponent ${exponent}, ${hash}, changed`, hash, key, flipped(signature, 9), false);
      add(`RSA of ${size} bits, ${hash}, a byte short`, hash, key, signature.subarray(1), false);
      add(`RSA of ${size} bits, ${hash}, not below the modulus`, hash, key, modulus, false);
    }
    const pss = { key: privateKey, padding: 6, saltLength: 32 };
    add(`RSA of ${size} bits, PSS`, "SHA256", key, Uint8Array.from(sign("SHA256", message, pss)), false);
    add(`RSA of ${size} bits, zeros`, "SHA256", key, new Uint8Array(size / 8), false);
    add(`RSA of ${size} bits, a bit string`, "SHA256", key, bits(modulus), false);
  }
  return cases;
}
