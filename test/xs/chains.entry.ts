/** The check of chains without its arithmetic: signatures are taken for good, which costs no heap and little stack. */

import { encodePkcs1 } from "../../host/moddable/pkcs1.js";
import { verifyChain } from "../../host/moddable/tls/chain.js";
import type { HashName } from "../../host/moddable/tls/verify.js";
import { bigIntOf } from "../../src/crypto/big-int.js";

declare function print(text: string): void;

const DIGESTS: Record<HashName, readonly [bytes: number, info: string]> = {
  SHA256: [32, "3031300d060960864801650304020105000420"],
  SHA384: [48, "3041300d060960864801650304020205000430"],
  SHA512: [64, "3051300d060960864801650304020305000440"],
};

export function bytes(hex: string): Uint8Array {
  const list = new Uint8Array(hex.length / 2);
  for (let i = 0; i < list.length; i++) list[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return list;
}

export function verify(sent: Uint8Array[], anchors: Uint8Array[], host: string, nowMs: number): void {
  let hash: HashName = "SHA256";
  const primitives = {
    hash(name: HashName) {
      hash = name;
      return new Uint8Array(DIGESTS[name][0]);
    },
    rsaPublic(modulus: Uint8Array) {
      const [length, info] = DIGESTS[hash];
      return bigIntOf(encodePkcs1(new Uint8Array(length), modulus.length, info));
    },
    ecdsaVerify: () => true,
  };
  try {
    verifyChain(sent, host, { anchors, pins: [], acceptAnything: false, nowMs: () => nowMs }, primitives);
    print("accepted");
  } catch (error) {
    print((error as Error).message);
  }
}
