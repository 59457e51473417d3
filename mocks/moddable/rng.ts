/** `rng`: the random generator of TLS. As on a simulator, its output repeats at every start until it is seeded. */

import { createHash } from "node:crypto";

let state = Buffer.alloc(32);

const RNG = {
  get(bytes: number): ArrayBuffer {
    const result = Buffer.alloc(bytes);
    for (let at = 0; at < bytes; at += 32) {
      state = createHash("sha256").update(state).digest();
      createHash("sha256").update("output").update(state).digest().copy(result, at);
    }
    return Uint8Array.from(result).buffer;
  },

  init(seed: ArrayBuffer): void {
    state = createHash("sha256").update(new Uint8Array(seed)).digest();
  },
};

export function resetGenerator(): void {
  state = Buffer.alloc(32);
}

export default RNG;
