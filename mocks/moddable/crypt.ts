/** `crypt`: the SDK's digests in native code. */

import { createHash, type Hash } from "node:crypto";

const names: Readonly<Record<string, string>> = {
  MD5: "md5",
  SHA1: "sha1",
  SHA256: "sha256",
  SHA384: "sha384",
  SHA512: "sha512",
};

export class Digest {
  /** Set by a test to see whether a wrong digest is noticed. */
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

  close(): ArrayBuffer {
    const bytes = Uint8Array.from(this.#hash.digest());
    if (Digest.broken) bytes[7] ^= 1;
    return bytes.buffer;
  }

  reset(): void {
    this.#hash = createHash(this.#name);
  }
}

export default { Digest };
