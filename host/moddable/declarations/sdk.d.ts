/** What this host uses of the Moddable SDK 8 and no published typings declare. */

interface ArrayBufferConstructor {
  fromBigInt(value: bigint, minBytes?: number): ArrayBuffer;
}

declare module "rsa" {
  /** RSA by CRT if p and q are given. */
  export default class RSA {
    constructor(exponent: bigint, modulus: bigint, p?: bigint, q?: bigint, dP?: bigint, dQ?: bigint, qInv?: bigint);
    process(number: bigint): bigint;
  }
}

declare module "rng" {
  const RNG: {
    get(bytes: number): ArrayBuffer;
    /** Starts the generator anew from a seed. */
    init(seed: ArrayBuffer): void;
  };
  export default RNG;
}
