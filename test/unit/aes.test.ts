import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { aes128CbcDecrypt } from "../../src/crypto/aes.js";
import { hexDecode } from "../../src/crypto/hex.js";

const zeroIv = new Uint8Array(16);

test("AES matches FIPS 197 appendix B and C.1", () => {
  const b = hexDecode("3925841d02dc09fbdc118597196a0b32");
  const keyB = hexDecode("2b7e151628aed2a6abf7158809cf4f3c");
  expect(aes128CbcDecrypt(keyB, zeroIv, b)).toEqual(hexDecode("3243f6a8885a308d313198a2e0370734"));
  const c1 = hexDecode("69c4e0d86a7b0430d8cdb78070b4c55a");
  const keyC1 = hexDecode("000102030405060708090a0b0c0d0e0f");
  expect(aes128CbcDecrypt(keyC1, zeroIv, c1)).toEqual(hexDecode("00112233445566778899aabbccddeeff"));
});

test("AES-CBC matches SP 800-38A F.2.2, CBC-AES128.Decrypt", () => {
  const key = hexDecode("2b7e151628aed2a6abf7158809cf4f3c");
  const iv = hexDecode("000102030405060708090a0b0c0d0e0f");
  const ciphertext = hexDecode(
    "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b273bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
  );
  expect(aes128CbcDecrypt(key, iv, ciphertext)).toEqual(
    hexDecode(
      "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
    ),
  );
});

test("AES-CBC agrees with node:crypto for random keys, IVs and 0 to 20 blocks, and keeps its input", () => {
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
  const blocks = fc.integer({ min: 0, max: 20 }).chain((count) => bytes(16 * count));
  fc.assert(
    fc.property(bytes(16), bytes(16), blocks, (key, iv, ciphertext) => {
      const before = ciphertext.slice();
      const native = createDecipheriv("aes-128-cbc", key, iv).setAutoPadding(false);
      const expected = Buffer.concat([native.update(ciphertext), native.final()]);
      expect(Buffer.from(aes128CbcDecrypt(key, iv, ciphertext))).toEqual(expected);
      expect(ciphertext).toEqual(before);
    }),
    { numRuns: 300 },
  );
});

test("AES uses every byte of the S-box correctly", () => {
  const key = randomBytes(16);
  const plain = Uint8Array.from({ length: 4096 }, (_, i) => i * 7 + (i >> 8));
  const cipher = createCipheriv("aes-128-cbc", key, zeroIv).setAutoPadding(false);
  expect(aes128CbcDecrypt(key, zeroIv, Buffer.concat([cipher.update(plain), cipher.final()]))).toEqual(plain);
});

test.each([
  [15, 16, 16],
  [32, 16, 16],
  [16, 12, 16],
  [16, 16, 15],
  [16, 16, 17],
])("AES rejects a key of %i, an IV of %i and a text of %i bytes", (key, iv, text) => {
  expect(() => aes128CbcDecrypt(new Uint8Array(key), new Uint8Array(iv), new Uint8Array(text))).toThrow(
    expect.objectContaining({ code: "INVALID_OPTION" }),
  );
});
