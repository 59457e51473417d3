/** The reader of certificates: DER as strict as X.690 has it, within limits, and nothing thrown but a Rejection. */

import { describe, expect, test } from "@jest/globals";
import { Certificate, MAX_CERTIFICATE_BYTES, subjectOf } from "../../host/moddable/tls/certificate.js";
import { DerCursor, DerFault } from "../../host/moddable/tls/der.js";
import { Rejection } from "../../host/moddable/tls/rejection.js";
import { isSignature } from "../../host/moddable/tls/verify.js";
import { nodePrimitives } from "../support/node-primitives.js";
import {
  Authority,
  bits,
  commonName,
  type Der,
  der,
  dnsName,
  type Element,
  extension,
  extensions,
  integer,
  makeCertificate,
  NULL,
  oid,
  parse,
  sequence,
  text,
} from "../support/x509.js";

const root = new Authority("Root");
const leafDer = root.leaf();

/** Why the reader refuses it; "" if it does not. */
function refusal(der: Uint8Array): string {
  try {
    new Certificate(der).publicKey();
    return "";
  } catch (error) {
    expect(error).toBeInstanceOf(Rejection);
    return (error as Rejection).message;
  }
}

const withParts = (changes: object) => {
  const parts = { subject: commonName("x"), issuer: root.subject, spki: root.key.spki, ...changes };
  return makeCertificate(parts, root.key);
};
const withExtensions = (...list: Der[]) => withParts({ extensions: list });

test("certificate fields are parsed as they were encoded", () => {
  const list = [
    extensions.basicConstraints(3),
    extensions.keyUsage(0x06),
    extensions.extKeyUsage("1.3.6.1.5.5.7.3.2", "2.5.29.37.0"),
    extensions.subjectAltName(dnsName("gateway.test")),
    extensions.nameConstraints([dnsName("test")]),
    extensions.subjectKeyIdentifier(Uint8Array.of(1, 2)),
    extensions.authorityKeyIdentifier(Uint8Array.of(3)),
    extension("1.2.3.4", text("not DER at all")),
    extension("2.5.29.32", sequence(), true),
  ];
  const certificate = new Certificate(
    withParts({ extensions: list, notBefore: "491231235959Z", notAfter: "20500101000000Z" }),
  );
  expect(certificate).toMatchObject({
    version: 3,
    ca: true,
    pathLength: 3,
    keyUsage: 6,
    serverAuth: true,
    notBeforeMs: Date.UTC(2049, 11, 31, 23, 59, 59),
    notAfterMs: Date.UTC(2050, 0, 1),
    subjectKeyIdentifier: Uint8Array.of(1, 2),
    authorityKeyIdentifier: Uint8Array.of(3),
    subjectAltName: sequence(dnsName("gateway.test")),
    unknown: undefined,
  });
  expect(certificate.spki).toEqual(root.key.spki);
  expect(sequence(certificate.subject)).toEqual(commonName("x"));
  expect(subjectOf(leafDer)).toEqual(new Certificate(leafDer).subject);
});

test("certificates of version 1 and 2 have no extensions", () => {
  const none = new Uint8Array(0);
  expect(new Certificate(withParts({ version: none })).version).toBe(1);
  expect(new Certificate(withParts({ version: der(0xa0, integer(1)) })).version).toBe(2);
  const list = [extensions.basicConstraints()];
  expect(refusal(withParts({ version: none, extensions: list }))).not.toBe("");
  expect(refusal(withParts({ version: der(0xa0, integer(1)), extensions: list }))).not.toBe("");
  // DER leaves out a default.
  expect(refusal(withParts({ version: der(0xa0, integer(0)) }))).toContain("version");
  expect(refusal(withParts({ version: der(0xa0, integer(3)) }))).toContain("version");
});

