/** How paths are found among certificates that do not do, and what that may cost. */

import { describe, expect, test } from "@jest/globals";
import { type Trust, verifyChain } from "../../host/moddable/tls/chain.js";
import { LimitExceeded, Rejection } from "../../host/moddable/tls/rejection.js";
import { countingPrimitives, nodePrimitives } from "../support/node-primitives.js";
import {
  Authority,
  commonName,
  der,
  dnsName,
  extension,
  extensions,
  integer,
  keyIdentifier,
  makeCertificate,
  makeKey,
  NULL,
  oid,
  sequence,
} from "../support/x509.js";

const HOST = "gateway.test";
const NOW = Date.UTC(2026, 10, 28);
const EXPIRED = { notBefore: "200101000000Z", notAfter: "210930140115Z" };

function verify(chain: readonly Uint8Array[], anchors: readonly Uint8Array[], changes: Partial<Trust> = {}) {
  const primitives = countingPrimitives();
  const trust = { anchors, pins: [], acceptAnything: false, nowMs: () => NOW, ...changes };
  try {
    verifyChain(chain, HOST, trust, primitives);
    return { reason: "", checks: primitives.checks };
  } catch (error) {
    expect(error).toBeInstanceOf(Rejection);
    const { message, alert } = error as Rejection;
    return { reason: message, alert, checks: primitives.checks, limit: error instanceof LimitExceeded };
  }
}

const root = new Authority("Root");
const intermediate = new Authority("Intermediate");
const rootDer = root.root();
const intermediateDer = root.certify(intermediate);
const leaf = intermediate.leaf();
const other = new Authority("Other root");

describe("the certificates sent by the server", () => {
  test.each<[string, Uint8Array[]]>([
    ["in order", [leaf, intermediateDer]],
    ["with its root", [leaf, intermediateDer, rootDer]],
    ["in the wrong order", [leaf, rootDer, intermediateDer]],
    ["with the server's certificate twice", [leaf, leaf, intermediateDer]],
    ["with an intermediate twice", [leaf, intermediateDer, intermediateDer]],
    ["with a stranger amid", [leaf, new Authority("Stranger").root(), intermediateDer]],
    ["with bytes that are not a certificate", [leaf, Uint8Array.of(1, 2, 3), new Uint8Array(0), intermediateDer]],
    ["with a certificate that is too long", [leaf, new Uint8Array(9000), intermediateDer]],
  ])("%s is accepted with two signature checks", (_name, chain) => {
    expect(verify(chain, [rootDer])).toEqual({ reason: "", checks: 2 });
  });

  test("no certificate, and more than ten, are rejected before any is parsed", () => {
    expect(verify([], [rootDer]).reason).toBe("no certificate was sent");
    const many = [leaf, ...Array(10).fill(intermediateDer)];
    expect(verify(many, [rootDer])).toMatchObject({ reason: "more than 10 certificates were sent", checks: 0 });
    expect(verify(many.slice(0, 10), [rootDer]).reason).toBe("");
  });

  test.each<[string, Uint8Array[], string, number]>([
    ["without the intermediate", [leaf], "there is no path to a trust anchor", 48],
    [
      "with a root that nobody trusts",
      [other.leaf(), other.root()],
      "it ends in a self-signed certificate that is not a trust anchor",
      48,
    ],
    ["of another root", [new Authority("Root").leaf()], "a certificate is not signed by the issuer that it names", 42],
    ["that signed itself", [selfSigned()], "it ends in a self-signed certificate that is not a trust anchor", 48],
  ])("%s is rejected", (_name, chain, reason, alert) => {
    expect(verify(chain, [rootDer])).toMatchObject({ reason, alert });
  });

  test("a server certificate that is a trust anchor is accepted if its dates and names are valid", () => {
    const own = selfSigned();
    expect(verify([own], [own])).toEqual({ reason: "", checks: 0 });
    expect(verify([leaf], [rootDer, leaf])).toEqual({ reason: "", checks: 0 });
    expect(verify([own], [own], { nowMs: () => Date.UTC(2040, 0) }).reason).toMatch(/expired/);
    const elsewhere = other.leaf([dnsName("other.test")]);
    expect(verify([elsewhere], [elsewhere]).reason).toMatch(/not for the name/);
  });

  test("a trust anchor that is not a CA cannot be an issuer", () => {
    const own = new Authority("a server");
    expect(verify([own.leaf()], [selfSigned(own)]).reason).toBe("an issuer is not a certification authority");
  });
});

