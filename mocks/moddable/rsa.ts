/** `rsa`: RSA with big integers, using the Chinese remainder theorem if p and q are known. */

export default class RSA {
  /** Set by tests to return wrong results. */
  static broken = false;
  readonly #process: (number: bigint) => bigint;

  constructor(exponent: bigint, modulus: bigint, p?: bigint, q?: bigint, dP?: bigint, dQ?: bigint, qInv?: bigint) {
    this.#process = (number) => {
      if (p === undefined || q === undefined || dP === undefined || dQ === undefined || qInv === undefined) {
        return power(number, exponent, modulus);
      }
      const low = power(number, dQ, q);
      const high = ((((power(number, dP, p) - low) * qInv) % p) + p) % p;
      return low + high * q;
    };
  }

  process(number: bigint): bigint {
    return this.#process(number) ^ (RSA.broken ? 2n : 0n);
  }
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  let square = base % modulus;
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}