describe("strict DER", () => {
  const whole = withExtensions(
    extensions.basicConstraints(0),
    extensions.keyUsage(0x06),
    extensions.extKeyUsage("1.3.6.1.5.5.7.3.1"),
    extensions.authorityKeyIdentifier(Uint8Array.of(3)),
  );

  function encode(element: Element): Der {
    if (element.children.length === 0) return der(element.tag, element.contents);
    return der(element.tag, ...element.children.map(encode));
  }

  /** Each element in turn, with a function that puts another in its place. */
  function* places(elements: Element[], rebuild: (changed: Der[]) => Der): Generator<[Element, (by: Der) => Der]> {
    for (const [at, element] of elements.entries()) {
      const replace = (by: Der) => rebuild(elements.map((other, i) => (i === at ? by : encode(other))));
      yield [element, replace];
      const inside = (changed: Der[]) => replace(der(element.tag, ...changed));
      yield* places(element.children, inside);
      // Extensions and the key contain nested DER.
      const nested = nestedIn(element);
      if (nested) {
        const [prefix, list] = nested;
        yield* places(list, (changed) => replace(der(element.tag, prefix, ...changed)));
      }
    }
  }

  function nestedIn({ tag, contents }: Element): [Uint8Array, Element[]] | undefined {
    if (tag === 4 && contents[0] === 0x30) return [new Uint8Array(0), parse(contents)];
    if (tag === 4 && contents[0] === 0x03) return [new Uint8Array(0), parse(contents)];
    return undefined;
  }

  const all = [...places(parse(whole), (changed) => Uint8Array.from(Buffer.concat(changed)))];
  /** Values of names may be anything. */
  const values = new Set(
    all.flatMap(([{ tag, children }]) => (tag === 0x31 ? children.map((attribute) => attribute.children[1]) : [])),
  );

  test("the unmodified certificate is accepted, and all its elements are known", () => {
    expect(refusal(whole)).toBe("");
    expect(all.length).toBeGreaterThan(50);
    for (const [element, replace] of all) expect(replace(encode(element))).toEqual(whole);
  });

  test("an additional element in any list is rejected", () => {
    let refused = 0;
    for (const [element, replace] of all) {
      if (!(element.tag & 0x20) && !nestedIn(element)) continue;
      const longer = der(element.tag, element.contents, NULL);
      expect([element.tag, refusal(replace(longer))]).not.toEqual([element.tag, ""]);
      refused++;
    }
    expect(refused).toBeGreaterThan(15);
  });

  test("a non-minimal length is rejected", () => {
    for (const [element, replace] of all) {
      const { tag, contents } = element;
      const { length } = contents;
      const longer = [tag, 0x82, length >> 8, length & 0xff];
      if (length >= 0x100) longer.splice(1, 1, 0x83, 0);
      const bad = Uint8Array.from([...longer, ...contents]);
      expect([tag, refusal(replace(bad))]).not.toEqual([tag, ""]);
    }
  });

  test("a non-minimal INTEGER is rejected", () => {
    let refused = 0;
    for (const [{ tag, contents }, replace] of all) {
      if (tag !== 2) continue;
      expect(refusal(replace(der(2, Uint8Array.of(0), contents)))).toMatch(/more bytes than it needs|version/);
      expect(refusal(replace(der(2)))).not.toBe("");
      refused++;
    }
    expect(refused).toBe(3);
  });

  test("an element of another type is rejected everywhere", () => {
    for (const [element, replace] of all) {
      if (values.has(element)) continue;
      expect([element.tag, refusal(replace(der(0x1e, element.contents)))]).not.toEqual([element.tag, ""]);
    }
  });

  test.each<[string, Der]>([
    ["an indefinite length", Uint8Array.from([0x30, 0x80, ...leafDer.subarray(4), 0, 0])],
    ["a length of three bytes", Uint8Array.from([0x30, 0x83, 0, ...leafDer.subarray(2)])],
    ["bytes after its end", Uint8Array.from([...leafDer, 0])],
    ["nothing", new Uint8Array(0)],
    ["a tag alone", Uint8Array.of(0x30)],
    ["a boolean of 1", withExtensions(sequence(oid("1.2.3"), der(1, Uint8Array.of(1)), der(4)))],
    ["a boolean of two bytes", withExtensions(sequence(oid("1.2.3"), der(1, Uint8Array.of(255, 255)), der(4)))],
    ["an extension twice", withExtensions(extension("1.2.3", NULL), extension("1.2.3", NULL))],
    [
      "no extension in the list",
      withParts({ version: Uint8Array.from([...der(0xa0, integer(2))]), spki: listOfNone() }),
    ],
    ["an extension without a value", withExtensions(sequence(oid("1.2.3")))],
    ["a key usage of no bits", withExtensions(extension("2.5.29.15", bits(new Uint8Array(0))))],
    ["a key usage with bits beyond its end", withExtensions(extension("2.5.29.15", bits(Uint8Array.of(0x81), 7)))],
    ["a key usage with eight unused bits", withExtensions(extension("2.5.29.15", bits(Uint8Array.of(0x80), 8)))],
    ["no purpose in extKeyUsage", withExtensions(extensions.extKeyUsage())],
    [
      "a negative path length",
      withExtensions(extension("2.5.29.19", sequence(der(1, Uint8Array.of(255)), integer(255)))),
    ],
    ["an empty object identifier", withExtensions(sequence(der(6), der(4)))],
    ["an unfinished object identifier", withExtensions(sequence(der(6, Uint8Array.of(0x2a, 0x83)), der(4)))],
    ["an object identifier of 21 bytes", withExtensions(sequence(der(6, new Uint8Array(21).fill(42)), der(4)))],
    ["an issuer without a name", withParts({ issuer: sequence() })],
    ["neither subject nor critical subjectAltName", withParts({ subject: sequence() })],
    ["a month of 13", withParts({ notBefore: "251301000000Z" })],
    ["a 30th of February", withParts({ notBefore: "250230000000Z" })],
    ["an hour of 24", withParts({ notBefore: "250101240000Z" })],
    ["a second of 60", withParts({ notBefore: "250101000060Z" })],
    ["a letter in a date", withParts({ notBefore: "25O101000000Z" })],
    ["a time zone", withParts({ notBefore: "2501010000+0100" })],
    ["no seconds", withParts({ notBefore: "2501010000Z" })],
    ["fractions of a second", withParts({ notAfter: "20500101000000.5Z" })],
    ["33 extensions", withExtensions(...many(33))],
  ])("%s is refused", (_name, bytes) => {
    expect(refusal(bytes)).not.toBe("");
  });

  function many(count: number): Der[] {
    return Array.from({ length: count }, (_, i) => extension(`1.2.3.${i}`, NULL));
  }
  /** A key, and after it a list of extensions that is empty. */
  function listOfNone(): Der {
    return Uint8Array.from([...root.key.spki, ...der(0xa3, sequence())]);
  }

  test("32 extensions and an explicit FALSE are read", () => {
    expect(refusal(withExtensions(...many(32)))).toBe("");
    expect(refusal(withExtensions(sequence(oid("1.2.3"), der(1, Uint8Array.of(0)), der(4))))).toBe("");
  });

  test("the maximum certificate size is exact", () => {
    const padded = (bytes: number) => withExtensions(extension("1.2.3", der(4, new Uint8Array(bytes))));
    const overhead = padded(7000).length - 7000;
    // The signature's length varies by a few bytes.
    const longest = Array.from({ length: 200 }, () => padded(MAX_CERTIFICATE_BYTES - overhead)).find(
      ({ length }) => length === MAX_CERTIFICATE_BYTES,
    ) as Uint8Array;
    expect(refusal(longest)).toBe("");
    expect(refusal(Uint8Array.from([...longest, 0]))).toContain("longer than 8192 bytes");
  });
});

