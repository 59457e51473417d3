import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from "node:crypto";
import { isIP } from "node:net";
import { AsnConvert, OctetString } from "@peculiar/asn1-schema";
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  ExtendedKeyUsage,
  Extension,
  Extensions,
  GeneralName,
  GeneralSubtree,
  GeneralSubtrees,
  KeyIdentifier,
  KeyUsage,
  KeyUsageFlags,
  Name,
  NameConstraints,
  RelativeDistinguishedName,
  SubjectAlternativeName,
  SubjectKeyIdentifier,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from "@peculiar/asn1-x509";
import { GatewayError } from "./errors.js";

/** Kinds of certificate chains. The first group is valid, the second must be rejected by a correct client. */
export const certificateKinds = {
  chain: "root, intermediate, leaf",
  direct: "a leaf directly under the root",
  rootVersion1: "a leaf under an old root: X.509 version 1, so without a CA flag",
  wildcard: "the first label of the host is a wildcard, *.gateway.test",
  ipName: "only IP addresses in subjectAltName",

  expired: "the leaf under the root has expired",
  notYetValid: "the leaf under the root is valid from tomorrow",
  wrongName: "the leaf is for another host",
  noName: "no subjectAltName; the host is only in the common name",
  unknownRoot: "issued by another root with the same name as the trusted one",
  selfSigned: "the leaf is self-signed",
  forgedLeaf: "the intermediate is genuine, but the leaf was signed with another key",
  issuerNotCa: "the intermediate is not a CA",
  issuerWithoutConstraints: "the intermediate has no basicConstraints at all",
  expiredInChain: "the leaf under the intermediate has expired",
  expiredIntermediate: "the intermediate has expired",
  sha1Link: "the intermediate signed the leaf with SHA-1",
  pathTooLong: "the root allows no intermediate (pathLenConstraint 0), yet there are two",
  issuerKeyUsage: "the intermediate's key usage does not allow signing certificates",
  leafKeyUsage: "the leaf's key usage does not allow signing a key exchange",
  clientOnly: "the leaf is meant for clients only (extended key usage)",
  unknownCritical: "the leaf has an unknown critical extension",
  incomplete: "the intermediate is not sent",
  wildcardTooWide: "a wildcard with a single label after it, *.test",
  wildcardPartial: "a wildcard that is part of a label, dev*.gateway.test",
  wildcardTwoLabels: "a wildcard that would have to match two labels",
} as const;

export type CertificateKind = keyof typeof certificateKinds;

/** `ecdsa` is P-256 unless another curve is named. */
export type KeyType = "ecdsa" | "rsa" | "ecdsa-p384" | "ecdsa-p521";

export interface CertificateOptions {
  /** DNS names and IP addresses of the leaf. @default `localhost` and `127.0.0.1` */
  readonly hosts?: readonly string[];
  /** Type of all keys in the chain, or of each; RSA keys have 2048 bits. @default ecdsa */
  readonly keyType?: KeyType | { readonly root?: KeyType; readonly intermediate?: KeyType; readonly leaf?: KeyType };
  /** Time around which certificates are valid, in milliseconds since 1970. @default now */
  readonly nowMs?: number;
}

/** A server's certificate chain, with the root that clients must trust. */
export interface CertificateSet {
  readonly kind: CertificateKind | "client" | "local";
  /** The leaf's private key, PEM (PKCS#8). */
  readonly key: string;
  /** Chain that the server sends: leaf first, PEM. */
  readonly chain: string;
  readonly chainDer: readonly Buffer[];
  /** The trust anchor, PEM and DER. */
  readonly root: string;
  readonly rootDer: Buffer;
  readonly hosts: readonly string[];
  /** Pin of the leaf: SHA-256 of its SubjectPublicKeyInfo, in hex. */
  readonly publicKeySha256: string;
}

const day = 86_400_000;

/**
 * Creates a certificate chain, for tests only. Takes a few milliseconds with ECDSA and a few hundred with RSA, whose
 * keys are cached until the process ends.
 * @throws {GatewayError} INVALID_OPTION if the kind is unknown
 */
