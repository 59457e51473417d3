import { createHash, sign as nodeSign } from "node:crypto";
import { afterEach, describe, expect, jest, test } from "@jest/globals";
import type { RsaPrivateKey } from "../../src/crypto/key.js";
import { Montgomery } from "../../src/crypto/montgomery.js";
import { RsaSigner } from "../../src/crypto/rsa.js";
import { createSigner } from "../../src/signing/signer.js";

import { makeRsaKeys } from "../support/keys.js";

const { privateKey } = makeRsaKeys();
const jwk = privateKey.export({ format: "jwk" }) as Record<string, string>;
const number = (name: string) => BigInt(`0x${Buffer.from(jwk[name], "base64url").toString("hex")}`);
const key: RsaPrivateKey = {
  n: number("n"),
  e: number("e"),
  d: number("d"),
  p: number("p"),
  q: number("q"),
  dP: number("dp"),
  dQ: number("dq"),
  qInv: number("qi"),
  bytes: 256,
  der: new Uint8Array(0),
};
const hash = new Uint8Array(createHash("sha256").update("message").digest());
const expected = nodeSign("sha256", Buffer.from("message"), privateKey).toString("hex");
const sign = (changes: Partial<RsaPrivateKey> = {}) =>
  Buffer.from(new RsaSigner({ ...key, ...changes }).sign(hash)).toString("hex");

test.each([0, 20, 31, 33, 64])("a hash of %d bytes is neither signed nor verified", (length) => {
  const signer = new RsaSigner(key);
  expect(() => signer.sign(new Uint8Array(length).fill(255))).toThrow(
    expect.objectContaining({ code: "INVALID_OPTION" }),
  );
  expect(signer.verify(new Uint8Array(length), signer.sign(new Uint8Array(32)))).toBe(false);
});

afterEach(() => {
  jest.restoreAllMocks();
});

describe("a key", () => {
  test.each<[string, Partial<RsaPrivateKey>]>([
    ["complete", {}],
    ["without CRT exponents", { dP: 0n, dQ: 0n }],
    ["without coefficient", { qInv: 0n }],
    ["without primes and all that follows from them", { p: 0n, q: 0n, dP: 0n, dQ: 0n, qInv: 0n }],
    ["with its primes exchanged", { p: key.q, q: key.p, dP: key.dQ, dQ: key.dP, qInv: 0n }],
    ["with d of the other group", { d: key.d + (key.p - 1n) * (key.q - 1n) }],
  ])("%s signs like node:crypto", (_name, changes) => {
    expect(sign(changes)).toBe(expected);
  });

  test.each<[string, Partial<RsaPrivateKey>]>([
    ["another modulus", { n: key.n + 2n }],
    ["an even modulus", { n: key.n - 1n }],
    ["another prime", { p: key.p + 2n }],
    ["one prime only", { q: 0n }],
    ["the primes 1 and n", { p: 1n, q: key.n }],
    ["another public exponent", { e: 65539n }],
    ["an even public exponent", { e: 65536n }],
    ["the public exponent 1", { e: 1n }],
    ["another d", { d: key.d + 2n }],
    ["another dP", { dP: key.dP + 2n }],
    ["another dQ", { dQ: key.dQ + 2n }],
    ["another coefficient", { qInv: key.qInv + 1n }],
    ["another d, and no primes", { d: key.d + 2n, p: 0n, q: 0n, dP: 0n, dQ: 0n, qInv: 0n }],
    ["no d and no primes", { d: 0n, p: 0n, q: 0n, dP: 0n, dQ: 0n, qInv: 0n }],
  ])("with %s is rejected", (_name, changes) => {
    expect(() => new RsaSigner({ ...key, ...changes })).toThrow(
      expect.objectContaining({ code: "KEY_INCONSISTENT" }) as never,
    );
  });
});

