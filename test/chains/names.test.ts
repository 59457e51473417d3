/** Which names a certificate is for, which names are the same, and what name constraints permit. */

import { describe, expect, test } from "@jest/globals";
import { Certificate } from "../../host/moddable/tls/certificate.js";
import { DerFault } from "../../host/moddable/tls/der.js";
import {
  Comparisons,
  checkConstraints,
  checkSyntax,
  hostIdentity,
  isForHost,
  isSameName,
} from "../../host/moddable/tls/names.js";
import { Rejection } from "../../host/moddable/tls/rejection.js";
import {
  Authority,
  commonName,
  type Der,
  der,
  dnsName,
  extensions,
  ipAddress,
  oid,
  sequence,
  set,
  text,
} from "../support/x509.js";

const isFor = (host: string, ...names: Der[]) => isForHost(sequence(...names), hostIdentity(host));

describe("the host", () => {
  test.each<[string, string, boolean]>([
    ["gateway.test", "gateway.test", true],
    ["GateWay.TEST", "gateway.test", true],
    ["gateway.test", "GATEWAY.test", true],
    ["localhost", "localhost", true],
    ["gateway.test", "a.gateway.test", false],
    ["a.gateway.test", "gateway.test", false],
    ["gateway.test.", "gateway.test", false],
    [".gateway.test", "gateway.test", false],
    ["gateway..test", "gateway.test", false],
    ["", "gateway.test", false],
    ["*.gateway.test", "a.gateway.test", true],
    ["*.GATEWAY.test", "A.gateway.TEST", true],
    ["*.gateway.test", "gateway.test", false],
    ["*.gateway.test", "b.a.gateway.test", false],
    ["*.gateway.test", ".gateway.test", false],
    ["*.test", "gateway.test", false],
    ["*", "gateway", false],
    ["*.", "gateway.", false],
    ["*.*.test", "a.b.test", false],
    ["a.*.test", "a.b.test", false],
    ["g*.gateway.test", "g1.gateway.test", false],
    ["*g.gateway.test", "1g.gateway.test", false],
    ["**.gateway.test", "a.gateway.test", false],
    ["*a.gateway.test", "a.gateway.test", false],
    ["xn--*.gateway.test", "xn--a.gateway.test", false],
    ["xn--mnchen-3ya.test", "xn--mnchen-3ya.test", true],
    ["*.gateway.test", "xn--mnchen-3ya.gateway.test", true],
    ["foo_bar.test", "foo_bar.test", false],
    ["-a.test", "-a.test", false],
    ["a-.test", "a-.test", false],
    ["a-.test", "a.test", false],
    [`${"a".repeat(63)}.test`, `${"a".repeat(63)}.test`, true],
    [`${"a".repeat(64)}.test`, `${"a".repeat(64)}.test`, false],
    ["gateway.test\0.evil.test", "gateway.test", false],
    ["127.0.0.1", "127.0.0.1", false],
  ])("a certificate for %j and the host %j: %s", (pattern, host, fits) => {
    expect(isFor(host, dnsName(pattern))).toBe(fits);
    expect(isFor(host, dnsName("other.test"), dnsName(pattern), ipAddress(1, 2, 3, 4))).toBe(fits);
  });

  test("an IP address matches only iPAddress names", () => {
    expect(isFor("127.0.0.1", ipAddress(127, 0, 0, 1))).toBe(true);
    expect(isFor("127.0.0.2", ipAddress(127, 0, 0, 1))).toBe(false);
    expect(isFor("127.0.0.1", ipAddress(...Array(12).fill(0), 127, 0, 0, 1))).toBe(false);
    expect(isFor("1.2.3.256", ipAddress(1, 2, 3, 0))).toBe(false);
    expect(isFor("01.2.3.4", ipAddress(1, 2, 3, 4))).toBe(false);
  });

  test.each<[string, Der]>([
    ["no name at all", sequence()],
    ["bytes after the names", Uint8Array.from([...sequence(dnsName("gateway.test")), 5, 0])],
    ["a name beyond ASCII", sequence(dnsName("gateway.test"), dnsName("münchen.test"))],
    ["an address of five bytes", sequence(dnsName("gateway.test"), ipAddress(1, 2, 3, 4, 5))],
    ["a type of name that does not exist", sequence(dnsName("gateway.test"), der(0x89, text("x")))],
    ["an element that is not a name", sequence(dnsName("gateway.test"), der(0x30))],
    ["a name that goes beyond its list", sequence(dnsName("gateway.test"), Uint8Array.of(0x82, 9, 0x61))],
  ])("a subjectAltName with %s is malformed, even if one name matches", (_name, names) => {
    const read = () => {
      const found = isForHost(names, hostIdentity("gateway.test"));
      // What follows the list is for its reader to notice: here the extension's.
      return found;
    };
    if (_name === "bytes after the names") expect(read()).toBe(true);
    else expect(read).toThrow(DerFault);
  });
});

