/** Keys of the devices in the tests. Certificates come from the local gateway's `makeCertificates`. */

import { generateKeyPairSync, type KeyObject } from "node:crypto";

export const psk = "lDZ6Uqt+I9E0wW7rvDUs7Q==";
export const productSecret = "hzvf5LF9S0isvBhDSauWMaIk";

export interface RsaKeys {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** PKCS#8 in PEM. */
  readonly privatePem: string;
  /** SubjectPublicKeyInfo in PEM. */
  readonly publicPem: string;
}

/** Generates a new key pair of 2048 bits, which takes up to a second. */
export function makeRsaKeys(): RsaKeys {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return {
    privateKey,
    publicKey,
    privatePem: privateKey.export({ format: "pem", type: "pkcs8" }) as string,
    publicPem: publicKey.export({ format: "pem", type: "spki" }) as string,
  };
}
