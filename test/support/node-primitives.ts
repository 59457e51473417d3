/** Primitives for the verification of certificate chains, with node:crypto. */

import { constants, createHash, createPublicKey, publicDecrypt, verify } from "node:crypto";
import type { CurveName } from "../../host/moddable/tls/curves.js";
import type { HashName, SignaturePrimitives } from "../../host/moddable/tls/verify.js";

const base64url = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");

export const nodePrimitives: SignaturePrimitives = {
  hash(name, parts) {
    const hash = createHash(name);
    for (const part of parts) hash.update(part);
    return hash.digest();
  },
  rsaPublic(modulus, exponent, signature) {
    const jwk = { kty: "RSA", n: base64url(modulus), e: base64url(exponent) };
    const key = createPublicKey({ key: jwk, format: "jwk" });
    return BigInt(`0x${publicDecrypt({ key, padding: constants.RSA_NO_PADDING }, signature).toString("hex")}`);
  },
  ecdsaVerify(curve: CurveName, point: Uint8Array, hash: HashName, parts, r: bigint, s: bigint) {
    const size = (point.length - 1) / 2;
    const jwk = {
      kty: "EC",
      crv: curve === "secp256r1" ? "P-256" : "P-384",
      x: base64url(point.subarray(1, 1 + size)),
      y: base64url(point.subarray(1 + size)),
    };
    const signature = [r, s].map((number) => number.toString(16).padStart(2 * size, "0")).join("");
    const key = createPublicKey({ key: jwk, format: "jwk" });
    const given = { key, dsaEncoding: "ieee-p1363" } as const;
    return verify(hash, Buffer.concat(parts), given, Buffer.from(signature, "hex"));
  },
};

/** The same, counting the verified signatures. */
export function countingPrimitives(): SignaturePrimitives & { checks: number } {
  const counting = {
    checks: 0,
    hash: nodePrimitives.hash,
    rsaPublic(...parameters: Parameters<SignaturePrimitives["rsaPublic"]>) {
      counting.checks++;
      return nodePrimitives.rsaPublic(...parameters);
    },
    ecdsaVerify(...parameters: Parameters<SignaturePrimitives["ecdsaVerify"]>) {
      counting.checks++;
      return nodePrimitives.ecdsaVerify(...parameters);
    },
  };
  return counting;
}
