/** What this host uses of the SDK's `crypt`; the SDK's own typings declare it, npm's do not. */

declare module "crypt" {
  export class Digest {
    constructor(type: "SHA256" | "SHA384" | "SHA512");
    /** Takes typed arrays, too, in spite of its declaration. */
    write(bytes: ArrayBuffer): void;
    close(): ArrayBuffer;
    reset(): void;
  }
}