export function makeCertificates(kind: CertificateKind, options: CertificateOptions = {}): CertificateSet {
  if (!Object.hasOwn(certificateKinds, kind)) {
    throw new GatewayError("INVALID_OPTION", `Unknown kind of certificates: ${JSON.stringify(kind)}.`);
  }
  const nowMs = options.nowMs ?? Date.now();
  const types = typeof options.keyType === "object" ? options.keyType : undefined;
  const type = (level: "root" | "intermediate" | "leaf"): KeyType =>
    types ? (types[level] ?? "ecdsa") : ((options.keyType as KeyType | undefined) ?? "ecdsa");
  const hosts = options.hosts ?? (kind.startsWith("wildcard") ? ["device.gateway.test"] : ["localhost", "127.0.0.1"]);
  const valid = { notBefore: nowMs - day, notAfter: nowMs + 365 * day };
  const past = { notBefore: nowMs - 30 * day, notAfter: nowMs - day };

  const root: Issuer = { name: "Gateway Mock Root", key: keyOf(type("root"), "root") };
  const trusted = build({
    subject: root.name,
    publicKey: root.key,
    issuer: root,
    notBefore: nowMs - 365 * day,
    notAfter: nowMs + 3650 * day,
    version1: kind === "rootVersion1",
    ca: kind === "pathTooLong" ? { pathLength: 0 } : {},
  });

  const leafKey = keyOf(type("leaf"), "leaf");
  const leafOf = (issuer: Issuer, more: Partial<Blueprint> = {}): Buffer =>
    build({
      subject: hosts[0],
      publicKey: leafKey,
      issuer,
      ...valid,
      names: namesFor(kind, hosts),
      leaf: true,
      ...more,
    });

  const intermediate: Issuer = { name: "Gateway Mock Intermediate", key: keyOf(type("intermediate"), "intermediate") };
  const intermediateOf = (issuer: Issuer, more: Partial<Blueprint> = {}): Buffer =>
    build({
      subject: intermediate.name,
      publicKey: intermediate.key,
      issuer,
      notBefore: nowMs - 100 * day,
      notAfter: nowMs + 1000 * day,
      ca: { pathLength: 0 },
      ...more,
    });
  const stranger = (level: "root" | "intermediate"): KeyObject => keyOf(type(level), `other ${level}`);

  const chains: Record<CertificateKind, () => Buffer[]> = {
    chain: () => [leafOf(intermediate), intermediateOf(root)],
    direct: () => [leafOf(root)],
    rootVersion1: () => [leafOf(root)],
    wildcard: () => [leafOf(intermediate), intermediateOf(root)],
    ipName: () => [leafOf(root)],
    expired: () => [leafOf(root, past)],
    notYetValid: () => [leafOf(root, { notBefore: nowMs + day, notAfter: nowMs + 365 * day })],
    wrongName: () => [leafOf(intermediate), intermediateOf(root)],
    noName: () => [leafOf(intermediate), intermediateOf(root)],
    unknownRoot: () => {
      const other = { name: root.name, key: stranger("root") };
      return [leafOf(intermediate), intermediateOf(other)];
    },
    selfSigned: () => [leafOf({ name: hosts[0], key: leafKey })],
    forgedLeaf: () => [
      leafOf({ name: intermediate.name, key: stranger("intermediate"), claimedKey: intermediate.key }),
      intermediateOf(root),
    ],
    issuerNotCa: () => [leafOf(intermediate), intermediateOf(root, { ca: { not: true } })],
    issuerWithoutConstraints: () => [leafOf(intermediate), intermediateOf(root, { ca: undefined })],
    expiredInChain: () => [leafOf(intermediate, past), intermediateOf(root)],
    expiredIntermediate: () => [leafOf(intermediate), intermediateOf(root, past)],
    sha1Link: () => [leafOf(intermediate, { hash: "sha1" }), intermediateOf(root)],
    pathTooLong: () => {
      const upper = { name: "Gateway Mock Upper Intermediate", key: stranger("intermediate") };
      return [
        leafOf(intermediate),
        intermediateOf(upper),
        intermediateOf(root, { subject: upper.name, publicKey: upper.key, ca: { pathLength: 1 } }),
      ];
    },
    issuerKeyUsage: () => [leafOf(intermediate), intermediateOf(root, { keyUsage: KeyUsageFlags.cRLSign })],
    leafKeyUsage: () => [leafOf(root, { keyUsage: KeyUsageFlags.cRLSign })],
    clientOnly: () => [leafOf(root, { purpose: "client" })],
    unknownCritical: () => [leafOf(root, { unknownCritical: true })],
    incomplete: () => [leafOf(intermediate)],
    wildcardTooWide: () => [leafOf(root)],
    wildcardPartial: () => [leafOf(root)],
    wildcardTwoLabels: () => [leafOf(root)],
  };
  return finish(kind, leafKey, chains[kind](), trusted, hosts);
}

export interface ClientCertificateOptions {
  /** Common name. */
  readonly name?: string;
  readonly keyType?: KeyType;
  readonly nowMs?: number;
}

/** Creates a client certificate (mutual TLS); `root` is the CA that a server must request. */
export function makeClientCertificate(options: ClientCertificateOptions = {}): CertificateSet {
  const { name = "device", keyType = "ecdsa", nowMs = Date.now() } = options;
  const ca: Issuer = { name: "Gateway Mock Client CA", key: keyOf(keyType, "client root") };
  const trusted = build({
    subject: ca.name,
    publicKey: ca.key,
    issuer: ca,
    notBefore: nowMs - 365 * day,
    notAfter: nowMs + 3650 * day,
    ca: {},
  });
  const key = keyOf(keyType, "client");
  const leaf = build({
    subject: name,
    publicKey: key,
    issuer: ca,
    notBefore: nowMs - day,
    notAfter: nowMs + 365 * day,
    leaf: true,
    purpose: "client",
  });
  return finish("client", key, [leaf], trusted, []);
}

