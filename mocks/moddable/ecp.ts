/** `ecp`: a point of an elliptic curve. */
export default class ECPoint {
  readonly #identity: boolean;

  constructor(
    readonly X: bigint,
    readonly Y: bigint,
    identity = false,
  ) {
    this.#identity = identity;
  }

  isZero(): boolean {
    return this.#identity;
  }

  /** Parses the uncompressed form. */
  static fromOctetString(bytes: Uint8Array): ECPoint {
    const half = (bytes.length - 1) / 2;
    const number = (start: number) => BigInt(`0x${Buffer.from(bytes.subarray(start, start + half)).toString("hex")}`);
    return new ECPoint(number(1), number(1 + half));
  }
}