describe("distinguished names", () => {
  const attribute = (id: string, tag: number, value: string) => sequence(oid(id), der(tag, text(value)));
  const name = (...parts: Der[]) => Uint8Array.from(Buffer.concat(parts.map((part) => set(part))));
  const cn = (value: string, tag = 0x0c) => name(attribute("2.5.4.3", tag, value));
  const PRINTABLE = 0x13;
  const IA5 = 0x16;

  test.each<[string, Uint8Array, Uint8Array, boolean]>([
    ["equal bytes", cn("Root"), cn("Root"), true],
    ["letters of another case", cn("Root CA"), cn("ROOT ca"), true],
    ["a PrintableString and a UTF8String", cn("Root", PRINTABLE), cn("root"), true],
    ["white space before, between and after", cn("Root CA"), cn("  Root   CA "), true],
    ["white space where there is none", cn("RootCA"), cn("Root CA"), false],
    ["white space alone", cn(" "), cn("   "), true],
    ["another value", cn("Root A"), cn("Root B"), false],
    ["a value that goes on", cn("Root"), cn("Root A"), false],
    ["letters beyond ASCII in another case", cn("Ä"), cn("ä"), false],
    ["IA5Strings of another case", cn("Root", IA5), cn("root", IA5), false],
    ["the same IA5String", cn("Root", IA5), cn("Root", IA5), true],
    ["an IA5String and a UTF8String", cn("Root", IA5), cn("Root"), false],
    ["another attribute", cn("Root"), name(attribute("2.5.4.10", 0x0c, "Root")), false],
    ["an attribute more", cn("Root"), Uint8Array.from([...cn("Root"), ...cn("A")]), false],
    ["an attribute fewer", Uint8Array.from([...cn("Root"), ...cn("A")]), cn("Root"), false],
    [
      "attributes in another order",
      Uint8Array.from([...cn("A"), ...cn("B")]),
      Uint8Array.from([...cn("B"), ...cn("A")]),
      false,
    ],
    [
      "two attributes in one set, and in two",
      set(attribute("2.5.4.3", 0x0c, "A"), attribute("2.5.4.3", 0x0c, "B")),
      Uint8Array.from([...cn("a"), ...cn("b")]),
      false,
    ],
    ["nothing", new Uint8Array(0), cn("Root"), false],
    ["bytes that are not a name", Uint8Array.of(1, 2, 3), cn("Root"), false],
  ])("%s", (_name, a, b, equal) => {
    expect([isSameName(a, b), isSameName(b, a)]).toEqual([equal, equal]);
  });

  test("an issuer name matches regardless of case and spacing", () => {
    const authority = new Authority("Root  ca");
    const leaf = new Certificate(authority.leaf());
    const root = new Certificate(authority.root({ subject: commonName("ROOT CA", PRINTABLE) }));
    expect(isSameName(leaf.issuer, root.subject)).toBe(true);
  });
});

