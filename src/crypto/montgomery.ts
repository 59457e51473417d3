/**
 * Arithmetic modulo an odd number without division (P. L. Montgomery, "Modular multiplication without trial division",
 * Mathematics of Computation 44, 1985). The Montgomery form of a number a is a·R mod n.
 *
 * On XS the cost of a product depends on the length of its factors, and everything else is cheap. So the low bits of a
 * product T are eliminated in three steps of 2w, w and w + 32 bits. The first two steps use multiples of n that are -1
 * modulo 2^2w and 2^w: with n·k = -1 (mod 2^w), (T + (T mod 2^w)·n·k) / 2^w equals (T >> w) + (T mod 2^w)·((n·k + 1) >>
 * w), which is one product instead of the textbook's two. The last step uses the textbook form, since only it makes the
 * result as short as n.
 */

/** Window size: bits of the exponent that are processed at once. */
const WINDOW = 5;

export class Montgomery {
  readonly modulus: bigint;
  /** Length in bits of the longest modulus that these steps can reduce. */
  readonly bits: number;
  /** 1 in Montgomery form, which is R mod n. */
  readonly #one: bigint;
  readonly #rSquared: bigint;
  readonly #parts: {
    readonly w1: bigint;
    readonly mask1: bigint;
    readonly factor1: bigint;
    readonly w2: bigint;
    readonly mask2: bigint;
    readonly factor2: bigint;
    readonly w3: bigint;
    readonly mask3: bigint;
    readonly inverse3: bigint;
  };

  /** @param n odd, at least 3 */
  constructor(n: bigint) {
    let w = 32n;
    while (n >> (4n * w) > 0n) w += 32n;
    const [w1, w2, w3] = [2n * w, w, w + 32n];
    // -1/n modulo 2^w1 by Newton's iteration; n itself is right to three bits.
    let inverse = n;
    for (let bits = 3; bits < Number(w1); bits *= 2) inverse = BigInt.asUintN(2 * bits, inverse * (2n - n * inverse));
    const k = (width: bigint) => BigInt.asUintN(Number(width), -inverse);
    this.modulus = n;
    this.bits = Number(4n * w);
    this.#parts = {
      w1,
      mask1: (1n << w1) - 1n,
      factor1: (n * k(w1) + 1n) >> w1,
      w2,
      mask2: (1n << w2) - 1n,
      factor2: (n * k(w2) + 1n) >> w2,
      w3,
      mask3: (1n << w3) - 1n,
      inverse3: k(w3),
    };
    // R = 2^(4w + 32) exceeds 4n, so that factors below 2n have a product that is below 2n again.
    this.#one = (1n << (w1 + w2 + w3)) % n;
    this.#rSquared = this.#one ** 2n % n;
  }

  /** Multiplies two numbers in Montgomery form, both below 2n. The result is a·b/R mod n, or that plus n. */
  multiply(a: bigint, b: bigint): bigint {
    const { w1, mask1, factor1, w2, mask2, factor2, w3, mask3, inverse3 } = this.#parts;
    let t = a * b;
    t = (t >> w1) + (t & mask1) * factor1;
    t = (t >> w2) + (t & mask2) * factor2;
    return (t + (((t & mask3) * inverse3) & mask3) * this.modulus) >> w3;
  }

  /** Converts a number below 2n to Montgomery form. */
  enter(a: bigint): bigint {
    return this.multiply(a, this.#rSquared);
  }

  /** Reduces a product to below n. */
  rest(a: bigint): bigint {
    return a < this.modulus ? a : a - this.modulus;
  }

  /**
   * Returns base^exponent mod n. The sequence of operations does not depend on the exponent's bits, but the engine's
   * BigInt operations are not all constant-time.
   * @param base below 2n
   * @param bits maximum length of the exponent in bits
   */
  power(base: bigint, exponent: bigint, bits: number): bigint {
    const { w1, mask1, factor1, w2, mask2, factor2, w3, mask3, inverse3 } = this.#parts;
    const n = this.modulus;
    const table = [this.#one, this.enter(base)];
    for (let i = 2; i < 1 << WINDOW; i++) {
      table.push(i & 1 ? this.multiply(table[i - 1], table[1]) : this.multiply(table[i >> 1], table[i >> 1]));
    }
    const digit = (window: number) => Number((exponent >> BigInt(WINDOW * window)) & BigInt((1 << WINDOW) - 1));
    let window = Math.ceil(bits / WINDOW) - 1;
    let x = table[digit(window)];
    let t = x;
    while (window-- > 0) {
      const factor = table[digit(window)];
      for (let i = 0; i <= WINDOW; i++) {
        // This is `multiply`. XS squares faster by `**` than by `*`.
        t = i < WINDOW ? x ** 2n : x * factor;
        t = (t >> w1) + (t & mask1) * factor1;
        t = (t >> w2) + (t & mask2) * factor2;
        x = (t + (((t & mask3) * inverse3) & mask3) * n) >> w3;
      }
    }
    return this.rest(this.multiply(x, 1n));
  }

  /** Returns base^exponent mod n for a public exponent, bit by bit. */
  publicPower(base: bigint, exponent: bigint): bigint {
    const factor = this.enter(base);
    let x = factor;
    let bit = 0n;
    while (exponent >> (bit + 1n) > 0n) bit++;
    while (bit-- > 0n) {
      x = this.multiply(x, x);
      if ((exponent >> bit) & 1n) x = this.multiply(x, factor);
    }
    return this.rest(this.multiply(x, 1n));
  }
}
