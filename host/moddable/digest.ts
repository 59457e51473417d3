import { Digest } from "crypt";
import { hex } from "../../src/crypto/hex.js";
import type { NativeDigest } from "../../src/host.js";

/** SHA-256 of the SDK's `crypt` module, which TLS includes anyway. */
export class CryptDigest implements NativeDigest {
  readonly #digest = new Digest("SHA256");

  sha256(...parts: Uint8Array[]): Uint8Array {
    const digest = this.#digest;
    digest.reset();
    for (const part of parts) digest.write(part as unknown as ArrayBuffer);
    return new Uint8Array(digest.close());
  }
}

/**
 * Test vectors: SHA-256 of a number of letters "a": none, the maximum that fits into one block with padding, one more,
 * a whole block, and several blocks. Not compared with a hash in JavaScript, which would dominate the startup time.
 */
const knownAnswers: readonly (readonly [length: number, hash: string])[] = Object.freeze([
  Object.freeze([0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"] as const),
  Object.freeze([55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"] as const),
  Object.freeze([56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"] as const),
  Object.freeze([64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"] as const),
  Object.freeze([200, "c2a908d98f5df987ade41b5fce213067efbcc21ef2240212a41e54b5e7c28ae5"] as const),
]);

/** Returns the native digest if it passes the test vectors, also with input in several parts; otherwise undefined. */
export function createDigest(): NativeDigest | undefined {
  try {
    const digest = new CryptDigest();
    const probe = new Uint8Array(200).fill(0x61);
    for (const [length, hash] of knownAnswers) {
      const part = probe.subarray(0, length);
      if (hex(digest.sha256(part.subarray(0, length >> 1), part.subarray(length >> 1))) !== hash) return undefined;
    }
    return digest;
  } catch {
    return undefined;
  }
}
