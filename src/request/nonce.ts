/** Nonces that do not repeat while the program runs, whatever the clock shows. */

import type { Random } from "../host.js";

// 2^31 - 1, a prime. The official SDKs use nonces from 0 to 2^31 - 2.
const MODULUS = 2147483647;

/**
 * Steps through all numbers from 0 to 2147483646 from a random start with a random step. As the modulus is prime, every
 * number occurs once before any repeats. Two starts of a device within one second collide only if they draw the same 31
 * random bits.
 */
export class NonceSource {
  #random: Random;
  #nonce = -1;
  #step = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Returns the next nonce, an integer from 0 to 2147483646. */
  next(): number {
    if (this.#nonce < 0) {
      // Drawn on first use: the ESP32's generator has entropy from the radio only once Wi-Fi is on.
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
