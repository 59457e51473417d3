/** Thousands of requests with known and unknown mistakes: each known one is found, and nothing else is ever a cause. */

import { createHmac } from "node:crypto";
import { expect, test } from "@jest/globals";
import { type Diagnosis, diagnose, type SentRequest } from "../../tools/diagnose/index.js";
import { type Made, made, type Pick, type Sample, signWith, styles, write } from "./mistaken-signer.js";

const SEED = Number(process.env.DIAGNOSE_SEED ?? 20261129);
const REQUESTS = 10_000;
/** Enough for all mistakes alone and the common ones in pairs. */
const MAX_HASHES = 5000;
/**
 * A search without result is the longest, so that of the requests without a known mistake most get the common mistakes
 * alone, each tenth the common ones in pairs as well, and each 250th all that a diagnosis tries.
 */
const OUTSIDE_HASHES = { alone: 200, pairs: 5000, full: 20_000 };

function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const random = mulberry32(SEED);
const below = (n: number): number => Math.floor(random() * n);
const pick: Pick = (items) => items[below(items.length)];
const text = (alphabet: string, length: number): string =>
  Array.from({ length }, () => alphabet[below(alphabet.length)]).join("");
const LOWER = "abcdefghijklmnopqrstuvwxyz";
const UPPER = LOWER.toUpperCase();
const DIGITS = "0123456789";
const bytes = (length: number): Buffer => Buffer.from(Array.from({ length }, () => below(256)));

function sampleRequest(): Sample {
  const product = text(UPPER + DIGITS, 10);
  const device = `dev-${text(LOWER, 4)}`;
  const plain = JSON.stringify({ t: below(400) / 10, place: pick(["roof", "温室", "a/b", "Straße"]) });
  const isEncoded = below(3) === 0;
  const members: Sample["members"] = {
    ProductId: product,
    DeviceName: device,
    TopicName: `${product}/${device}/${pick(["data", "event"])}`,
    Payload: isEncoded ? Buffer.from(plain).toString("base64") : plain,
    ...(isEncoded ? { PayloadEncoding: "Base64" } : {}),
    Qos: below(2),
  };
  const style = pick([styles.compact, styles.compact, styles.python, styles.two]);
  const name = pick(["ap-guangzhou.gateway.tencentdevices.com", "Gateway.Example.org", `${text(LOWER, 8)}.example`]);
  return {
    psk: bytes(pick([16, 24, 32])).toString("base64"),
    productSecret: text(UPPER + LOWER + DIGITS, 24),
    hostHeader: pick([name, `${name}:${1024 + below(60_000)}`]),
    target: pick(["/device/publish", "/device/reportlog", "/device/publish?v=1"]),
    algorithm: pick(["hmacsha256", "hmacsha256", "hmacsha1"]),
    timestamp: String(1_700_000_000 + below(200_000_000)),
    nonce: String(1 + below(2_147_483_646)),
    body: Buffer.from(write(members, style)),
    style,
    members,
  };
}

function sent(sample: Sample, signature: string): SentRequest {
  return {
    method: "POST",
    target: sample.target,
    host: sample.hostHeader,
    headers: {
      "content-type": "application/json",
      "x-tc-algorithm": sample.algorithm,
      "x-tc-timestamp": sample.timestamp,
      "x-tc-nonce": sample.nonce,
      "x-tc-signature": signature,
    },
    body: sample.body,
  };
}

const diagnosisOf = (sample: Sample, signature: string, maxHashes = MAX_HASHES): Diagnosis =>
  diagnose(
    sent(sample, signature),
    { secret: sample.psk, others: [{ name: "the ProductSecret", secret: sample.productSecret }] },
    { maxHashes },
  );

/** What gives the same signature by other means, and is as true. */
const equivalents: readonly { readonly made: string; readonly found: string; readonly why: string }[] = [
  {
    made: "signature-url-alphabet",
    found: "signature-unpadded",
    why: "a signature without + and / is the same in both alphabets but for its padding",
  },
  {
    made: "algorithm-other+body-hash-function",
    found: "algorithm-other",
    why: "one mistake: the other algorithm throughout",
  },
  {
    made: "psk-decoded+psk-padding",
    found: "psk-decoded",
    why: "what was decoded has no padding that it could lose",
  },
  {
    made: "body-hash-missing+layout-line-end",
    found: "body-hash-missing+body-white-space",
    why: "the body is the last line, so that a line end behind the text is one behind the body",
  },
];

/** Each listed equivalent in the place of what was made. */
function equivalentsOf(ids: readonly string[]): string[] {
  return equivalents.flatMap(({ made: from, found }) => {
    const parts = from.split("+");
    if (!parts.every((part) => ids.includes(part))) return [];
    return [[...ids.filter((id) => !parts.includes(id)), ...found.split("+")].sort().join()];
  });
}

const isEncoding = ({ id }: Made): boolean => id.startsWith("signature-");

/** One or two mistakes, in the order in which they are made; of the ways to write a signature, one at most. */
function draw(): Made[] {
  const first = pick(made);
  if (below(2) === 0) return [first];
  const second = pick(made.filter((one) => one !== first && !(isEncoding(one) && isEncoding(first))));
  return made.filter((one) => one === first || one === second);
}

