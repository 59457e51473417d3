import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, X509Certificate } from "node:crypto";
import { BlockList, isIP } from "node:net";
import { AsnConvert } from "@peculiar/asn1-schema";
import { Certificate, id_ce_nameConstraints, NameConstraints } from "@peculiar/asn1-x509";
import { build, type CertificateSet, finish, toPem } from "./certificates.js";
import { GatewayError } from "./errors.js";

/** A CA that a gateway keeps over restarts, so that boards are flashed with its certificate once. */
export interface Authority {
  /** PEM (PKCS#8). Anyone who has it can pretend to be any of the permitted names and addresses. */
  readonly key: string;
  /** The CA's certificate, PEM and DER. */
  readonly certificate: string;
  readonly der: Buffer;
}

/**
 * Names that the CA may always issue, each with the names below it: they cannot be registered, or only on a local
 * network (RFC 2606, RFC 6761, RFC 6762, RFC 8375, and ICANN's resolution 2024.07.29.06 for `internal`).
 */
export const localNames: readonly string[] = Object.freeze([
  "localhost",
  "local",
  "lan",
  "internal",
  "home.arpa",
  "test",
]);

/**
 * Addresses that the CA may issue, and that the gateway listens on: loopback, private (RFC 1918, RFC 4193), link-local,
 * and shared address space (RFC 6598), which VPNs use.
 */
export const privateNetworks: readonly string[] = Object.freeze([
  "127.0.0.0/8",
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "169.254.0.0/16",
  "100.64.0.0/10",
  "::1/128",
  "fc00::/7",
  "fe80::/10",
]);

const networks = new BlockList();
for (const network of privateNetworks) {
  const [address, prefix] = network.split("/");
  networks.addSubnet(address, Number(prefix), isIP(address) === 6 ? "ipv6" : "ipv4");
}

/** Whether an IP address is in one of {@link privateNetworks}. */
export function isPrivateAddress(address: string): boolean {
  const version = isIP(address);
  return version !== 0 && networks.check(address, version === 6 ? "ipv6" : "ipv4");
}

const day = 86_400_000;
const caDays = 3650;
const leafDays = 365;
/** Clocks of boards and of the gateway may differ, also in their time zone. */
const startsBeforeMs = day;

/** A DNS name in ASCII, in lower case, without wildcard. */
export function isHostName(name: string): boolean {
  return name.length <= 253 && /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/.test(name);
}

/**
 * Creates a CA with an ECDSA P-256 key, valid for ten years. Its certificate is constrained (RFC 5280 section 4.2.1.10)
 * to {@link localNames}, the given names, and {@link privateNetworks}, so that nobody can use it against other hosts.
 *
 * @param names DNS names to be permitted in addition
 * @throws {GatewayError} INVALID_OPTION
 */
export function makeAuthority(names: readonly string[], nowMs: number): Authority {
  for (const name of names) checkName(name);
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  // Another name for each CA, so that a board that has another one reports that it does not know this one.
  const issuer = { name: `Local IoT Hub gateway CA ${randomBytes(4).toString("hex")}`, key: privateKey };
  const der = build({
    subject: issuer.name,
    publicKey: privateKey,
    issuer,
    notBefore: nowMs - startsBeforeMs,
    notAfter: nowMs + caDays * day,
    ca: { pathLength: 0 },
    permitted: { names: [...new Set([...localNames, ...names])], networks: privateNetworks },
  });
  return {
    key: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
    certificate: toPem(der),
    der,
  };
}

/**
 * Reads a CA from the PEM of its key and its certificate, one after the other.
 *
 * @throws {Error} with a clause as its message, if the key or certificate is not that of a CA or they do not belong
 * together
 */
export function readAuthority(pem: string): Authority {
  const [key, certificate] = ["PRIVATE KEY", "CERTIFICATE"].map((label) => {
    const block = new RegExp(`-----BEGIN ${label}-----[^-]+-----END ${label}-----\n`).exec(pem)?.[0];
    if (block === undefined) throw new Error(`it has no ${label.toLowerCase()} in PEM`);
    return block;
  });
  let privateKey: KeyObject;
  let parsed: X509Certificate;
  try {
    privateKey = createPrivateKey(key);
  } catch {
    throw new Error("its private key cannot be read");
  }
  try {
    parsed = new X509Certificate(certificate);
  } catch {
    throw new Error("its certificate cannot be read");
  }
  if (!parsed.ca) throw new Error("its certificate is not that of a CA");
  if (!parsed.checkPrivateKey(privateKey)) throw new Error("its key does not match its certificate");
  return { key, certificate: parsed.toString(), der: parsed.raw };
}

/**
 * Issues a server's certificate with a new key, valid for a year.
 *
 * @param hosts DNS names and IP addresses
 * @throws {GatewayError} INVALID_OPTION if the CA has expired, or may not issue one of the names
 */
export function issueCertificate(authority: Authority, hosts: readonly string[], nowMs: number): CertificateSet {
  const ca = new X509Certificate(authority.certificate);
  const expiresMs = Date.parse(ca.validTo);
  if (nowMs > expiresMs) {
    throw new GatewayError("INVALID_OPTION", `The CA expired on ${new Date(expiresMs).toISOString().slice(0, 10)}.`);
  }
  const permitted = permittedNames(authority);
  for (const host of hosts) {
    if (isIP(host) !== 0) {
      if (isPrivateAddress(host)) continue;
      throw new GatewayError("INVALID_OPTION", `${host} is a public address, for which the CA may not issue.`);
    }
    checkName(host);
    if (!permitted.some((name) => host === name || host.endsWith(`.${name}`))) {
      throw new GatewayError(
        "INVALID_OPTION",
        `The CA may not issue for ${host}, only for ${permitted.join(", ")} and names below them.`,
      );
    }
  }
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const leaf = build({
    // Not a host name: OpenSSL would apply the constraints to a common name that looks like one.
    subject: "Local IoT Hub gateway",
    publicKey: privateKey,
    issuer: { name: ca.subject.replace(/^CN=/, ""), key: createPrivateKey(authority.key) },
    notBefore: nowMs - startsBeforeMs,
    notAfter: Math.min(nowMs + leafDays * day, expiresMs),
    names: hosts,
    leaf: true,
  });
  return finish("local", privateKey, [leaf], authority.der, hosts);
}

function checkName(name: string): void {
  if (isHostName(name)) return;
  throw new GatewayError("INVALID_OPTION", `${JSON.stringify(name.slice(0, 80))} is not a DNS name in lower case.`);
}

/** Returns the DNS names that the CA's certificate permits. */
function permittedNames({ der }: Authority): string[] {
  const { tbsCertificate } = AsnConvert.parse(der, Certificate);
  const extension = tbsCertificate.extensions?.find(({ extnID }) => extnID === id_ce_nameConstraints);
  if (extension === undefined) return [];
  const { permittedSubtrees = [] } = AsnConvert.parse(extension.extnValue.buffer, NameConstraints);
  return permittedSubtrees.flatMap(({ base }) => (base.dNSName === undefined ? [] : [base.dNSName]));
}
