/** Nonces that do not come twice while the program runs, whatever the clock does. */

import type { Random } from "../host.js";

// 2^31 - 1, a prime: the official SDKs draw from 0 to one less.
const MODULUS = 2147483647;

/**
 * Walks through all numbers from 0 to 2147483646 from a random start in random steps. As the modulus is a prime, every
 * step visits each number once before any comes again. Two starts of a device that fall into the same second would
 * need the same 31 random bits to collide.
 */
export class NonceSource {
  #random: Random;
  #nonce = -1;
  #step = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** An integer from 0 to 2147483646. */
  next(): number {
    if (this.#nonce < 0) {
      // Drawn at the first use: a radio's noise feeds the generator of an ESP32 only once Wi-Fi is on.
      const bytes = this.#random.bytes(8);
      this.#nonce = word(bytes, 0) % MODULUS;
      this.#step = 1 + (word(bytes, 4) % (MODULUS - 1));
    } else {
      this.#nonce = (this.#nonce + this.#step) % MODULUS;
    }
    return this.#nonce;
  }
}

function word(bytes: Uint8Array, at: number): number {
  return ((bytes[at] & 0x7f) << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
}