function selfSigned(authority = new Authority("a server")): Uint8Array {
  const { subject, key } = authority;
  const list = [extensions.subjectAltName(dnsName(HOST))];
  return makeCertificate({ subject, issuer: subject, spki: key.spki, extensions: list }, key);
}

describe("an unsuitable issuer candidate is skipped", () => {
  const expiredRoot = root.root(EXPIRED);
  const twin = new Authority("Intermediate");
  const withList = (list: Uint8Array[]) => root.certify(intermediate, { extensions: list });
  const withMore = (more: Uint8Array) => root.certify(intermediate, {}, more);
  const ca = extensions.basicConstraints();

  test("expired trust anchor with the root's name", () => {
    expect(verify([leaf, intermediateDer], [expiredRoot, rootDer])).toEqual({ reason: "", checks: 2 });
    expect(verify([leaf, intermediateDer], [expiredRoot]).reason).toBe("the trust anchor expired on 2021-09-30");
  });

  test("root cross-signed by an expired one, while the root is a trust anchor (Let's Encrypt, 2021)", () => {
    const old = new Authority("Older root");
    const crossSigned = old.certify(root);
    const chain = [leaf, intermediateDer, crossSigned];
    expect(verify(chain, [old.root(EXPIRED), rootDer])).toEqual({ reason: "", checks: 2 });
    expect(verify(chain, [rootDer])).toEqual({ reason: "", checks: 2 });
    expect(verify(chain, [old.root(EXPIRED)]).reason).toBe("the trust anchor expired on 2021-09-30");
    expect(verify(chain, [old.root()])).toEqual({ reason: "", checks: 3 });
  });

  test("expired cross-signed root (AddTrust, 2020)", () => {
    const old = new Authority("Older root");
    const chain = [leaf, intermediateDer, old.certify(root, EXPIRED)];
    expect(verify(chain, [old.root(), rootDer])).toEqual({ reason: "", checks: 2 });
    expect(verify(chain, [old.root()]).reason).toBe("an issuer's certificate expired on 2021-09-30");
  });

  test.each<[string, Uint8Array]>([
    ["expired", root.certify(intermediate, EXPIRED)],
    ["not yet valid", root.certify(intermediate, { notBefore: "300101000000Z" })],
    ["for clients", withList([ca, extensions.extKeyUsage("1.3.6.1.5.5.7.3.2")])],
    ["no authority", withList([extensions.keyUsage(0x06)])],
    ["with a key that may not sign certificates", withList([ca, extensions.keyUsage(0x02)])],
    ["with a critical extension", withMore(extension("1.2.3.4", NULL, true))],
    ["with name constraints that forbid the host", withMore(extensions.nameConstraints([dnsName("other.test")]))],
    ["with constraints that cannot be read", withMore(extension("2.5.29.30", NULL, true))],
    ["of another key", root.certify(twin)],
    ["of an unknown root", new Authority("Unknown").certify(intermediate)],
    ["signed by another root of the same name", new Authority("Root").certify(intermediate)],
  ])("intermediate %s, sent before or after the suitable one", (_name, bad) => {
    for (const chain of [
      [leaf, bad, intermediateDer],
      [leaf, intermediateDer, bad],
    ]) {
      const { reason, checks } = verify(chain, [rootDer]);
      expect(reason).toBe("");
      expect(checks).toBeLessThanOrEqual(4);
    }
    expect(verify([leaf, bad], [rootDer]).reason).not.toBe("");
  });

  test("intermediate with another key and the same key identifier, at the cost of one signature check", () => {
    const identifier = extensions.subjectKeyIdentifier(keyIdentifier(intermediate.key));
    const bad = root.certify(twin, { extensions: [ca, identifier] });
    expect(verify([leaf, bad, intermediateDer], [rootDer])).toEqual({ reason: "", checks: 3 });
  });

  test("the key identifier selects the right issuer first", () => {
    const twins = Array.from({ length: 8 }, () => root.certify(new Authority("Intermediate")));
    expect(verify([leaf, ...twins, intermediateDer], [rootDer])).toEqual({ reason: "", checks: 2 });
  });

  test("trust anchor with an exceeded path length", () => {
    const strict = root.root({ extensions: [extensions.basicConstraints(0)] });
    expect(verify([leaf, intermediateDer], [strict]).reason).toBe("path length constraint exceeded");
    expect(verify([leaf, intermediateDer], [strict, rootDer]).reason).toBe("");
    expect(verify([root.leaf()], [strict]).reason).toBe("");
  });

  test("trust anchor with unsuitable name constraints or key usage", () => {
    const constrained = root.root({
      extensions: [ca, extensions.nameConstraints([dnsName("other.test")], [dnsName("gateway.test")])],
    });
    const unfit = root.root({ extensions: [ca, extensions.keyUsage(0x80)] });
    for (const anchor of [constrained, unfit]) {
      expect(verify([leaf, intermediateDer], [anchor])).toMatchObject({ checks: 0, alert: 42 });
      expect(verify([leaf, intermediateDer], [anchor, rootDer]).reason).toBe("");
    }
  });
});

