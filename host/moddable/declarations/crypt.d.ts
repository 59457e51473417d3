/** What this host uses of the SDK's `crypt`; the SDK's own typings declare it, npm's do not. */

declare module "crypt" {
  export class Digest {
    constructor(type: "SHA256" | "SHA384" | "SHA512");
    write(bytes: ArrayBufferLike | Uint8Array): void;
    close(): ArrayBuffer;
    reset(): void;
  }
}
