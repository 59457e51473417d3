/** HMAC, RFC 2104, with the key's two blocks hashed once. */

import { BLOCK_BYTES } from "./md.js";
import { Sha1 } from "./sha1.js";
import { Sha256 } from "./sha256.js";

export type HmacHash = "sha256" | "sha1";

/** HMAC with a prepared key: a message costs two compressions less than with the key at hand. */
export class Hmac {
  #inner: Sha256 | Sha1;
  #outer: Sha256 | Sha1;

  /** @param key of any length; more than 64 bytes are hashed first (RFC 2104 section 2) */
  constructor(hash: HmacHash, key: Uint8Array) {
    const pads = hmacPads(hash, key);
    this.#inner = create(hash).update(pads.inner);
    this.#outer = create(hash).update(pads.outer);
    pads.inner.fill(0);
    pads.outer.fill(0);
  }

  /** The code of one message: 32 bytes for SHA-256, 20 for SHA-1. */
  sign(message: Uint8Array): Uint8Array {
    const inner = this.#inner.clone().update(message).digest();
    return this.#outer.clone().update(inner).digest();
  }

  /** Overwrites the midstates, from which signatures could be made. What is signed afterwards is worthless. */
  close(): void {
    this.#inner.wipe();
    this.#outer.wipe();
  }
}

/** HMAC of one message (RFC 2104): 32 bytes for SHA-256, 20 for SHA-1. */
export function hmac(hash: HmacHash, key: Uint8Array, message: Uint8Array): Uint8Array {
  const prepared = new Hmac(hash, key);
  const code = prepared.sign(message);
  prepared.close();
  return code;
}

/** The key's two blocks of RFC 2104 section 2, for a hash that has no midstates. The caller wipes them. */
export function hmacPads(hash: HmacHash, key: Uint8Array): { inner: Uint8Array; outer: Uint8Array } {
  const inner = new Uint8Array(BLOCK_BYTES);
  inner.set(key.length > BLOCK_BYTES ? create(hash).update(key).digest() : key);
  const outer = inner.map((byte) => byte ^ 0x5c);
  for (let i = 0; i < BLOCK_BYTES; i++) inner[i] ^= 0x36;
  return { inner, outer };
}

function create(hash: HmacHash): Sha256 | Sha1 {
  return hash === "sha1" ? new Sha1() : new Sha256();
}
