/** `crypt`: the SDK's digests in native code. */

import { createDecipheriv, createHash, type Hash } from "node:crypto";

const names: Readonly<Record<string, string>> = {
  MD5: "md5",
  SHA1: "sha1",
  SHA256: "sha256",
  SHA384: "sha384",
  SHA512: "sha512",
};

export class Digest {
  /** Set by tests to return wrong digests. */
  static broken = false;
  readonly #name: string;
  #hash: Hash;

  constructor(type: string) {
    if (!Object.hasOwn(names, type)) throw new Error("crypt: unsupported digest");
    this.#name = names[type];
    this.#hash = createHash(this.#name);
  }

  write(data: string | ArrayBufferLike | Uint8Array): void {
    this.#hash.update(typeof data === "string" ? data : new Uint8Array(data as ArrayBuffer));
  }

  /** @param more whether more input follows */
  close(more = false): ArrayBuffer {
    const bytes = Uint8Array.from((more ? this.#hash.copy() : this.#hash).digest());
    if (Digest.broken) bytes[7] ^= 1;
    return bytes.buffer;
  }

  reset(): void {
    this.#hash = createHash(this.#name);
  }
}

export class BlockCipher {
  readonly key: Uint8Array;

  constructor(cipher: string, key: ArrayBuffer) {
    if (cipher !== "AES" || !(key instanceof ArrayBuffer)) throw new Error("crypt: unsupported cipher");
    this.key = new Uint8Array(key);
  }
}

export class Mode {
  readonly #cipher: BlockCipher;
  readonly #iv: Uint8Array;

  constructor(mode: string, cipher: BlockCipher, iv: ArrayBuffer) {
    if (mode !== "CBC" || !(iv instanceof ArrayBuffer)) throw new Error("crypt: unsupported mode");
    this.#cipher = cipher;
    this.#iv = new Uint8Array(iv);
  }

  decrypt(data: ArrayBuffer): ArrayBuffer {
    const { key } = this.#cipher;
    const decipher = createDecipheriv(`aes-${key.length * 8}-cbc`, key, this.#iv).setAutoPadding(false);
    const bytes = Buffer.concat([decipher.update(new Uint8Array(data)), decipher.final()]);
    return Uint8Array.from(bytes).buffer;
  }
}

export default { BlockCipher, Digest, Mode };
