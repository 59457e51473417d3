/**
 * Writes src/crypto/sha256-block.ts: the compression function of SHA-256 (FIPS 180-4 section 6.2.2), unrolled.
 * Run `node scripts/unroll-sha256.mjs` after a change here; a test compares the file with this script's output.
 *
 * XS interprets bytecode and keeps integers of 32 bits, so a program is fast there that has few operations on local
 * variables and whose sums seldom leave 32 bits, for then they become floating point, at fifteen times the cost:
 * - A word is never moved: the variables change their names from round to round.
 * - A value is assigned where it is first used: that saves pushing it again.
 * - `>>>` makes a floating-point number of a negative word. One masked `>>` serves all shifts of a word to the right.
 * - Sums are added in pairs and cut to 32 bits once. Where a constant is large, its highest bit is added by the
 *   exclusive or that cuts: what is left of the constant makes the sum leave 32 bits less often.
 */

import { realpathSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const primes = [];
for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);

/** The first 32 bits of the fractional part of the n-th prime's cube root, section 4.2.2, in integer arithmetic. */
function constant(t) {
  const scaled = BigInt(primes[t]) << 96n;
  let root = 0n;
  for (let bit = 1n << 35n; bit; bit >>= 1n) if ((root | bit) ** 3n <= scaled) root |= bit;
  return Number(BigInt.asIntN(32, root));
}

const TOP = -0x80000000;
const mask = (n) => `0x${(2 ** (32 - n) - 1).toString(16)}`;
/** x >>> n */
const shift = (x, n) => `(${x} >> ${n}) & ${mask(n)}`;

/** ROTR^a(x) ^ ROTR^b(x) ^ ROTR^c(x); a is the least. `first` is x where it is first used. */
function rotations(x, [a, b, c], first = x) {
  const left = [a, b, c].map((n) => ` ^ (${x} << ${32 - n})`).join("");
  return `(r = ${shift(first, a)}) ^ (r >> ${b - a}) ^ (r >> ${c - a})${left}`;
}

const word = (t) => `w${t % 16}`;

/** A word is shifted to the right twice, thirteen rounds apart: its highest 29 bits are kept from the first for the second. */
const isKept = (t) => t >= 14 && t <= 48;
const high = (t) => `v${t % 13}`;

/** The word of round t, where it is first used (section 6.2.2 step 1). */
function schedule(t) {
  if (t < 16) return `(${word(t)} = words[i - ${t}])`;
  const [x, y] = [word(t - 2), word(t - 15)];
  const [u, v] = [high(t - 2), high(t - 15)];
  const first = isKept(t - 2)
    ? `((${u} = ${shift(x, 3)}) >> 7) ^ (${u} >> 14) ^ (${u} >> 16)`
    : `(r = ${shift(x, 10)}) ^ (r >> 7) ^ (r >> 9)`;
  const s1 = `${first} ^ (${x} << 15) ^ (${x} << 13)`;
  const last = isKept(t - 15) ? `${v} ^ (${v} >> 4) ^ (${v} >> 15)` : `(r = ${shift(y, 3)}) ^ (r >> 4) ^ (r >> 15)`;
  const s0 = `${last} ^ (${y} << 25) ^ (${y} << 14)`;
  return `(${word(t)} = ~~(((${s0}) + ${word(t)}) + ((${s1}) + ${word(t - 7)})))`;
}

/** One round (section 6.2.2 step 3). `t` is ~T1 of the round before, which still has to be added to d. */
function round(t) {
  const [a, b, , , e, f, g, h] = Array.from("abcdefgh", (_, i) => "abcdefgh"[(i - (t % 8) + 8) % 8]);
  const [m, n] = t % 2 ? ["n", "m"] : ["m", "n"];
  const k = constant(t);
  const isFar = Math.abs(k) > 0x50000000;
  const near = isFar ? k ^ TOP : k;
  const S1 = rotations(e, [6, 11, 25], t === 0 ? e : `(${e} = ~(t - ${e}))`);
  const Ch = `${g} ^ (${e} & (${f} ^ ${g}))`;
  // A negative number in the text would be a positive one and a change of sign.
  const sum = `((${S1}) + (${Ch})) + ((${h} ${near < 0 ? "-" : "+"} ${Math.abs(near)}) + ${schedule(t)})`;
  const S0 = rotations(a, [2, 13, 22]);
  // With m = a ^ b, which is b ^ c of the next round, Maj(a, b, c) = b ^ (m & n).
  const Maj = `${b} ^ ((${m} = ${a} ^ ${b}) & ${n})`;
  return `${h} = ~((t = ${isFar ? `(${sum}) ^ 0x7fffffff` : `~(${sum})`}) - (${S0}) - (${Maj}));`;
}

export function unroll() {
  const state = "abcdefgh".split("");
  const range = (name, length) => Array.from({ length }, (_, i) => `${name}${i} = 0`).join(", ");
  const lines = [
    ...Array.from({ length: 64 }, (_, t) => `    ${round(t)}`),
    // e of the last round.
    "    e = ~(t - e);",
    ...state.map((s, i) => `    ${s} = s${i} = ~~(s${i} + ${s});`),
  ];
  return `// Made by scripts/unroll-sha256.mjs, which tells why it looks like this. Do not edit.
// biome-ignore-all lint: generated
// biome-ignore-all format: generated

/** The \`blocks\` of a HashFunction (FIPS 180-4 section 6.2.2). */
export function sha256Blocks(from: ArrayLike<number>, words: Int32Array, first: number, to: Int32Array): void {
  let r = 0, t = 0, m = 0, n = 0;
  let ${state.map((s, i) => `${s} = from[${7 - i}]`).join(", ")};
  let ${range("w", 16)};
  let ${range("v", 13)};
  let ${state.map((s, i) => `s${i} = ${s}`).join(", ")};
  for (let i = first; i > 0; i -= 16) {
    n = b ^ c;
${lines.join("\n")}
  }
${state.map((s, i) => `  to[${7 - i}] = ${s};`).join("\n")}
}
`;
}

const script = fileURLToPath(import.meta.url);
if (process.argv[1] && realpathSync(process.argv[1]) === script) {
  writeFileSync(new URL("../src/crypto/sha256-block.ts", import.meta.url), unroll());
}
