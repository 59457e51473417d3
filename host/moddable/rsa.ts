import RSA from "rsa";
import { readRsaPrivateKey } from "../../src/crypto/key.js";
import { IotHubError } from "../../src/errors.js";
import type { NativeDigest, NativeRsa } from "../../src/host.js";
import { encodePkcs1 } from "./pkcs1.js";

/** RSA of the SDK, which TLS includes anyway: CRT with native big integers. */
export class SdkRsa implements NativeRsa {
  readonly #digest: NativeDigest;

  constructor(digest: NativeDigest) {
    this.#digest = digest;
  }

  sign(privateKey: Uint8Array, message: Uint8Array): Uint8Array {
    const { n, d, p, q, dP, dQ, qInv, bytes } = readRsaPrivateKey(privateKey);
    if (!dP || !dQ || !qInv) throw new IotHubError("KEY_INCONSISTENT", "The private key lacks its CRT parameters.");
    const encoded = encodePkcs1(this.#digest.sha256(message), bytes);
    const signature = new RSA(d, n, p, q, dP, dQ, qInv).process(BigInt.fromArrayBuffer(encoded.buffer) as bigint);
    return new Uint8Array(ArrayBuffer.fromBigInt(signature, bytes));
  }
}