describe("name constraints", () => {
  const authority = new Authority("Root");
  const within = (names: Der[], permitted: Der[], excluded: Der[] = []) => {
    const leaf = new Certificate(authority.leaf(names));
    return applied(leaf, permitted, excluded);
  };
  function applied(certificate: Certificate, permitted: Der[], excluded: Der[]): boolean {
    const list = [extensions.basicConstraints(), extensions.nameConstraints(permitted, excluded)];
    const { nameConstraints } = new Certificate(authority.root({ extensions: list }));
    checkSyntax(nameConstraints as Uint8Array);
    try {
      checkConstraints(nameConstraints as Uint8Array, certificate, new Comparisons());
      return true;
    } catch (error) {
      expect(error).toBeInstanceOf(Rejection);
      return false;
    }
  }
  const rfc822Name = (value: string) => der(0x81, text(value));
  const uri = (value: string) => der(0x86, text(value));
  const directory = (...parts: Der[]) => der(0xa4, sequence(...parts));

  test.each<[string, string, boolean, boolean]>([
    ["gateway.test", "gateway.test", true, true],
    ["a.gateway.test", "gateway.test", true, true],
    ["A.GATEWAY.TEST", "gateway.test", true, true],
    ["xgateway.test", "gateway.test", false, false],
    ["test", "gateway.test", false, false],
    ["gateway.test", "", true, true],
    ["*.gateway.test", "gateway.test", true, true],
    ["*.gateway.test", "test", true, true],
    // A wildcard stands for names within and without: RUSTSEC-2026-0099, CVE-2025-61727.
    ["*.gateway.test", "a.gateway.test", false, true],
    ["*.gateway.test", "b.a.gateway.test", false, false],
    // No host name, so that nobody knows what it stands for.
    ["foo_bar.test", "gateway.test", false, true],
    [".gateway.test", "gateway.test", false, true],
    ["a.*.gateway.test", "gateway.test", false, true],
  ])("the name %j and the constraint %j: permitted %s, excluded %s", (name, base, permitted, excluded) => {
    expect(within([dnsName(name)], [dnsName(base)])).toBe(permitted);
    expect(within([dnsName(name)], [], [dnsName(base)])).toBe(!excluded);
  });

  test("every name must be permitted, and none excluded", () => {
    const [a, b] = [dnsName("a.test"), dnsName("b.test")];
    expect(within([a, b], [a])).toBe(false);
    expect(within([a, b], [a, b])).toBe(true);
    expect(within([a, b], [a, b], [b])).toBe(false);
  });

  test("constraints of one type do not apply to names of another", () => {
    expect(within([dnsName("gateway.test")], [ipAddress(10, 0, 0, 0, 255, 0, 0, 0)])).toBe(true);
    expect(within([ipAddress(10, 0, 0, 1)], [dnsName("gateway.test")])).toBe(true);
    expect(within([dnsName("gateway.test")], [rfc822Name("test")], [uri("x.test")])).toBe(true);
  });

  test.each<[number[], boolean]>([
    [[10, 1, 2, 3], true],
    [[10, 2, 0, 0], false],
    [[11, 1, 2, 3], false],
    [[...Array(12).fill(0), 10, 1, 2, 3], false],
  ])("the address %j and the constraint 10.1.0.0/16: %s", (address, inside) => {
    const network = ipAddress(10, 1, 0, 0, 255, 255, 0, 0);
    expect(within([ipAddress(...address)], [network])).toBe(inside);
    expect(within([ipAddress(...address)], [], [network])).toBe(!inside);
  });

  test("IPv6 networks are enforced, and 0.0.0.0/0 applies to all IPv4 addresses", () => {
    const network = ipAddress(...[0xfd, ...Array(15).fill(0)], ...[0xff, ...Array(15).fill(0)]);
    expect(within([ipAddress(0xfd, ...Array(15).fill(1))], [network])).toBe(true);
    expect(within([ipAddress(0xfe, ...Array(15).fill(1))], [network])).toBe(false);
    expect(within([ipAddress(9, 9, 9, 9)], [], [ipAddress(...Array(8).fill(0))])).toBe(false);
  });

  test.each([
    ["rfc822Name", rfc822Name("a@gateway.test"), rfc822Name("gateway.test")],
    ["uniformResourceIdentifier", uri("https://gateway.test/"), uri("gateway.test")],
    ["otherName", der(0xa0, oid("1.2.3"), der(0xa0, der(0x0c, text("x")))), der(0xa0, oid("1.2.4"), der(0xa0))],
    ["registeredID", der(0x88, Uint8Array.of(42)), der(0x88, Uint8Array.of(42))],
  ])("a name of a constrained but unsupported type is rejected: %s", (_name, name, base) => {
    expect(within([dnsName("gateway.test"), name], [base])).toBe(false);
    expect(within([dnsName("gateway.test"), name], [], [base])).toBe(false);
    expect(within([dnsName("gateway.test"), name], [dnsName("gateway.test")])).toBe(true);
  });

  test("subject and directory names must begin with the base of a constraint", () => {
    const organization = (value: string) => set(sequence(oid("2.5.4.10"), der(0x0c, text(value))));
    const unit = set(sequence(oid("2.5.4.11"), der(0x0c, text("Unit"))));
    const leafOf = (subject: Der, ...names: Der[]) =>
      new Certificate(authority.leaf([dnsName("gateway.test"), ...names], { subject }));
    const [base, other] = [directory(organization("acme")), directory(organization("Other"))];
    const acme = leafOf(sequence(organization("ACME"), unit));
    expect([applied(acme, [base], []), applied(acme, [], [base])]).toEqual([true, false]);
    expect([applied(acme, [other], []), applied(acme, [], [other])]).toEqual([false, true]);
    const short = leafOf(sequence(organization("ACME")));
    expect(applied(short, [directory(organization("ACME"), unit)], [])).toBe(false);
    const second = leafOf(sequence(organization("ACME")), other);
    expect(applied(second, [base], [])).toBe(false);
  });

  test.each<[string, Der]>([
    ["empty", sequence()],
    ["an empty list", sequence(der(0xa0))],
    ["lists in the wrong order", sequence(der(0xa1, sequence(dnsName("a"))), der(0xa0, sequence(dnsName("a"))))],
    ["a list twice", sequence(der(0xa0, sequence(dnsName("a"))), der(0xa0, sequence(dnsName("a"))))],
    ["a dot in front", sequence(der(0xa0, sequence(dnsName(".gateway.test"))))],
    ["a wildcard", sequence(der(0xa0, sequence(dnsName("*.gateway.test"))))],
    ["a network without a mask", sequence(der(0xa0, sequence(ipAddress(10, 0, 0, 0))))],
    ["a mask with a gap", sequence(der(0xa0, sequence(ipAddress(10, 0, 0, 0, 255, 0, 255, 0))))],
    ["a mask with a gap in a byte", sequence(der(0xa0, sequence(ipAddress(10, 0, 0, 0, 0xf5, 0, 0, 0))))],
    ["a minimum", sequence(der(0xa0, sequence(dnsName("a"), der(0x80, Uint8Array.of(0)))))],
    ["a maximum", sequence(der(0xa0, sequence(dnsName("a"), der(0x81, Uint8Array.of(1)))))],
    ["a type that does not exist", sequence(der(0xa0, sequence(der(0x8f, text("a")))))],
    ["a directory name with something after it", sequence(der(0xa0, sequence(der(0xa4, sequence(), sequence()))))],
  ])("%s: malformed", (_name, constraints) => {
    expect(() => checkSyntax(constraints)).toThrow(DerFault);
  });

  test.each([0x80, 0xc0, 0xe0, 0xf0, 0xf8, 0xfc, 0xfe, 0xff, 0x00])("a mask of %d is one", (byte) => {
    expect(() => checkSyntax(sequence(der(0xa0, sequence(ipAddress(10, 0, 0, 0, byte, 0, 0, 0)))))).not.toThrow();
  });
});
