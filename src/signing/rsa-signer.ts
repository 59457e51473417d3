/** Signs with the private key of a device certificate: RSASSA-PKCS1-v1_5 with SHA-256. */

import { base64 } from "../crypto/base64.js";
import { hex } from "../crypto/hex.js";
import { readRsaPrivateKey } from "../crypto/key.js";
import { fault, RsaSigner } from "../crypto/rsa.js";
import { sha256 } from "../crypto/sha256.js";
import { utf8 } from "../crypto/utf8.js";
import type { NativeRsa } from "../host.js";
import { closed, PreparedSigner } from "./hmac-signer.js";
import type { SignerOptions } from "./signer.js";
import type { Algorithm } from "./string-to-sign.js";

export class KeySigner extends PreparedSigner {
  readonly algorithm: Algorithm = "rsa-sha256";
  readonly #rsa: RsaSigner;
  readonly #native: NativeRsa | undefined;
  readonly #sha256: (bytes: Uint8Array) => Uint8Array;
  #der: Uint8Array | undefined;

  constructor(privateKey: string | Uint8Array, { digest, rsa, random }: SignerOptions) {
    super();
    const key = readRsaPrivateKey(privateKey);
    this.#rsa = new RsaSigner(key, random);
    this.#native = rsa;
    this.#der = key.der;
    this.#sha256 = digest ? (bytes) => digest.sha256(bytes) : sha256;
  }

  hashBody(body: Uint8Array): string {
    return hex(this.#sha256(body));
  }

  sign(text: string): string {
    if (this.#der === undefined) throw closed();
    const message = utf8(text);
    const hash = this.#sha256(message);
    if (this.#native === undefined) return base64(this.#rsa.sign(hash));
    const signature = this.#native.sign(this.#der, message);
    if (!this.#rsa.verify(hash, signature)) throw fault();
    return base64(signature);
  }

  close(): void {
    this.#rsa.close();
    // Not overwritten: the bytes may belong to the caller.
    this.#der = undefined;
  }
}