/** Creates a device certificate with a new RSA key, as issued by a registration. */
export function makeDeviceCertificate(name: string, nowMs: number): CertificateSet {
  const ca: Issuer = { name: "Gateway Mock Device CA", key: keyOf("ecdsa", "device root") };
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const dates = { notBefore: nowMs - day, notAfter: nowMs + 3650 * day };
  const trusted = build({ subject: ca.name, publicKey: ca.key, issuer: ca, ...dates, ca: {} });
  const leaf = build({
    subject: name.slice(0, 64),
    publicKey: privateKey,
    issuer: ca,
    ...dates,
    leaf: true,
    purpose: "client",
  });
  return finish("client", privateKey, [leaf], trusted, []);
}

export interface Issuer {
  readonly name: string;
  /** Signing key. */
  readonly key: KeyObject;
  /** Key of the authorityKeyIdentifier, if it is not the signing key. */
  readonly claimedKey?: KeyObject;
}

export interface Blueprint {
  readonly subject: string;
  /** The subject's key; only its public half is used. */
  readonly publicKey: KeyObject;
  readonly issuer: Issuer;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly hash?: "sha256" | "sha1";
  readonly version1?: boolean;
  /** basicConstraints of an issuer; `not` sets the CA flag to false. */
  readonly ca?: { readonly pathLength?: number; readonly not?: boolean };
  readonly leaf?: boolean;
  readonly names?: readonly string[];
  readonly keyUsage?: number;
  readonly purpose?: "server" | "client";
  readonly unknownCritical?: boolean;
  /** Permitted subtrees of the name constraints: DNS names, and networks such as `10.0.0.0/8`. */
  readonly permitted?: { readonly names: readonly string[]; readonly networks: readonly string[] };
}

const oid = {
  commonName: "2.5.4.3",
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  nameConstraints: "2.5.29.30",
  authorityKeyIdentifier: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
  // From the range for documentation of RFC 5612.
  unknown: "1.3.6.1.4.1.32473.1",
  rsa: { sha256: "1.2.840.113549.1.1.11", sha1: "1.2.840.113549.1.1.5" },
  ec: { sha256: "1.2.840.10045.4.3.2", sha1: "1.2.840.10045.4.1" },
} as const;

const derNull = new Uint8Array([5, 0]).buffer;

/** Builds one certificate in DER. */
export function build(plan: Blueprint): Buffer {
  const { issuer, hash = "sha256" } = plan;
  const isRsa = issuer.key.asymmetricKeyType === "rsa";
  const signature = new AlgorithmIdentifier({
    algorithm: (isRsa ? oid.rsa : oid.ec)[hash],
    ...(isRsa ? { parameters: derNull } : {}),
  });
  const serialNumber = randomBytes(12);
  // Positive and minimal, as DER requires of an integer.
  serialNumber[0] = (serialNumber[0] & 0x7f) | 0x40;
  const tbs = new TBSCertificate({
    version: plan.version1 ? Version.v1 : Version.v3,
    serialNumber: bytes(serialNumber),
    signature,
    issuer: nameOf(issuer.name),
    validity: new Validity({ notBefore: new Date(plan.notBefore), notAfter: new Date(plan.notAfter) }),
    subject: nameOf(plan.subject),
    subjectPublicKeyInfo: AsnConvert.parse(spki(plan.publicKey), SubjectPublicKeyInfo),
  });
  if (!plan.version1) tbs.extensions = new Extensions(extensionsOf(plan));
  const signed = AsnConvert.serialize(tbs);
  const certificate = new Certificate({
    tbsCertificate: tbs,
    signatureAlgorithm: signature,
    signatureValue: bytes(sign(hash, Buffer.from(signed), issuer.key)),
  });
  return Buffer.from(AsnConvert.serialize(certificate));
}

