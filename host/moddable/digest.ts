import { Digest } from "crypt";
import { sha256 } from "../../src/crypto/sha256.js";
import type { NativeDigest } from "../../src/host.js";

/** SHA-256 of the SDK's `crypt`, which TLS brings along. */
export class CryptDigest implements NativeDigest {
  readonly #digest = new Digest("SHA256");

  sha256(...parts: Uint8Array[]): Uint8Array {
    const digest = this.#digest;
    digest.reset();
    for (const part of parts) digest.write(part as unknown as ArrayBuffer);
    return new Uint8Array(digest.close());
  }
}

/** The native digest if it agrees with the portable one on inputs of one and of several blocks, else undefined. */
export function createDigest(): NativeDigest | undefined {
  try {
    const digest = new CryptDigest();
    const probe = new Uint8Array(200);
    for (let i = 0; i < probe.length; i++) probe[i] = i;
    for (const length of [0, 55, 56, 64, 200]) {
      const part = probe.subarray(0, length);
      const expected = sha256(part);
      const actual = digest.sha256(part.subarray(0, length >> 1), part.subarray(length >> 1));
      if (!actual.every((byte, i) => byte === expected[i])) return undefined;
    }
    return digest;
  } catch {
    return undefined;
  }
}