describe("limits of the cost of a chain", () => {
  test("a chain that fails a cheap check costs no signature check", () => {
    const expired = intermediate.leaf(undefined, EXPIRED);
    for (const [chain, anchors] of [
      [[expired, intermediateDer], [rootDer]],
      [[intermediate.leaf([dnsName("other.test")]), intermediateDer], [rootDer]],
      [[leaf, root.certify(intermediate, EXPIRED)], [rootDer]],
      [[leaf, intermediateDer], [new Authority("Other").root()]],
      [[leaf, intermediateDer], [root.root(EXPIRED)]],
    ]) {
      expect(verify(chain, anchors).checks).toBe(0);
    }
  });

  test("issuers with wrong keys end the search after eight signature checks", () => {
    const twins = Array.from({ length: 9 }, () =>
      root.certify(new Authority("Intermediate"), { extensions: [extensions.basicConstraints()] }),
    );
    expect(verify([leaf, ...twins], [rootDer])).toMatchObject({
      reason: "there are too many signatures to check",
      checks: 8,
      limit: true,
    });
  });

  test("issuers of the same name end the search without a signature check", () => {
    const subject = commonName("Maze");
    const maze = Array.from({ length: 9 }, () => {
      const key = makeKey();
      return makeCertificate(
        { subject, issuer: subject, spki: key.spki, extensions: [extensions.basicConstraints()] },
        key,
      );
    });
    const start = new Authority("Maze").leaf();
    expect(verify([start, ...maze], [rootDer])).toMatchObject({
      reason: "there are too many paths to try",
      checks: 0,
      limit: true,
    });
  });

  test("many names and constraints end the search after 4096 comparisons", () => {
    const names = Array.from({ length: 70 }, (_, i) => dnsName(`n${i}.test`));
    const many = intermediate.leaf([dnsName(HOST), ...names]);
    const constraints = (count: number) =>
      root.certify(
        intermediate,
        {},
        extensions.nameConstraints(
          [],
          Array.from({ length: count }, (_, i) => dnsName(`x${i}.example`)),
        ),
      );
    expect(verify([many, constraints(56)], [rootDer]).reason).toBe("");
    expect(verify([many, constraints(57)], [rootDer])).toMatchObject({
      reason: "it would take too many comparisons with name constraints",
      checks: 0,
      limit: true,
    });
  });

  test("a loop of certificates ends the search", () => {
    const [a, b] = [new Authority("A"), new Authority("B")];
    expect(verify([a.leaf(), b.certify(a), a.certify(b)], [rootDer]).checks).toBe(0);
  });
});

