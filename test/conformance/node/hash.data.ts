import { createHash } from "node:crypto";
import { pattern } from "../hash.cases.js";

type Hash = "sha256" | "sha1";

const alphabet56 = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
const digits64 = "01234567".repeat(8);

/** RFC 6234 section 8.5 and the samples of FIPS 180, as far as they are whole bytes. */
const knownAnswers: readonly [Hash, { text?: string; hex?: string }, number, string][] = [
  ["sha256", { text: "" }, 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
  ["sha256", { text: "abc" }, 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
  ["sha256", { text: alphabet56 }, 1, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"],
  ["sha256", { text: "a".repeat(1000) }, 1000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"],
  ["sha256", { text: digits64 }, 10, "594847328451bdfa85056225462cc1d867d877fb388df0ce35f25ab5562bfbb5"],
  ["sha256", { hex: "19" }, 1, "68aa2e2ee5dff96e3355e6c7ee373e3d6a4e17f75f9518d843709c0c9bc3e3d4"],
  [
    "sha256",
    { hex: "e3d72570dcdd787ce3887ab2cd684652" },
    1,
    "175ee69b02ba9b58e2b0a5fd13819cea573f3940a94f825128cf4209beabb4e8",
  ],
  ["sha1", { text: "" }, 1, "da39a3ee5e6b4b0d3255bfef95601890afd80709"],
  ["sha1", { text: "abc" }, 1, "a9993e364706816aba3e25717850c26c9cd0d89d"],
  ["sha1", { text: alphabet56 }, 1, "84983e441c3bd26ebaae4aa1f95129e5e54670f1"],
  ["sha1", { text: "a".repeat(1000) }, 1000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f"],
  ["sha1", { text: digits64 }, 10, "dea356a2cddd90c7a7ecedc5ebb563934f460452"],
];

export function hashHex(hash: Hash, bytes: Uint8Array): string {
  return createHash(hash).update(bytes).digest("hex");
}

/** Every length from 0 to 300, and those around the limits of the blocks 2^k bytes long. */
export const ranges: readonly [number, number][] = [
  [0, 75],
  [76, 150],
  [151, 225],
  [226, 300],
  ...[512, 1024, 2048, 4096, 8192].map((limit): [number, number] => [limit - 10, limit + 2]),
];

export function eachRange(digest: (hash: Hash, length: number) => string): Record<string, unknown> {
  return Object.fromEntries(
    ranges.map(([from, to]) => {
      const lengths = Array.from({ length: to - from + 1 }, (_, index) => from + index);
      const all = (hash: Hash) => lengths.map((length) => digest(hash, length)).join("");
      return [`${from}–${to}`, { from, to, sha256: all("sha256"), sha1: all("sha1") }];
    }),
  );
}

/** Lehmer's generator: the same splits in every run, so that a failure can be repeated. */
function splits(): unknown[] {
  let seed = 20_241_227;
  const below = (limit: number) => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % limit;
  };
  return Array.from({ length: 60 }, () => {
    const length = below(400);
    const parts: number[] = [];
    for (let left = length; left > 0; ) {
      const part = Math.min(left, [below(4), below(64), 64, below(200)][below(4)] ?? 0);
      parts.push(part);
      left -= part;
    }
    const message = pattern(length);
    return { length, parts, sha256: hashHex("sha256", message), sha1: hashHex("sha1", message) };
  });
}

export const data = {
  "known answer": Object.fromEntries(
    knownAnswers.map(([hash, message, times, digest], index) => [
      `${index + 1}, ${hash}`,
      { hash, ...message, times, digest },
    ]),
  ),
  "every length": eachRange((hash, length) => hashHex(hash, pattern(length))),
  "random splits of update": splits(),
};
