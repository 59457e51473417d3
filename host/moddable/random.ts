import Time from "time";
import { base64 } from "../../src/crypto/base64.js";
import { Sha256 } from "../../src/crypto/sha256.js";
import { utf8 } from "../../src/crypto/utf8.js";
import type { Random, Storage } from "../../src/host.js";
import { hasHardwareRandom, macAddress } from "./platform.js";

const KEY = "random.seed";

/**
 * Random bytes from a pool that is hashed forward at each call with new bytes of the platform's generator and the time
 * (a minimal Hash_DRBG, after NIST SP 800-90A section 10.1.1). On an ESP32 the generator is in hardware. On a simulator
 * it repeats one sequence at every start, so the pool also includes the MAC address and a stored seed, which each start
 * replaces.
 */
export class HashDrbg implements Random {
  readonly #storage: Storage | undefined;
  #pool: Uint8Array | undefined;
  #seeding: Promise<void> | undefined;

  /** @param storage storage for the seed: one write per start, none on an ESP32 */
  constructor(storage?: Storage) {
    if (!hasHardwareRandom) this.#storage = storage;
  }

  /** Resolves when the stored seed is in the pool and a new one is stored for the next start. */
  ready(): Promise<void> {
    this.#seeding ??= this.#storage ? this.#seed(this.#storage) : Promise.resolve();
    return this.#seeding;
  }

  bytes(length: number): Uint8Array {
    const result = new Uint8Array(length);
    for (let at = 0; at < length; at += 32) {
      const pool = this.#stir();
      result.set(hash(1, pool).subarray(0, Math.min(32, length - at)), at);
    }
    return result;
  }

  #stir(extra: Uint8Array = new Uint8Array(0)): Uint8Array {
    const fresh = new Uint8Array(48);
    const view = new DataView(fresh.buffer);
    // Math.random returns 31 bits of the platform's generator per call.
    for (let at = 0; at < 32; at += 4) view.setUint32(at, Math.random() * 4294967296);
    view.setFloat64(32, Date.now());
    view.setFloat64(40, Time.ticks);
    this.#pool = hash(0, this.#pool ?? identity(), fresh, extra);
    return this.#pool;
  }

  async #seed(storage: Storage): Promise<void> {
    try {
      const seed = await storage.get(KEY);
      const pool = this.#stir(seed === undefined ? undefined : utf8(seed));
      // Before any output: an interrupted start must not leave its seed to the next one.
      await storage.set(KEY, base64(hash(2, pool)));
    } catch {
      // Continue with the time and the generator only.
    }
  }
}

/** Distinguishes machines that start with the same sequence and no seed. */
function identity(): Uint8Array {
  if (hasHardwareRandom) return new Uint8Array(0);
  return new Uint8Array(ArrayBuffer.fromString(macAddress() ?? ""));
}

/** SHA-256 of a label and parts; the label separates the domains of pool, output and seed. */
function hash(label: number, ...parts: Uint8Array[]): Uint8Array {
  const sha = new Sha256().update(Uint8Array.of(label));
  for (const part of parts) sha.update(part);
  return sha.digest();
}