test(`random mistakes of the table are found, and never another cause (seed ${SEED})`, () => {
  console.log(`DIAGNOSE_SEED=${SEED}`);
  const counts = { asMade: 0, withoutEffect: 0, equivalent: 0, outside: 0, hashes: 0 };
  const unlike = new Map<string, number>();
  let most = 0;
  for (let n = 0; n < REQUESTS / 2; n++) {
    const sample = sampleRequest();
    const right = signWith(sample, [], pick);
    let mistakes: Made[];
    let signature: string;
    do {
      mistakes = draw();
      signature = signWith(sample, mistakes, pick);
    } while (signature === right);
    const diagnosis = diagnosisOf(sample, signature);
    counts.hashes += diagnosis.hashes;
    most = Math.max(most, diagnosis.hashes);
    const madeIds = mistakes.map(({ id }) => id).sort();
    const found = diagnosis.deviations
      .map(({ id }) => id)
      .sort()
      .join();
    // Of two mistakes, one may have no effect: the other alone gives the same signature.
    const enough = madeIds.filter((id) => found !== madeIds.join() && isReproduced(sample, mistakes, id, signature));
    if (found === madeIds.join()) counts.asMade++;
    else if (enough.includes(found)) counts.withoutEffect++;
    else if ([madeIds, ...enough.map((id) => [id])].some((ids) => equivalentsOf(ids).includes(found))) {
      counts.equivalent++;
    } else {
      const key = `${madeIds.join("+")} -> ${diagnosis.verdict} ${found}`;
      unlike.set(key, (unlike.get(key) ?? 0) + 1);
    }
  }
  expect([...unlike]).toEqual([]);
  for (let n = 0; n < REQUESTS / 2; n++) {
    const { sample, signature } = outside(n);
    const depth = n % 250 === 0 ? "full" : n % 10 === 0 ? "pairs" : "alone";
    const diagnosis = diagnosisOf(sample, signature, OUTSIDE_HASHES[depth]);
    const { verdict, deviations, pairsRuledOut } = diagnosis;
    expect({ n, verdict, deviations, pairsRuledOut }).toEqual({
      n,
      verdict: "key-or-text",
      deviations: [],
      pairsRuledOut: depth !== "alone",
    });
    expect(diagnosis.message).not.toMatch(/most likely|probably/);
    counts.outside++;
    counts.hashes += diagnosis.hashes;
  }
  console.log(JSON.stringify({ ...counts, most }));
});

/** True if one of the mistakes alone gives the signature: the other had no effect. */
function isReproduced(sample: Sample, mistakes: readonly Made[], id: string, signature: string): boolean {
  const alone = mistakes.filter((one) => one.id === id);
  for (let tries = 0; tries < 200; tries++) if (signWith(sample, alone, pick) === signature) return true;
  return false;
}

/** A request whose signature is wrong for a reason that no table can know. */
function outside(n: number): { sample: Sample; signature: string } {
  // Every kind comes at every depth.
  const kind = (n + Math.floor(n / 10)) % 4;
  let sample: Sample;
  // That the host of the real service was signed is in the table, whichever host the request went to.
  do sample = sampleRequest();
  while (kind === 2 && sample.hostHeader.startsWith("ap-guangzhou"));
  const written = below(2) === 0 ? [] : [pick(made.filter(isEncoding))];
  if (kind === 0) {
    return { sample, signature: signWith({ ...sample, psk: bytes(16).toString("base64") }, written, pick) };
  }
  const signature = signWith(sample, written, pick);
  const replaced = (whole: string, at: number, by: string): string => whole.slice(0, at) + by + whole.slice(at + 1);
  if (kind === 1) {
    const body = Buffer.from(sample.body);
    let at: number;
    do at = below(body.length);
    while (!/[a-z]/i.test(String.fromCharCode(body[at])) || /Payload/.test(body.toString("latin1", at - 7, at + 7)));
    body[at] = body[at] === 0x78 ? 0x79 : 0x78;
    return { sample: { ...sample, body }, signature };
  }
  if (kind === 2) {
    const hostHeader = replaced(sample.hostHeader, below(8), "0");
    return { sample: { ...sample, hostHeader }, signature };
  }
  const at = below(sample.nonce.length);
  // A nonce that is one more or less is in the table.
  const digits = [..."0123456789"].filter((digit) => Math.abs(Number(digit) - Number(sample.nonce[at])) > 1);
  const nonce = replaced(sample.nonce, at, pick(digits.filter((digit) => at > 0 || digit !== "0")));
  return { sample: { ...sample, nonce }, signature };
}

test("a diagnosis without a cause stays within its limit of hashes, by default 20 000", () => {
  const sample = sampleRequest();
  const signature = createHmac(sample.algorithm === "hmacsha1" ? "sha1" : "sha256", "another key")
    .update("another text")
    .digest("base64");
  for (const limit of [1, 2, 3, 1000, 19_999]) expect(diagnosisOf(sample, signature, limit).hashes).toBe(limit);
  const full = diagnose(sent(sample, signature), { secret: sample.psk });
  expect(full.hashes).toBeLessThanOrEqual(20_000);
  expect(full.pairsRuledOut).toBe(true);
  for (const limit of [0, 20_001, 1.5]) expect(() => diagnosisOf(sample, signature, limit)).toThrow(/maxHashes/);
});