describe("a critical or malformed extension", () => {
  test.each<[string, Der, string]>([
    ["unknown and critical", extension("1.3.6.1.4.1.99999.1", NULL, true), "1.3.6.1.4.1.99999.1"],
    ["policyConstraints, critical or not", extension("2.5.29.36", sequence()), "2.5.29.36"],
    ["a critical key identifier", extension("2.5.29.14", der(4, Uint8Array.of(1)), true), "2.5.29.14"],
    ["a critical authority key identifier", extension("2.5.29.35", sequence(), true), "2.5.29.35"],
    ["of a UUID, which is too long for a number", extension("2.25.1", NULL, true), "2.25.1"],
    [
      "of an arc of 16 bytes",
      sequence(der(6, Uint8Array.of(0x69, ...new Uint8Array(17).fill(0xff), 0x7f)), der(1, Uint8Array.of(255)), der(4)),
      `0x69${"ff".repeat(17)}7f`,
    ],
  ])("%s", (_name, given, id) => {
    expect(new Certificate(withExtensions(given)).unknown).toBe(id);
  });
});

test("truncated and modified certificates throw only short Rejections", () => {
  for (const whole of [leafDer, root.root()]) {
    for (let at = 0; at < whole.length; at++) {
      const flipped = Uint8Array.from(whole);
      flipped[at] ^= 0xff;
      expect(refusal(whole.subarray(0, at))).toMatch(/^a certificate cannot be read \(.{1,100}\)$/);
      expect(refusal(flipped).length).toBeLessThanOrEqual(120);
    }
  }
});

