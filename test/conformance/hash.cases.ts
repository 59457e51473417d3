import { hex, hexDecode } from "../../src/crypto/hex.js";
import { Sha1, sha1 } from "../../src/crypto/sha1.js";
import { Sha256, sha256 } from "../../src/crypto/sha256.js";
import { utf8 } from "../../src/crypto/utf8.js";
import type { Case } from "./case.js";

/** Any bytes, the same on both sides: the data files compute with the same formula. */
export function pattern(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = i * 7 + (i >> 8) * 3 + length * 13;
  return bytes;
}

interface KnownAnswer {
  readonly hash: "sha256" | "sha1";
  readonly text?: string;
  readonly hex?: string;
  readonly times: number;
  readonly digest: string;
}

interface Lengths {
  readonly from: number;
  readonly to: number;
  /** The digests of all lengths, one after the other. */
  readonly sha256: string;
  readonly sha1: string;
}

interface Split {
  readonly length: number;
  readonly parts: readonly number[];
  readonly sha256: string;
  readonly sha1: string;
}

export const cases: readonly Case[] = [
  {
    name: "known answer",
    each: true,
    run(check, { hash, text, hex: octets, times, digest }: KnownAnswer) {
      const message = octets === undefined ? utf8(text ?? "") : hexDecode(octets);
      const state = hash === "sha256" ? new Sha256() : new Sha1();
      for (let i = 0; i < times; i++) state.update(message);
      check.equal(hex(state.digest()), digest);
      if (times === 1) check.equal(hex(hash === "sha256" ? sha256(message) : sha1(message)), digest);
    },
  },
  {
    name: "every length",
    each: true,
    run(check, data: Lengths) {
      for (let length = data.from; length <= data.to; length++) {
        const message = pattern(length);
        const at = length - data.from;
        check.equal(hex(sha256(message)), data.sha256.slice(64 * at, 64 * at + 64), `SHA-256 of ${length} bytes`);
        check.equal(hex(sha1(message)), data.sha1.slice(40 * at, 40 * at + 40), `SHA-1 of ${length} bytes`);
      }
    },
  },
  {
    name: "random splits of update",
    run(check, splits: readonly Split[]) {
      for (const { length, parts, sha256: expected256, sha1: expected1 } of splits) {
        const message = pattern(length);
        const a = new Sha256();
        const b = new Sha1();
        let at = 0;
        for (const part of parts) {
          const bytes = message.subarray(at, at + part);
          check.equal(a.update(bytes), a);
          check.equal(b.update(bytes), b);
          at += part;
        }
        check.equal(at, length);
        check.equal(hex(a.digest()), expected256, `${length} bytes as ${parts.join("+")}`);
        check.equal(hex(b.digest()), expected1, `${length} bytes as ${parts.join("+")}`);
      }
    },
  },
  {
    name: "digest leaves the state as it is, and clones are independent",
    run(check) {
      for (const Hash of [Sha256, Sha1]) {
        for (const length of [0, 1, 55, 56, 63, 64, 65, 130]) {
          const message = pattern(length);
          const state = new Hash().update(message);
          const before = hex(state.digest());
          check.equal(hex(state.digest()), before, "twice");
          const clone = state.clone();
          clone.update(pattern(70));
          check.equal(hex(state.digest()), before, "after its clone went on");
          state.update(pattern(70));
          check.equal(hex(state.digest()), hex(clone.digest()), "both went the same way");
          check.equal(hex(new Hash().update(message).digest()), before, "a new state knows nothing of them");
        }
      }
    },
  },
  {
    name: "the message is read, not kept or changed",
    run(check) {
      const message = pattern(100);
      const state = new Sha256().update(message);
      const before = hex(state.digest());
      check.equal(message, pattern(100));
      message.fill(0);
      check.equal(hex(state.digest()), before);
    },
  },
  {
    name: "a view into a larger buffer is hashed, not the buffer",
    run(check) {
      const buffer = pattern(300);
      const view = new Uint8Array(buffer.buffer, 7, 131);
      check.equal(hex(sha256(view)), hex(sha256(view.slice())));
      check.equal(hex(sha1(view)), hex(sha1(view.slice())));
    },
  },
];
