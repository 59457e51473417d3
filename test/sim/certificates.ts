/** Chains and handshakes: which of them a client accepts, and what it says of the others. */
import type { CertificateKind, Fault, HttpsOptions, KeyType } from "../../tools/gateway/index.js";
import type { Expectations, Session } from "./session.js";

export interface CertificateCase {
  readonly kind: CertificateKind;
  readonly title?: string;
  /** Hostname. @default localhost */
  readonly name?: string;
  readonly keyType?: KeyType | { readonly root?: KeyType; readonly intermediate?: KeyType; readonly leaf?: KeyType };
  readonly https?: Partial<HttpsOptions>;
  readonly allowStaticRsaAndCbc?: boolean;
  readonly fault?: Fault;
  readonly accepted?: boolean;
  /** Part of the message. */
  readonly reason: string;
  readonly code?: string;
}

const good = (kind: CertificateKind, more: Partial<CertificateCase> = {}): CertificateCase => ({
  kind,
  accepted: true,
  reason: "",
  ...more,
});
const bad = (kind: CertificateKind, reason: string, more: Partial<CertificateCase> = {}): CertificateCase => ({
  kind,
  reason,
  ...more,
});

export const certificateCases: readonly CertificateCase[] = [
  good("chain"),
  good("chain", { title: "chain, RSA", keyType: "rsa" }),
  good("chain", { title: "chain, RSA issuers and ECDSA leaf", keyType: { root: "rsa", intermediate: "rsa" } }),
  good("chain", { title: "chain, P-384 root", keyType: { root: "ecdsa-p384" } }),
  bad("chain", "handshake_failure", {
    title: "chain, P-384 leaf, which the SDK does not offer",
    keyType: "ecdsa-p384",
    code: "TLS_FAILED",
  }),
  good("direct"),
  good("direct", { title: "direct, RSA", keyType: "rsa" }),
  good("rootVersion1"),
  good("wildcard", { name: "device.gateway.test" }),
  good("ipName", { name: "127.0.0.1" }),
  bad("chain", "elliptic curve other than P-256 and P-384", {
    title: "chain, P-521 root",
    keyType: { root: "ecdsa-p521" },
  }),
  bad("expired", "expired on"),
  bad("notYetValid", "not valid before"),
  bad("wrongName", "not for the name"),
  bad("noName", "not for the name"),
  bad("unknownRoot", "not signed by the issuer"),
  bad("selfSigned", "self-signed"),
  bad("forgedLeaf", "not signed by the issuer"),
  bad("forgedLeaf", "not signed by the issuer", { title: "forgedLeaf, RSA", keyType: "rsa" }),
  bad("issuerNotCa", "not a certification authority"),
  bad("issuerWithoutConstraints", "not a certification authority"),
  bad("expiredInChain", "expired on"),
  bad("expiredIntermediate", "expired on"),
  bad("sha1Link", "SHA-256"),
  bad("sha1Link", "SHA-256", { title: "sha1Link, RSA", keyType: "rsa" }),
  bad("pathTooLong", "path length constraint exceeded"),
  bad("issuerKeyUsage", "not meant to sign certificates"),
  bad("leafKeyUsage", "not meant for this key exchange", {
    title: "leafKeyUsage, RSA key exchange",
    keyType: "rsa",
    https: { ciphers: "AES128-SHA256" },
    allowStaticRsaAndCbc: true,
  }),
  bad("leafKeyUsage", "handshake_failure", { title: "leafKeyUsage, refused by the server", code: "TLS_FAILED" }),
  bad("clientOnly", "not meant for servers"),
  bad("unknownCritical", "extension that is not understood"),
  bad("incomplete", "no path to a trust anchor"),
  bad("wildcardTooWide", "not for the name", { name: "gateway.test" }),
  bad("wildcardPartial", "not for the name", { name: "device.gateway.test" }),
  bad("wildcardTwoLabels", "not for the name", { name: "device.gateway.test" }),
  bad("chain", "not signed by the certificate's key", {
    title: "chain, key exchange damaged, RSA",
    keyType: "rsa",
    fault: { kind: "tls-key-exchange" },
    code: "TLS_FAILED",
  }),
  bad("chain", "", { title: "chain, key exchange damaged", fault: { kind: "tls-key-exchange" }, code: "TLS_FAILED" }),
];

export async function certificates(session: Session, expect: Expectations, each: CertificateCase): Promise<string> {
  const { kind, name = "localhost", keyType, accepted, reason, code = "CERTIFICATE_REJECTED", https } = each;
  const { allowStaticRsaAndCbc } = each;
  const gateway = await session.gateway({
    https: { certificates: kind, certificateOptions: { keyType }, ...https },
  });
  if (each.fault) gateway.faults.next(each.fault);
  const addresses = { [name]: "127.0.0.1" };
  await session.device(gateway, { addresses, allowStaticRsaAndCbc }, { name });
  const [outcome] = await session.publish(["a"]);
  if (accepted) {
    expect.equal(outcome.code, undefined, "error");
    expect.equal(gateway.counts.accepted, 1, "accepted by the gateway");
    return `accepted in ${outcome.timing?.tlsMs} ms`;
  }
  expect.equal([outcome.code, outcome.phase], [code, "tls"], "error");
  expect.ok(outcome.message?.includes(reason), `message: ${outcome.message}`);
  expect.equal(gateway.counts.requests, 0, "requests that the gateway saw");
  expect.equal(gateway.counts.tlsHandshakes, 0, "handshakes that were completed");
  return `${outcome.code}: ${outcome.message}; the server saw ${gateway.tlsErrors.map((error) => error.code).join(", ") || "nothing"}`;
}