test("error messages have at most 200 characters, whatever the peer sends", () => {
  const long = "x".repeat(4000);
  const messages = [
    refusal(withParts({ subject: commonName(long), issuer: commonName(long) })),
    refusal(withExtensions(extension("2.5.29.15", text(long)))),
    refusal(withParts({ spki: sequence(sequence(der(6, text(long))), bits(Uint8Array.of(1))) })),
    refusal(withParts({ notBefore: long })),
    refusal(text(long)),
  ];
  for (const message of messages) expect(message.length).toBeLessThanOrEqual(200);
});

describe("ECDSA signatures", () => {
  const [r, s] = [integer(0x01, 0x02), integer(0x00, 0x80)];
  const n = Uint8Array.from(Buffer.from("00ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", "hex"));
  const below = n.map((byte, i) => (i === n.length - 1 ? byte - 1 : byte));

  test.each<[string, Uint8Array, boolean]>([
    ["of small numbers", sequence(r, s), true],
    ["of the order less 1", sequence(r, der(2, below)), true],
    ["of zeros", sequence(integer(0), integer(0)), false],
    ["with a zero", sequence(r, integer(0)), false],
    ["of the order", sequence(r, der(2, n)), false],
    ["beyond the order", sequence(r, integer(1, ...new Array(32).fill(0))), false],
    ["negative", sequence(r, integer(0x80)), false],
    ["with a byte more than needed", sequence(integer(0, 1), s), false],
    ["with an empty number", sequence(der(2), s), false],
    ["with a third number", sequence(r, s, r), false],
    ["with one number", sequence(r), false],
    ["with bytes after it", Uint8Array.from([...sequence(r, s), 0]), false],
    ["with a long length", Uint8Array.from([0x30, 0x81, 7, ...sequence(r, s).subarray(2)]), false],
    ["that is none", Uint8Array.of(1, 2, 3), false],
    ["of nothing", new Uint8Array(0), false],
  ])("%s", (_name, signature, good) => {
    const key = { type: "ec", curve: "secp256r1", point: new Uint8Array(65) } as const;
    const primitives = { ...nodePrimitives, ecdsaVerify: () => true };
    expect(isSignature(primitives, key, { key: "ec", hash: "SHA256" }, signature, [])).toBe(good);
  });
});

test("the DER cursor reports errors, and never reads beyond the current element", () => {
  const cursor = new DerCursor(sequence(sequence(integer(1)), integer(2)));
  cursor.enter(0x30);
  const outer = cursor.enter(0x30);
  cursor.integer();
  expect(cursor.done).toBe(true);
  expect(() => cursor.integer()).toThrow(new DerFault("it ends too early"));
  cursor.leave(outer);
  expect(() => cursor.leave(0)).toThrow(new DerFault("an element has more parts than expected"));
  const torn = new DerCursor(sequence(Uint8Array.of(0x30, 3, 2, 1), Uint8Array.of(1, 2, 1, 2)));
  torn.enter(0x30);
  torn.enter(0x30);
  expect(torn.integer()).toEqual(Uint8Array.of(1));
  expect(() => torn.end()).not.toThrow();
});
