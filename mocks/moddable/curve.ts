/** `curve`: the SDK's elliptic curves and their arithmetic. SEC 2, sections 2.4.2 and 2.5.1. */

import ECPoint from "./ecp.js";

interface Parameters {
  readonly p: bigint;
  readonly x: bigint;
  readonly y: bigint;
  readonly n: bigint;
}

const curves: Readonly<Record<string, Parameters>> = {
  secp256r1: {
    p: 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn,
    x: 0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n,
    y: 0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5n,
    n: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  },
  secp384r1: {
    p: 0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffffn,
    x: 0xaa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7n,
    y: 0x3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5fn,
    n: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  },
};

/** Jacobian coordinates; z is 0 at infinity. */
type Jacobian = readonly [bigint, bigint, bigint];

export default class Curve {
  readonly name: string;
  readonly p: bigint;
  readonly n: bigint;
  readonly orderSize: number;
  readonly G: ECPoint;
  readonly ec = {
    mul: (P: ECPoint, k: bigint) => this.#combine(P, k, P, 0n),
    mul2: (P: ECPoint, k: bigint, Q: ECPoint, l: bigint) => this.#combine(P, k, Q, l),
  };

  constructor(name: string) {
    const parameters = curves[name];
    if (!parameters) throw new Error("unsupported curve");
    const { p, n, x, y } = parameters;
    this.name = name;
    this.p = p;
    this.n = n;
    this.orderSize = n.toString(16).length / 2;
    this.G = new ECPoint(x, y);
  }

  /** Returns k·P + l·Q, from the highest bit on. */
  #combine(P: ECPoint, k: bigint, Q: ECPoint, l: bigint): ECPoint {
    const [first, second]: Jacobian[] = [
      [P.X, P.Y, 1n],
      [Q.X, Q.Y, 1n],
    ];
    let sum: Jacobian = [1n, 1n, 0n];
    for (let bit = BigInt(8 * this.orderSize); bit >= 0n; bit--) {
      sum = this.#double(sum);
      if ((k >> bit) & 1n) sum = this.#add(sum, first);
      if ((l >> bit) & 1n) sum = this.#add(sum, second);
    }
    const [x, y, z] = sum;
    const inverted = inverse(z, this.p);
    const square = mod(inverted * inverted, this.p);
    return new ECPoint(mod(x * square, this.p), mod(y * square * inverted, this.p), z === 0n);
  }

  /** Doubles a point of a curve with a = -3. */
  #double([x, y, z]: Jacobian): Jacobian {
    const { p } = this;
    if (z === 0n || y === 0n) return [1n, 1n, 0n];
    const yy = mod(y * y, p);
    const s = mod(4n * x * yy, p);
    const zz = mod(z * z, p);
    const m = mod(3n * (x - zz) * (x + zz), p);
    const x3 = mod(m * m - 2n * s, p);
    return [x3, mod(m * (s - x3) - 8n * yy * yy, p), mod(2n * y * z, p)];
  }

  #add(a: Jacobian, b: Jacobian): Jacobian {
    const { p } = this;
    if (a[2] === 0n) return b;
    if (b[2] === 0n) return a;
    const za = mod(a[2] * a[2], p);
    const zb = mod(b[2] * b[2], p);
    const u = mod(a[0] * zb, p);
    const s = mod(a[1] * zb * b[2], p);
    const h = mod(b[0] * za - u, p);
    const r = mod(b[1] * za * a[2] - s, p);
    if (h === 0n) return r === 0n ? this.#double(a) : [1n, 1n, 0n];
    const hh = mod(h * h, p);
    const hhh = mod(h * hh, p);
    const x3 = mod(r * r - hhh - 2n * u * hh, p);
    return [x3, mod(r * (u * hh - x3) - s * hhh, p), mod(h * a[2] * b[2], p)];
  }
}

function mod(a: bigint, m: bigint): bigint {
  const rest = a % m;
  return rest < 0n ? rest + m : rest;
}

/** Returns the inverse modulo m; 0 for 0, since the SDK checks nothing either. */
export function inverse(a: bigint, m: bigint): bigint {
  let [r0, r1] = [m, mod(a, m)];
  let [t0, t1] = [0n, 1n];
  if (r1 === 0n) return 0n;
  while (r1 !== 0n) {
    const q = r0 / r1;
    [r0, r1] = [r1, r0 - q * r1];
    [t0, t1] = [t1, t0 - q * t1];
  }
  return mod(t0, m);
}