describe("algorithms and keys", () => {
  test.each<[Parameters<typeof makeKey>]>([
    [["P-256", "SHA256"]],
    [["P-256", "SHA384"]],
    [["P-256", "SHA512"]],
    [["P-384", "SHA384"]],
    [["P-384", "SHA256"]],
    [["P-384", "SHA512"]],
    [[2048, "SHA256"]],
    [[2048, "SHA384"]],
    [[2048, "SHA512"]],
    [[4096, "SHA384"]],
  ])("issuers of %j are accepted", (parameters) => {
    const authority = new Authority("Authority", makeKey(...parameters));
    expect(verify([authority.leaf()], [authority.root()])).toEqual({ reason: "", checks: 1 });
  });

  test.each<[string, Uint8Array, string]>([
    ["with SHA-1", sequence(oid("1.2.840.113549.1.1.5"), NULL), "object identifier 1.2.840.113549.1.1.5"],
    ["by RSA-PSS", sequence(oid("1.2.840.113549.1.1.10"), sequence()), "object identifier 1.2.840.113549.1.1.10"],
    ["with Ed25519", sequence(oid("1.3.101.112")), "object identifier 1.3.101.112"],
    ["by ECDSA with NULL for parameters", sequence(oid("1.2.840.10045.4.3.2"), NULL), "not signed by RSA or ECDSA"],
    ["by an identifier that cannot be read", sequence(NULL), "object identifier unknown"],
  ])("a certificate signed %s is rejected without a signature check", (_name, algorithm, reason) => {
    const key = { ...root.key, algorithm };
    const odd = makeCertificate(
      {
        subject: commonName("a server"),
        issuer: root.subject,
        spki: key.spki,
        extensions: [extensions.subjectAltName(dnsName(HOST))],
      },
      key,
    );
    expect(verify([odd], [rootDer])).toMatchObject({ reason: expect.stringContaining(reason), checks: 0, alert: 43 });
  });

  const rsaSpki = (modulus: Uint8Array, exponent: Uint8Array) =>
    sequence(
      sequence(oid("1.2.840.113549.1.1.1"), NULL),
      der(3, Uint8Array.of(0), sequence(der(2, modulus), der(2, exponent))),
    );
  /** A number of so many bits, all of them 1 but the second. */
  const odd = (bits: number) => {
    const bytes = new Uint8Array(Math.ceil(bits / 8)).fill(0xff);
    bytes[0] = 0xff >> (8 * bytes.length - bits);
    if (bits % 8 === 0) return Uint8Array.of(0, ...bytes);
    return bytes;
  };
  const leafOf = (spki: Uint8Array) => intermediate.leaf(undefined, { spki });

  test.each<[string, Uint8Array, Uint8Array, string]>([
    ["2048 bits, 65537", odd(2048), Uint8Array.of(1, 0, 1), ""],
    ["4096 bits, 3", odd(4096), Uint8Array.of(3), ""],
    ["2048 bits, 2^32 - 1", odd(2048), Uint8Array.of(0, 255, 255, 255, 255), ""],
    ["2047 bits", odd(2047), Uint8Array.of(3), "an RSA key has fewer than 2048 bits"],
    ["1024 bits", odd(1024), Uint8Array.of(3), "an RSA key has fewer than 2048 bits"],
    ["4097 bits", odd(4097), Uint8Array.of(3), "an RSA key has more than 4096 bits"],
    ["exponent 1", odd(2048), Uint8Array.of(1), "exponent"],
    ["exponent 2", odd(2048), Uint8Array.of(2), "exponent"],
    ["exponent 65536", odd(2048), Uint8Array.of(1, 0, 0), "exponent"],
    ["exponent 2^32 + 1", odd(2048), Uint8Array.of(1, 0, 0, 0, 1), "exponent"],
    ["exponent 0", odd(2048), Uint8Array.of(0), "not positive"],
    ["a negative exponent", odd(2048), Uint8Array.of(0x83), "not positive"],
    [
      "an even modulus",
      odd(2048).map((byte, i, all) => (i === all.length - 1 ? 0xfe : byte)),
      Uint8Array.of(3),
      "even",
    ],
    ["an exponent with a zero before it", odd(2048), Uint8Array.of(0, 3), "more bytes than it needs"],
  ])("a server's RSA key of %s", (_name, modulus, exponent, reason) => {
    const result = verify([leafOf(rsaSpki(modulus, exponent)), intermediateDer], [rootDer]);
    if (reason === "") expect(result.reason).toBe("");
    else expect(result.reason).toContain(reason);
  });

  const ecSpki = (point: Uint8Array, curve = "1.2.840.10045.3.1.7") =>
    sequence(sequence(oid("1.2.840.10045.2.1"), oid(curve)), der(3, Uint8Array.of(0), point));

  test.each<[string, (spki: Uint8Array) => Uint8Array, string]>([
    ["with a coordinate changed", (point) => point.map((byte, i) => (i === 64 ? byte ^ 1 : byte)), "not a point"],
    ["of zeros", (point) => point.map((_, i) => (i === 0 ? 4 : 0)), "not a point"],
    ["beyond the field", (point) => point.map((byte, i) => (i === 0 ? 4 : i <= 32 ? 255 : byte)), "not a point"],
    ["cut off", (point) => point.subarray(0, 64), "not a point"],
    ["at infinity", () => Uint8Array.of(0), "not a point"],
    ["compressed", (point) => Uint8Array.of(2, ...point.subarray(1, 33)), "compressed EC points are not supported"],
  ])("a server's EC point %s is rejected", (_name, change, reason) => {
    const point = makeKey().spki.subarray(-65);
    expect(verify([leafOf(ecSpki(point)), intermediateDer], [rootDer]).reason).toBe("");
    expect(verify([leafOf(ecSpki(change(point))), intermediateDer], [rootDer]).reason).toContain(reason);
  });

  test("a curve other than P-256 and P-384 is rejected", () => {
    const point = makeKey().spki.subarray(-65);
    expect(verify([leafOf(ecSpki(point, "1.3.132.0.10")), intermediateDer], [rootDer])).toMatchObject({
      reason: "a key is on an elliptic curve other than P-256 and P-384",
      alert: 43,
    });
  });
});