function extensionsOf(plan: Blueprint): Extension[] {
  const list: Extension[] = [];
  const add = (extnID: string, critical: boolean, value: object | ArrayBuffer): void => {
    const der = value instanceof ArrayBuffer ? value : AsnConvert.serialize(value);
    list.push(new Extension({ extnID, critical, extnValue: new OctetString(der) }));
  };
  if (plan.ca !== undefined) {
    const { pathLength, not } = plan.ca;
    add(
      oid.basicConstraints,
      true,
      not
        ? new BasicConstraints({ cA: false })
        : new BasicConstraints({ cA: true, ...(pathLength === undefined ? {} : { pathLenConstraint: pathLength }) }),
    );
  }
  if (plan.leaf) add(oid.basicConstraints, true, new BasicConstraints({ cA: false }));
  const usual = plan.leaf
    ? KeyUsageFlags.digitalSignature | (plan.publicKey.asymmetricKeyType === "rsa" ? KeyUsageFlags.keyEncipherment : 0)
    : KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign;
  add(oid.keyUsage, true, new KeyUsage(plan.keyUsage ?? usual));
  if (plan.leaf) {
    const purpose = plan.purpose === "client" ? oid.clientAuth : oid.serverAuth;
    add(oid.extendedKeyUsage, false, new ExtendedKeyUsage([purpose]));
  }
  if (plan.names !== undefined && plan.names.length > 0) {
    const names = plan.names.map((name) =>
      isIP(name) ? new GeneralName({ iPAddress: name }) : new GeneralName({ dNSName: name }),
    );
    add(oid.subjectAltName, false, new SubjectAlternativeName(names));
  }
  add(oid.subjectKeyIdentifier, false, new SubjectKeyIdentifier(keyIdentifier(plan.publicKey)));
  const issuerKey = plan.issuer.claimedKey ?? plan.issuer.key;
  add(
    oid.authorityKeyIdentifier,
    false,
    new AuthorityKeyIdentifier({ keyIdentifier: new KeyIdentifier(keyIdentifier(issuerKey)) }),
  );
  if (plan.permitted !== undefined) {
    const { names, networks } = plan.permitted;
    const bases = [
      ...names.map((dNSName) => new GeneralName({ dNSName })),
      ...networks.map((iPAddress) => new GeneralName({ iPAddress })),
    ];
    const permittedSubtrees = new GeneralSubtrees(bases.map((base) => new GeneralSubtree({ base })));
    add(oid.nameConstraints, true, new NameConstraints({ permittedSubtrees }));
  }
  if (plan.unknownCritical) add(oid.unknown, true, derNull);
  return list;
}

/** Returns the subjectAltName for a kind. */
function namesFor(kind: CertificateKind, hosts: readonly string[]): readonly string[] {
  const host = hosts.find((name) => !isIP(name)) ?? "device.gateway.test";
  const labels = host.split(".");
  switch (kind) {
    case "noName":
      return [];
    case "wrongName":
      return ["another.gateway.test"];
    case "ipName":
      return hosts.some((name) => isIP(name)) ? hosts.filter((name) => isIP(name)) : ["127.0.0.1"];
    case "wildcard":
      return [`*.${labels.slice(1).join(".")}`];
    case "wildcardTooWide":
      return [`*.${labels[labels.length - 1]}`];
    case "wildcardPartial":
      return [`${labels[0].slice(0, 3)}*.${labels.slice(1).join(".")}`];
    case "wildcardTwoLabels":
      return [`*.${labels.slice(2).join(".")}`];
    default:
      return hosts;
  }
}

function nameOf(commonName: string): Name {
  const value = new AttributeValue({ utf8String: commonName });
  return new Name([new RelativeDistinguishedName([new AttributeTypeAndValue({ type: oid.commonName, value })])]);
}

function spki(key: KeyObject): ArrayBuffer {
  const publicKey = key.type === "public" ? key : createPublicKey(key);
  return bytes(publicKey.export({ type: "spki", format: "der" }));
}

function keyIdentifier(key: KeyObject): ArrayBuffer {
  return bytes(
    createHash("sha1")
      .update(Buffer.from(spki(key)))
      .digest(),
  );
}

function bytes(buffer: Buffer): ArrayBuffer {
  return new Uint8Array(buffer).buffer;
}

export function finish(
  kind: CertificateSet["kind"],
  key: KeyObject,
  chainDer: readonly Buffer[],
  rootDer: Buffer,
  hosts: readonly string[],
): CertificateSet {
  return {
    kind,
    key: key.export({ type: "pkcs8", format: "pem" }) as string,
    chain: chainDer.map(toPem).join(""),
    chainDer,
    root: toPem(rootDer),
    rootDer,
    hosts,
    publicKeySha256: createHash("sha256")
      .update(Buffer.from(spki(key)))
      .digest("hex"),
  };
}

export function toPem(der: Buffer): string {
  return new X509Certificate(der).toString();
}

const keys = new Map<string, KeyObject>();

function keyOf(type: KeyType, role: string): KeyObject {
  const id = `${type} ${role}`;
  let key = keys.get(id);
  if (key === undefined) {
    key =
      type === "rsa"
        ? generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey
        : generateKeyPairSync("ec", { namedCurve: curves[type] }).privateKey;
    keys.set(id, key);
  }
  return key;
}

const curves = { ecdsa: "P-256", "ecdsa-p384": "P-384", "ecdsa-p521": "P-521" } as const;
