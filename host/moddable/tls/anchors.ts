/** Bundled trust anchors: DER resources, used directly from flash. */

import Resource from "Resource";

function read(names: readonly string[]): Uint8Array[] {
  return names.map((name) => new Uint8Array(new Resource(`iothub-${name}.der`) as unknown as ArrayBuffer));
}

/** Returns the roots of the public gateway: DigiCert Global Root G2 and four roots of TrustAsia. */
export function defaultAnchors(): Uint8Array[] {
  return read(["digicert-g2", "trustasia-g3", "trustasia-g4", "trustasia-tls-rsa", "trustasia-tls-ecc"]);
}

/**
 * Returns DigiCert Global Root CA (2006), which browsers no longer trust since April 2026. Use it in addition to {@link
 * defaultAnchors} if `openssl s_client` shows that the gateway's chain still ends in it.
 */
export function digicertGlobalRootCA(): Uint8Array[] {
  return read(["digicert-g1"]);
}