describe("pins", () => {
  const pin = nodePrimitives.hash("SHA256", [leafKey()]);

  function leafKey(): Uint8Array {
    let spki = new Uint8Array(0);
    const primitives = { ...nodePrimitives };
    const trust = { anchors: [rootDer], pins: [], acceptAnything: true, nowMs: () => NOW };
    spki = Uint8Array.from(verifyChain([leaf], HOST, trust, primitives).spki);
    return spki;
  }

  test("the server's key must match one of the pins", () => {
    const wrong = new Uint8Array(32);
    expect(verify([leaf, intermediateDer], [rootDer], { pins: [wrong, pin] }).reason).toBe("");
    expect(verify([leaf, intermediateDer], [rootDer], { pins: [wrong] }).reason).toBe(
      "its public key does not match any pin",
    );
  });

  test("a pinned key does not replace a valid chain", () => {
    expect(verify([leaf], [rootDer], { pins: [pin] }).reason).not.toBe("");
  });
});

describe("altered chains", () => {
  test.each<[string, Parameters<typeof makeKey>]>([
    ["ECDSA", ["P-256"]],
    ["RSA", [2048]],
  ])("a chain of %s with a modified or truncated byte is rejected, without other exceptions", (_name, key) => {
    const authority = new Authority("Root", makeKey(...key));
    const issuing = new Authority("Intermediate", makeKey(...key));
    const anchor = authority.root();
    const chain = [issuing.leaf(undefined, {}, makeKey()), authority.certify(issuing)];
    expect(verify(chain, [anchor]).reason).toBe("");
    let altered = 0;
    for (const [place, whole] of chain.entries()) {
      for (let at = 0; at < whole.length; at++) {
        const flipped = Uint8Array.from(whole);
        flipped[at] ^= 1 << (altered % 8);
        for (const bad of [flipped, whole.slice(0, at)]) {
          altered++;
          const { reason } = verify(
            chain.map((der, i) => (i === place ? bad : der)),
            [anchor],
          );
          if (reason === "" || reason.length > 200) throw new Error(`accepted: certificate ${place}, byte ${at}`);
        }
      }
    }
    expect(altered).toBeGreaterThan(1500);
  });
});

test("an exception of the primitives is not reported as a bad certificate", () => {
  const primitives = {
    ...nodePrimitives,
    ecdsaVerify() {
      throw new RangeError("out of memory");
    },
  };
  const trust = { anchors: [rootDer], pins: [], acceptAnything: false, nowMs: () => NOW };
  expect(() => verifyChain([leaf, intermediateDer], HOST, trust, primitives)).toThrow(RangeError);
});

test("serial numbers and object identifiers may have at most 20 bytes", () => {
  const serial = (length: number) => intermediate.leaf(undefined, { serial: integer(1, ...Array(length - 1).fill(1)) });
  expect(verify([serial(20), intermediateDer], [rootDer]).reason).toBe("");
  expect(verify([serial(21), intermediateDer], [rootDer]).reason).toMatch(/serial number is too long/);
});
