/** Trust anchors that come with the library: DER resources, read from flash where they lie. */

import Resource from "Resource";

function read(names: readonly string[]): Uint8Array[] {
  return names.map((name) => new Uint8Array(new Resource(`iothub-${name}.der`) as unknown as ArrayBuffer));
}

/** DigiCert Global Root G2 and the four roots of TrustAsia: what a chain of the public gateway may end in. */
export function defaultAnchors(): Uint8Array[] {
  return read(["digicert-g2", "trustasia-g3", "trustasia-g4", "trustasia-tls-rsa", "trustasia-tls-ecc"]);
}

/**
 * DigiCert Global Root CA, of 2006. Browsers have ceased to trust it in April 2026; give it beside
 * {@link defaultAnchors} if `openssl s_client` shows that a gateway's chain still ends in it.
 */
export function digicertGlobalRootCA(): Uint8Array[] {
  return read(["digicert-g1"]);
}