describe("a signature", () => {
  test.each([["p"], ["q"]] as const)("is withheld if the half of %s is wrong", (half) => {
    const signer = new RsaSigner(key);
    const { power } = Montgomery.prototype;
    jest.spyOn(Montgomery.prototype, "power").mockImplementation(function (this: Montgomery, ...parts) {
      const result = power.apply(this, parts);
      return this.modulus === key[half] ? result ^ 1n : result;
    });
    expect(() => signer.sign(hash)).toThrow(expect.objectContaining({ code: "SIGNING_FAULT" }) as never);
    jest.restoreAllMocks();
    expect(Buffer.from(signer.sign(hash)).toString("hex")).toBe(expected);
  });

  test("is withheld if both halves are of another message", () => {
    const signer = new RsaSigner(key);
    const { power } = Montgomery.prototype;
    jest.spyOn(Montgomery.prototype, "power").mockImplementation(function (this: Montgomery, base, ...parts) {
      return power.call(this, base + 1n, ...parts);
    });
    expect(() => signer.sign(hash)).toThrow(expect.objectContaining({ code: "SIGNING_FAULT" }) as never);
  });

  test("is the same with different blinded exponents", () => {
    const exponents: bigint[] = [];
    const { power } = Montgomery.prototype;
    jest.spyOn(Montgomery.prototype, "power").mockImplementation(function (this: Montgomery, base, exponent, bits) {
      exponents.push(exponent);
      expect(exponent >> BigInt(bits)).toBe(0n);
      return power.call(this, base, exponent, bits);
    });
    const runs = [new RsaSigner(key), new RsaSigner(key, { bytes: () => new Uint8Array(16).fill(7) })];
    for (const signer of [...runs, ...runs]) {
      expect(Buffer.from(signer.sign(hash)).toString("hex")).toBe(expected);
    }
    expect(new Set(exponents).size).toBe(8);
    // Without the blinding they are the key's.
    for (const [i, exponent] of exponents.entries()) {
      const [prime, own] = i % 2 ? [key.q, key.dQ] : [key.p, key.dP];
      expect(exponent % (prime - 1n)).toBe(own);
      expect(exponent).not.toBe(own);
    }
  });

  test("uses the host's random values through createSigner", () => {
    const asked: number[] = [];
    const random = {
      bytes(length: number) {
        asked.push(length);
        return new Uint8Array(length);
      },
    };
    const pem = privateKey.export({ format: "pem", type: "pkcs8" }) as string;
    const signer = createSigner({ privateKey: pem }, { random });
    expect(signer.sign("message")).toBe(Buffer.from(expected, "hex").toString("base64"));
    expect(asked).toEqual([16]);
    signer.close();
  });
});

describe("Montgomery arithmetic", () => {
  test.each<[string, bigint]>([
    ["3", 3n],
    ["5", 5n],
    ["a number of one word", 0xffffffffn],
    ["a number just below a length", (1n << 127n) - 1n],
    ["a number just beyond a length", (1n << 128n) + 51n],
    ["a prime", key.p],
    ["a modulus", key.n],
  ])("modulo %s", (_name, n) => {
    const context = new Montgomery(n);
    let x = 1n;
    for (let i = 0; i < 40; i++) {
      x = (x * 0x123456789abcdefn + BigInt(i)) % n;
      const y = n - 1n - x;
      expect(context.rest(context.multiply(context.enter(x), y))).toBe((x * y) % n);
      let power = 1n;
      for (let k = 0; k < 21; k++) power = (power * x) % n;
      expect(context.power(x, 21n, 8)).toBe(power);
      expect(context.publicPower(x, 21n)).toBe(power);
    }
  });

  test("returns 1 for the exponent 0, and 0 for the base 0", () => {
    const context = new Montgomery(key.n);
    expect(context.power(5n, 0n, 10)).toBe(1n);
    expect(context.power(0n, 5n, 10)).toBe(0n);
    expect(context.publicPower(0n, 3n)).toBe(0n);
  });
});
