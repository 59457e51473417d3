/** Node's cryptography instead of the core's, for `createHost({ native: true })`. */

import { createHash, createPrivateKey, sign } from "node:crypto";
import type { NativeDigest, NativeRsa } from "../../src/host.js";

export const nodeDigest: NativeDigest = Object.freeze({
  sha256(...parts: Uint8Array[]): Uint8Array {
    const hash = createHash("sha256");
    for (const part of parts) hash.update(part);
    return new Uint8Array(hash.digest());
  },
});

export const nodeRsa: NativeRsa = Object.freeze({
  sign(privateKey: Uint8Array, message: Uint8Array): Uint8Array {
    const copy = Buffer.from(privateKey);
    try {
      return new Uint8Array(sign("sha256", message, createPrivateKey({ key: copy, format: "der", type: "pkcs1" })));
    } finally {
      copy.fill(0);
    }
  },
});
