/** Hashes and signatures for the judgement of certificate chains, by `node:crypto`. */

import { constants, createHash, createPublicKey, publicDecrypt, verify } from "node:crypto";
import type { SignaturePrimitives } from "tencent-iothub-xs/anchors";

const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64url");

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
  ecdsaVerify(curve, point, hash, parts, r, s) {
    const size = (point.length - 1) / 2;
    const [x, y] = [point.subarray(1, 1 + size), point.subarray(1 + size)].map(base64url);
    const jwk = { kty: "EC", crv: curve === "secp256r1" ? "P-256" : "P-384", x, y };
    const key = createPublicKey({ key: jwk, format: "jwk" });
    const signature = [r, s].map((number) => number.toString(16).padStart(2 * size, "0")).join("");
    return verify(hash, Buffer.concat(parts), { key, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "hex"));
  },
};
