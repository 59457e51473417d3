import { hex, hexDecode } from "../../src/crypto/hex.js";
import { Hmac, hmac } from "../../src/crypto/hmac.js";
import type { Case } from "./case.js";
import { pattern } from "./hash.cases.js";

interface KnownAnswer {
  readonly hash: "sha256" | "sha1";
  readonly key: string;
  readonly message: string;
  /** Perhaps only its beginning. */
  readonly code: string;
}

interface Lengths {
  readonly from: number;
  readonly to: number;
  readonly sha256: string;
  readonly sha1: string;
}

export const cases: readonly Case[] = [
  {
    name: "known answer",
    each: true,
    run(check, { hash, key, message, code }: KnownAnswer) {
      check.equal(hex(hmac(hash, hexDecode(key), hexDecode(message))).slice(0, code.length), code);
      const prepared = new Hmac(hash, hexDecode(key));
      for (let i = 0; i < 3; i++) check.equal(hex(prepared.sign(hexDecode(message))).slice(0, code.length), code);
    },
  },
  {
    name: "every length of key",
    each: true,
    run(check, data: Lengths) {
      const message = pattern(40);
      for (let length = data.from; length <= data.to; length++) {
        const key = pattern(length);
        const at = length - data.from;
        check.equal(
          hex(hmac("sha256", key, message)),
          data.sha256.slice(64 * at, 64 * at + 64),
          `key of ${length} bytes`,
        );
        check.equal(hex(hmac("sha1", key, message)), data.sha1.slice(40 * at, 40 * at + 40), `key of ${length} bytes`);
        check.equal(key, pattern(length), "the key is left as it was");
      }
    },
  },
  {
    name: "every length of message",
    each: true,
    run(check, data: Lengths) {
      const prepared256 = new Hmac("sha256", pattern(24));
      const prepared1 = new Hmac("sha1", pattern(24));
      for (let length = data.from; length <= data.to; length++) {
        const message = pattern(length);
        const at = length - data.from;
        check.equal(hex(prepared256.sign(message)), data.sha256.slice(64 * at, 64 * at + 64), `${length} bytes`);
        check.equal(hex(prepared1.sign(message)), data.sha1.slice(40 * at, 40 * at + 40), `${length} bytes`);
      }
    },
  },
  {
    name: "nothing of the key is left after close",
    run(check) {
      const key = pattern(24);
      const message = pattern(10);
      const right = hex(hmac("sha256", key, message));
      const prepared = new Hmac("sha256", key);
      check.equal(hex(prepared.sign(message)), right);
      prepared.close();
      let after: string | undefined;
      try {
        after = hex(prepared.sign(message));
      } catch {
        // An error is as good as a worthless code.
      }
      check.ok(after !== right, "a closed HMAC still signs");
      check.equal(hex(new Hmac("sha256", key).sign(message)), right, "and another with the same key is not touched");
    },
  },
];
