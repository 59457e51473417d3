import { createPrivateKey, X509Certificate } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "@jest/globals";
import { bundledAnchors, judgeChain } from "../../host/anchors/index.js";
import { issueCertificate, makeAuthority } from "../../tools/gateway/authority.js";
import { build, type CertificateKind, certificateKinds, makeCertificates } from "../../tools/gateway/certificates.js";
import { nodePrimitives as primitives } from "../support/node-primitives.js";

const folder = fileURLToPath(new URL("../../host/moddable/anchors", import.meta.url));
const nowMs = Date.now();

describe("the bundled anchors", () => {
  const anchors = bundledAnchors();

  test("are the resources of boards, byte for byte", () => {
    const files = readdirSync(folder).map((name) => readFileSync(`${folder}/${name}`).toString("hex"));
    expect(anchors.map(({ der }) => Buffer.from(der).toString("hex")).sort()).toEqual(files.sort());
  });

  test("are those that boards trust by default, except for the old root", () => {
    expect(anchors.filter(({ isDefault }) => !isDefault).map(({ name }) => name)).toEqual(["DigiCert Global Root CA"]);
    const source = readFileSync(`${folder}/../tls/anchors.ts`, "utf8");
    const [byDefault] = [...(/read\(\[([^\]]+)\]\)/.exec(source) as string[])].slice(1);
    const ders = byDefault.split(", ").map((name) => readFileSync(`${folder}/iothub-${JSON.parse(name)}.der`));
    expect(anchors.filter(({ isDefault }) => isDefault).map(({ der }) => Buffer.from(der))).toEqual(ders);
  });

  test("have the names and dates that Node reads in them", () => {
    for (const { name, der, notBeforeMs, notAfterMs } of anchors) {
      const { subject, validFrom, validTo } = new X509Certificate(der);
      expect(subject.split("\n").at(-1)).toBe(`CN=${name}`);
      expect([notBeforeMs, notAfterMs]).toEqual([Date.parse(validFrom), Date.parse(validTo)]);
    }
  });
});

describe("the judgement of a chain", () => {
  const valid: readonly CertificateKind[] = ["chain", "direct", "rootVersion1", "wildcard", "ipName"];

  test.each(Object.keys(certificateKinds) as CertificateKind[])("of %s is that of a board", (kind) => {
    const set = makeCertificates(kind, { nowMs });
    const host = kind === "ipName" ? "127.0.0.1" : set.hosts[0];
    const judgement = judgeChain(set.chainDer, host, { anchors: [set.rootDer], nowMs, primitives });
    expect(judgement.accepted).toBe(valid.includes(kind));
    if (judgement.accepted) {
      expect(judgement.notAfterMs).toBe(Date.parse(new X509Certificate(set.chainDer[0]).validTo));
    } else {
      expect(judgement.reason).toMatch(/^[a-z][^\n]+[^.]$/);
      expect([42, 43, 45, 48]).toContain(judgement.alert);
    }
  });

  test("takes the default anchors unless others are given", () => {
    const { chainDer } = makeCertificates("chain", { nowMs });
    expect(judgeChain(chainDer, "localhost", { nowMs, primitives })).toEqual({
      accepted: false,
      reason: "there is no path to a trust anchor",
      alert: 48,
    });
  });

  test.each([
    [["localhost", "127.0.0.1", "192.168.1.5", "desk.example.com", "pc.local"], "localhost", true],
    [["localhost", "192.168.1.5"], "192.168.1.5", true],
    [["localhost", "example.com"], "localhost", false],
    [["localhost", "172.32.0.1"], "localhost", false],
    [["localhost", "2001:db8::1"], "localhost", false],
    [["localhost", "evillocal"], "localhost", false],
  ])("applies the constraints of the local gateway's CA: %j for %s is accepted: %s", (names, host, accepted) => {
    const authority = makeAuthority(["desk.example.com"], nowMs);
    const key = createPrivateKey(authority.key);
    const issuer = { name: new X509Certificate(authority.der).subject.replace(/^CN=/, ""), key };
    const leaf = build({
      ...{ subject: "leaf", publicKey: key, issuer, names, leaf: true },
      ...{ notBefore: nowMs - 1000, notAfter: nowMs + 1000 },
    });
    const judgement = judgeChain([leaf], host, { anchors: [authority.der], nowMs, primitives });
    expect(judgement).toEqual(
      accepted
        ? { accepted: true, notAfterMs: Math.floor((nowMs + 1000) / 1000) * 1000 }
        : {
            accepted: false,
            reason: "the name constraints of an issuer do not permit one of its names",
            alert: 42,
          },
    );
  });

  test("tells a board with the CA of another gateway that it does not know this one", () => {
    const [ours, other] = [makeAuthority([], nowMs), makeAuthority([], nowMs)];
    const { chainDer } = issueCertificate(ours, ["localhost"], nowMs);
    expect(judgeChain(chainDer, "localhost", { anchors: [other.der], nowMs, primitives })).toMatchObject({
      reason: "there is no path to a trust anchor",
      alert: 48,
    });
  });
});
