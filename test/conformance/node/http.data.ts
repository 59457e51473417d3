import { mutate } from "../../fuzz/mutate.js";
import { latin1, read, samples } from "../http.cases.js";

/** Numbers from 0 to 1, the same in every run (Park and Miller's generator). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}

/** Samples of a size that is worth changing, as bytes. */
const seeds = samples.map(({ text }) => latin1(text)).filter(({ length }) => length < 400);

/** Responses that were damaged, repeatably. */
export function mutations(seed: number, count: number): Uint8Array[] {
  const random = seeded(seed);
  return Array.from({ length: count }, () => mutate(seeds[Math.floor(random() * seeds.length)], random, seeds, 600));
}

const group = (seed: number) => {
  const random = seeded(seed + 1000);
  return mutations(seed, 60).map((bytes) => {
    const cuts = Array.from({ length: 3 }, () => Math.floor(random() * (bytes.length + 1))).sort((a, b) => a - b);
    return [Buffer.from(bytes).toString("hex"), cuts, read(bytes, [], true)];
  });
};

export const data = {
  "mutations: the same on every engine": Object.fromEntries(
    Array.from({ length: 10 }, (_, i) => [`seed ${i + 1}`, group(i + 1)]),
  ),
};
