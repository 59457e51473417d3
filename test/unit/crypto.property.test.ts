/** Random keys, messages and splits against node:crypto. What must hold on XS as well is in test/conformance. */

import { createHash, createHmac, createSign, generateKeyPairSync } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { base64, base64Decode } from "../../src/crypto/base64.js";
import { hex, hexDecode } from "../../src/crypto/hex.js";
import { Hmac, hmac } from "../../src/crypto/hmac.js";
import { Sha1, sha1 } from "../../src/crypto/sha1.js";
import { Sha256, sha256 } from "../../src/crypto/sha256.js";
import { utf8, utf8Decode } from "../../src/crypto/utf8.js";
import { createSigner, signRequest } from "../../src/signing/signer.js";

const bytes = fc.uint8Array({ maxLength: 600 });
const hashName = fc.constantFrom("sha256" as const, "sha1" as const);
/** Any sequence of UTF-16 units, lone surrogates among them. */
const text = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
  fc.array(fc.constantFrom("a", "\0", "é", "漢", "\u2028", "😀", "\ud83d", "\ude00")).map((all) => all.join("")),
);

test("a hash equals node:crypto's for any split of the message, and can be cloned", () => {
  fc.assert(
    fc.property(
      hashName,
      fc.array(fc.uint8Array({ maxLength: 150 }), { maxLength: 12 }),
      fc.nat(),
      (name, parts, at) => {
        const whole = Buffer.concat(parts);
        const expected = createHash(name).update(whole).digest("hex");
        expect(hex(name === "sha256" ? sha256(whole) : sha1(whole))).toBe(expected);
        const cut = parts.length ? at % parts.length : 0;
        const first = name === "sha256" ? new Sha256() : new Sha1();
        for (const part of parts.slice(0, cut)) first.update(part);
        first.digest();
        const second = first.clone();
        first.update(whole);
        for (const part of parts.slice(cut)) second.update(part);
        expect(hex(second.digest())).toBe(expected);
      },
    ),
    { numRuns: 500 },
  );
});

test("an HMAC equals node:crypto's for any key and message, also with a prepared key", () => {
  fc.assert(
    fc.property(hashName, fc.uint8Array({ maxLength: 200 }), bytes, bytes, (name, key, one, other) => {
      const expected = (message: Uint8Array) => createHmac(name, key).update(message).digest("hex");
      const prepared = new Hmac(name, key);
      expect(hex(prepared.sign(one))).toBe(expected(one));
      expect(hex(prepared.sign(other))).toBe(expected(other));
      expect(hex(hmac(name, key, one))).toBe(expected(one));
    }),
    { numRuns: 500 },
  );
});

describe("encodings", () => {
  test("Base64 round trip", () => {
    fc.assert(
      fc.property(bytes, (input) => {
        const expected = Buffer.from(input).toString("base64");
        expect(base64(input)).toBe(expected);
        expect(base64Decode(expected)).toEqual(input);
      }),
    );
  });

  test("Base64 accepts exactly the canonical texts", () => {
    const candidates = fc
      .array(fc.constantFrom(..."ABQZabgz019+/==-_ \n é"), { maxLength: 12 })
      .map((all) => all.join(""));
    fc.assert(
      fc.property(candidates, (candidate) => {
        const strict = Buffer.from(candidate, "base64").toString("base64") === candidate;
        if (strict) expect(base64(base64Decode(candidate))).toBe(candidate);
        else expect(() => base64Decode(candidate)).toThrow(expect.objectContaining({ code: "INVALID_BASE64" }));
      }),
      { numRuns: 3000 },
    );
  });

  test("hexadecimal round trip", () => {
    fc.assert(
      fc.property(bytes, (input) => {
        expect(hex(input)).toBe(Buffer.from(input).toString("hex"));
        expect(hexDecode(hex(input).toUpperCase())).toEqual(input);
      }),
    );
  });

  test("UTF-8 equals TextEncoder's for any text", () => {
    fc.assert(
      fc.property(text, (input) => {
        expect(utf8(input)).toEqual(new Uint8Array(new TextEncoder().encode(input)));
      }),
      { numRuns: 1000 },
    );
  });

  test("UTF-8 decoding equals a strict TextDecoder's", () => {
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    const octet = fc.constantFrom(
      0,
      0x41,
      0x7f,
      0x80,
      0xbf,
      0xc2,
      0xdf,
      0xe0,
      0xed,
      0xef,
      0xf0,
      0xf4,
      0xf5,
      0x9f,
      0x90,
      0xa0,
    );
    const octets = fc.oneof(
      fc.array(octet, { maxLength: 8 }).map((all) => Uint8Array.from(all)),
      text.map((all) => new Uint8Array(new TextEncoder().encode(all))),
    );
    fc.assert(
      fc.property(octets, (input) => {
        let expected: string | undefined;
        try {
          expected = decoder.decode(input);
        } catch {}
        if (expected === undefined) {
          expect(() => utf8Decode(input)).toThrow(expect.objectContaining({ code: "INVALID_UTF8" }));
        } else {
          expect(utf8Decode(input)).toBe(expected);
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe("signatures", () => {
  const time = { timestampSeconds: 1735286744, nonce: 5456 };

  test("are equal to node:crypto's with any secret and body", () => {
    const algorithm = fc.constantFrom("hmacsha256" as const, "hmacsha1" as const);
    const body = fc.oneof(text, bytes);
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: "binary" }), algorithm, body, (secret, name, message) => {
        const hash = name === "hmacsha1" ? "sha1" : "sha256";
        const sent = typeof message === "string" ? new TextEncoder().encode(message) : message;
        const lines = ["POST", "h.example", "/device/publish", "", name, time.timestampSeconds, time.nonce];
        const expected = [...lines, createHash(hash).update(sent).digest("hex")].join("\n");
        const request = { host: "H.Example:8080", path: "/device/publish", body: message };
        const signed = signRequest(request, { secret, algorithm: name }, time);
        expect(signed.stringToSign).toBe(expected);
        expect(signed.signature).toBe(
          createHmac(hash, new TextEncoder().encode(secret)).update(expected).digest("base64"),
        );
      }),
      { numRuns: 300 },
    );
  });

  test("are equal to node:crypto's with new RSA keys and any text", () => {
    for (const modulusLength of [2048, 2049, 2304]) {
      const { privateKey } = generateKeyPairSync("rsa", { modulusLength });
      const signer = createSigner({ privateKey: privateKey.export({ type: "pkcs8", format: "pem" }).toString() });
      fc.assert(
        fc.property(text, (message) => {
          const sent = new TextEncoder().encode(message);
          expect(signer.sign(message)).toBe(createSign("sha256").update(sent).sign(privateKey, "base64"));
        }),
        { numRuns: 5 },
      );
      signer.close();
    }
  });
});
