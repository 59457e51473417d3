/** AES-128-CBC decryption (FIPS 197, NIST SP 800-38A). The protocol does not need encryption. */

import { IotHubError } from "../errors.js";

const BLOCK_BYTES = 16;
const ROUNDS = 10;

/**
 * Decrypts AES-128-CBC (NIST SP 800-38A section 6.2) without removing the padding. Not constant-time where memory is
 * cached: do not use it where an attacker can measure the time.
 * @param key 16 bytes
 * @param iv 16 bytes
 * @param ciphertext a multiple of 16 bytes; empty in, empty out
 * @returns as many bytes as the ciphertext
 * @throws {IotHubError} INVALID_OPTION for any other length
 */
export function aes128CbcDecrypt(key: Uint8Array, iv: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  if (key.length !== BLOCK_BYTES || iv.length !== BLOCK_BYTES || ciphertext.length % BLOCK_BYTES !== 0) {
    throw new IotHubError(
      "INVALID_OPTION",
      "AES-128-CBC needs a 16-byte key, a 16-byte IV and a ciphertext of a multiple of 16 bytes.",
    );
  }
  const box = substitutionBox();
  const inverse = new Uint8Array(256);
  for (let i = 0; i < 256; i++) inverse[box[i]] = i;
  const keys = expandKey(key, box);
  const plain = new Uint8Array(ciphertext.length);
  const state = new Uint8Array(BLOCK_BYTES);
  const next = new Uint8Array(BLOCK_BYTES);
  for (let at = 0; at < plain.length; at += BLOCK_BYTES) {
    for (let i = 0; i < BLOCK_BYTES; i++) next[i] = ciphertext[at + i] ^ keys[ROUNDS * BLOCK_BYTES + i];
    for (let round = ROUNDS - 1; round >= 0; round--) {
      state.set(next);
      // InvShiftRows, InvSubBytes and AddRoundKey in one: byte i is row i mod 4 of column i div 4 (FIPS 197 section 3.4).
      for (let i = 0; i < BLOCK_BYTES; i++) {
        const to = (i + 4 * (i & 3)) & 15;
        next[to] = inverse[state[i]] ^ keys[round * BLOCK_BYTES + to];
      }
      if (round > 0) invMixColumns(next);
    }
    for (let i = 0; i < BLOCK_BYTES; i++) {
      plain[at + i] = next[i] ^ (at === 0 ? iv[i] : ciphertext[at - BLOCK_BYTES + i]);
    }
  }
  keys.fill(0);
  state.fill(0);
  next.fill(0);
  return plain;
}

/**
 * S-box (FIPS 197 section 5.1.1): inverses in GF(2^8), found by stepping through the field by 3 and by 1/3, then the
 * affine map.
 */
function substitutionBox(): Uint8Array {
  const box = new Uint8Array(256);
  let p = 1;
  let q = 1;
  do {
    p ^= double(p);
    q ^= q << 1;
    q ^= q << 2;
    q ^= q << 4;
    q &= 255;
    if (q & 128) q ^= 9;
    const r = q * 0x101;
    box[p] = (q ^ (r >> 7) ^ (r >> 6) ^ (r >> 5) ^ (r >> 4) ^ 0x63) & 255;
  } while (p !== 1);
  box[0] = 0x63;
  return box;
}

/** Key expansion (FIPS 197 section 5.2): eleven consecutive round keys. */
function expandKey(key: Uint8Array, box: Uint8Array): Uint8Array {
  const keys = new Uint8Array(BLOCK_BYTES * (ROUNDS + 1));
  keys.set(key);
  let constant = 1;
  for (let i = BLOCK_BYTES; i < keys.length; i += 4) {
    const first = i % BLOCK_BYTES === 0;
    for (let n = 0; n < 4; n++) {
      // RotWord and SubWord for the first word of a round key.
      const byte = first ? box[keys[i - 4 + ((n + 1) & 3)]] : keys[i - 4 + n];
      keys[i + n] = keys[i + n - BLOCK_BYTES] ^ byte;
    }
    if (first) {
      keys[i] ^= constant;
      constant = double(constant);
    }
  }
  return keys;
}

/**
 * InvMixColumns (FIPS 197 section 5.3.3), as a correction by {04} followed by MixColumns, which avoids tables for {0e}
 * {0b} {0d} {09}.
 */
function invMixColumns(state: Uint8Array): void {
  for (let i = 0; i < BLOCK_BYTES; i += 4) {
    const even = double(double(state[i] ^ state[i + 2]));
    const odd = double(double(state[i + 1] ^ state[i + 3]));
    const a = state[i] ^ even;
    const b = state[i + 1] ^ odd;
    const c = state[i + 2] ^ even;
    const d = state[i + 3] ^ odd;
    const sum = a ^ b ^ c ^ d;
    state[i] = a ^ sum ^ double(a ^ b);
    state[i + 1] = b ^ sum ^ double(b ^ c);
    state[i + 2] = c ^ sum ^ double(c ^ d);
    state[i + 3] = d ^ sum ^ double(d ^ a);
  }
}

/** Times x in GF(2^8), FIPS 197 section 4.2.1. */
function double(byte: number): number {
  return ((byte << 1) ^ ((byte >> 7) * 0x11b)) & 255;
}
