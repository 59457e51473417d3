/** Where the verdict on a chain differs from the one expected, and why; and the chains that are judged. */

import { verifyChain } from "../../host/moddable/tls/chain.js";
import { Rejection } from "../../host/moddable/tls/rejection.js";
import type { SignaturePrimitives } from "../../host/moddable/tls/verify.js";
import type { ChainCase } from "./cases.js";

const OPTION = "the number of issuers is not an option of this library; the chain itself is valid";
const IDENTIFIER =
  "RFC 5280 obliges the authority to include key identifiers, not the client to insist (section 6 does not look at them); private authorities leave them out";
const WEBPKI = "a rule of the CA/Browser Forum for public authorities, which private ones need not follow";
const COMMON_NAME = "the common name is never looked at (RFC 9525 section 6.3)";
const MANY = "it takes 36 certificates, of which a device reads ten";

/** By suite and id. Each must be needed: a test fails for one that no longer is. */
export const exceptions: Readonly<Record<string, string>> = {
  "limbo pathlen::max-chain-depth-0-exhausted": OPTION,
  "limbo pathlen::max-chain-depth-1-exhausted": OPTION,
  "limbo rfc5280::aki::leaf-missing-aki": IDENTIFIER,
  "limbo rfc5280::aki::intermediate-missing-aki": IDENTIFIER,
  "limbo rfc5280::aki::cross-signed-root-missing-aki": IDENTIFIER,
  "limbo rfc5280::ski::root-missing-ski": IDENTIFIER,
  "limbo rfc5280::ski::intermediate-missing-ski": IDENTIFIER,
  "limbo rfc5280::nc::permitted-dns-match-noncritical":
    "applied like critical ones; webpki::nc::permitted-dns-match-noncritical expects the opposite of the same chain",
  "limbo rfc5280::nc::permitted-ipv6-match": "needs IPv6, which the sockets of the SDK do not know",
  "limbo rfc5280::nc::permitted-dn-match": "names no host, so there is nothing that the certificate could be for",
  "limbo rfc5280::serial::zero": "RFC 5280 section 4.1.2.2: clients should handle such serial numbers gracefully",
  "limbo rfc5280::root-non-critical-basic-constraints":
    "an anchor's extensions need not be critical, since it is trusted explicitly; old public roots have such extensions",
  "limbo webpki::aki::root-with-aki-missing-keyidentifier": WEBPKI,
  "limbo webpki::aki::root-with-aki-authoritycertissuer": WEBPKI,
  "limbo webpki::aki::root-with-aki-authoritycertserialnumber": WEBPKI,
  "limbo webpki::aki::root-with-aki-all-fields": WEBPKI,
  "limbo webpki::aki::root-with-aki-ski-mismatch": WEBPKI,
  "limbo webpki::cn::ipv4-hex-mismatch": COMMON_NAME,
  "limbo webpki::cn::ipv4-leading-zeros-mismatch": COMMON_NAME,
  "limbo webpki::cn::punycode-not-in-san": COMMON_NAME,
  "limbo webpki::cn::utf8-vs-punycode-mismatch": COMMON_NAME,
  "limbo webpki::cn::not-in-san": COMMON_NAME,
  "limbo webpki::cn::case-mismatch": COMMON_NAME,
  "limbo webpki::eku::ee-anyeku": WEBPKI,
  "limbo webpki::eku::ee-critical-eku": WEBPKI,
  "limbo webpki::eku::ee-without-eku": WEBPKI,
  "limbo webpki::eku::root-has-eku": WEBPKI,
  "limbo webpki::san::public-suffix-multi-label-wildcard-san": "there is no list of public suffixes on a device",
  "limbo webpki::san::public-suffix-private-namespace-wildcard-san": "there is no list of public suffixes on a device",
  "limbo webpki::san::san-critical-with-nonempty-subject": WEBPKI,
  "limbo webpki::malformed-aia": "an extension that is not critical and not used is not read",
  "limbo webpki::forbidden-rsa-not-divisible-by-8-in-root": WEBPKI,
  "limbo webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf": WEBPKI,
  "limbo webpki::ee-basicconstraints-ca": WEBPKI,
  "limbo webpki::ca-as-leaf": WEBPKI,
  ...Object.fromEntries([61, 62, 63, 64, 65, 66, 67, 68].map((id) => [`pathbuilding ${id}`, MANY])),
};

export const nameOf = ({ suite, id }: ChainCase): string => `${suite} ${id}`;

/** The verdict that this library is to give. */
export const isToBeAccepted = (each: ChainCase): boolean => each.accepted !== Object.hasOwn(exceptions, nameOf(each));

/**
 * @returns "" or why the chain was refused
 * @throws whatever is no {@link Rejection}
 */
export function judge(each: ChainCase, primitives: SignaturePrimitives): string {
  const { chain, anchors, host, nowMs } = each;
  try {
    verifyChain(chain, host, { anchors, pins: [], acceptAnything: false, nowMs: () => nowMs }, primitives);
    return "";
  } catch (error) {
    if (error instanceof Rejection) return error.message;
    throw error;
  }
}
