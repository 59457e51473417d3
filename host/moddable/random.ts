import Preference from "preference";
import Time from "time";
import { Sha256 } from "../../src/crypto/sha256.js";
import type { Random } from "../../src/host.js";
import { hasHardwareRandom, macAddress } from "./platform.js";

const DOMAIN = "tc-iothub.rnd";
const KEY = "seed";

/**
 * Random bytes out of a pool that is hashed forward (after NIST SP 800-90A section 10.1.1, Hash_DRBG, in its plainest
 * form) at each call, with fresh bytes of the platform's generator and the time. On ESP32 that generator is the
 * hardware's. On a simulator it repeats one sequence at every start; there the pool also takes in the MAC address and a
 * seed that every start leaves to the next one.
 */
export class PooledRandom implements Random {
  readonly #persistent: boolean;
  #pool: Uint8Array | undefined;

  /** @param persistent whether a seed may be kept in the preferences: one write a start, none on ESP32 */
  constructor(persistent = true) {
    this.#persistent = persistent && !hasHardwareRandom;
  }

  bytes(length: number): Uint8Array {
    const result = new Uint8Array(length);
    for (let at = 0; at < length; at += 32) {
      const pool = this.#stir();
      result.set(hash(1, pool).subarray(0, Math.min(32, length - at)), at);
    }
    return result;
  }

  #stir(): Uint8Array {
    const first = this.#pool === undefined;
    const fresh = new Uint8Array(48);
    const view = new DataView(fresh.buffer);
    // Math.random has 31 bits of the platform's generator a call.
    for (let at = 0; at < 32; at += 4) view.setUint32(at, Math.random() * 4294967296);
    view.setFloat64(32, Date.now());
    view.setFloat64(40, Time.ticks);
    this.#pool = first ? hash(0, fresh, identity(), this.#seed()) : hash(0, this.#pool as Uint8Array, fresh);
    if (first) this.#leaveSeed(this.#pool);
    return this.#pool;
  }

  #seed(): Uint8Array {
    if (!this.#persistent) return new Uint8Array(0);
    try {
      const seed = Preference.get(DOMAIN, KEY);
      return seed instanceof ArrayBuffer ? new Uint8Array(seed) : new Uint8Array(0);
    } catch {
      return new Uint8Array(0);
    }
  }

  #leaveSeed(pool: Uint8Array): void {
    if (!this.#persistent) return;
    try {
      Preference.set(DOMAIN, KEY, hash(2, pool).slice().buffer as ArrayBuffer);
    } catch {
      // The time and the generator remain.
    }
  }
}

/** Tells machines apart that start with one sequence and no seed. */
function identity(): Uint8Array {
  if (hasHardwareRandom) return new Uint8Array(0);
  return new Uint8Array(ArrayBuffer.fromString(macAddress() ?? ""));
}

/** SHA-256 of a label and parts; the label keeps pool, output and seed apart. */
function hash(label: number, ...parts: Uint8Array[]): Uint8Array {
  const sha = new Sha256().update(Uint8Array.of(label));
  for (const part of parts) sha.update(part);
  return sha.digest();
}
