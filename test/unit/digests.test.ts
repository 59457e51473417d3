import { createHash, createHmac, randomBytes } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import { base64 } from "../../src/crypto/base64.js";
import { hex } from "../../src/crypto/hex.js";
import { hmac } from "../../src/crypto/hmac.js";
import { Sha1, sha1 } from "../../src/crypto/sha1.js";
import { Sha256, sha256, sha256Hex } from "../../src/crypto/sha256.js";

const plain = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe.each([
  ["sha256", sha256, Sha256],
  ["sha1", sha1, Sha1],
] as const)("%s", (name, hash, Hash) => {
  test("agrees with node:crypto at every length from 0 to 300 and around the chunks", () => {
    for (let length = 0; length <= 40000; length += length < 300 ? 1 : length < 2200 ? 37 : 8009) {
      const bytes = new Uint8Array(randomBytes(length));
      const expected = createHash(name).update(bytes).digest("hex");
      expect(plain(hash(bytes))).toBe(expected);
      const cut = Math.floor(length / 3);
      const pieces = new Hash().update(bytes.subarray(0, cut)).update(bytes.subarray(cut));
      const copy = pieces.clone();
      expect(plain(pieces.digest())).toBe(expected);
      expect(plain(copy.digest())).toBe(expected);
      expect(plain(hmac(name, bytes, bytes))).toBe(createHmac(name, bytes).update(bytes).digest("hex"));
    }
  });
});

test("hex, Base64 and the hex digest agree with Buffer at every length and alignment", () => {
  for (let length = 0; length <= 100; length++) {
    const bytes = new Uint8Array(randomBytes(length + 8)).subarray(length % 8, (length % 8) + length);
    expect(hex(bytes)).toBe(Buffer.from(bytes).toString("hex"));
    expect(base64(bytes)).toBe(Buffer.from(bytes).toString("base64"));
    expect(sha256Hex(bytes)).toBe(createHash("sha256").update(bytes).digest("hex"));
  }
  for (let byte = 0; byte < 256; byte++) {
    const bytes = Uint8Array.of(byte, 255 - byte, (byte * 7) & 255, byte ^ 0x5a);
    expect(hex(bytes)).toBe(Buffer.from(bytes).toString("hex"));
    expect(base64(bytes)).toBe(Buffer.from(bytes).toString("base64"));
  }
});
