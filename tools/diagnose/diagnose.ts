import {
  constants,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  publicDecrypt,
  sign,
  verify,
} from "node:crypto";
import { DiagnoseError } from "./errors.js";
import { type SignedFieldName, type SignedFields, signedFieldNames, stringToSign } from "./fields.js";
import { hmacOf } from "./hmac.js";
import { parseJson } from "./json-text.js";
import { type Context, type Draft, fieldsOf, mistakes, type OtherKey, type Variant, type Where } from "./mistakes.js";
import {
  bodyHashName,
  expectedFields,
  type FormProblem,
  readSignatureParts,
  type SentRequest,
  type SignatureParts,
} from "./request.js";
import { encodings, type Reading, readSignature } from "./signature-text.js";

/** Key that a request should have been signed with. */
export type DiagnosisKey =
  | {
      /** PSK as text; for a registration, the ProductSecret. */
      readonly secret: string;
      /** Other keys to try. @default none */
      readonly others?: readonly OtherKey[];
    }
  /** The device's private key or its public key, as PEM or a key object. */
  | { readonly rsaKey: string | KeyObject };

export interface DiagnoseOptions {
  /** Fields that should have been signed. @default derived from the request */
  readonly expected?: SignedFields;
  /** Maximum number of hashes, HMACs and RSA operations, 1 to 20000. @default 20000 */
  readonly maxHashes?: number;
}

/** Reason why a signature is wrong. Contains no secret: keys are described in words. */
export interface Diagnosis {
  /**
   * - `matches`: the signature is correct
   * - `explained`: `deviations` reproduce exactly this signature
   * - `signature`: it was not made with the device's key (RSA only)
   * - `key-or-text`: the key is wrong, or something was changed after signing in an unknown way (HMAC only)
   * - `text`: the key is correct, and at least one of the eight fields differs in an unknown way (RSA only)
   * - `unreadable`: the header does not contain a signature
   */
  readonly verdict: "matches" | "explained" | "signature" | "key-or-text" | "text" | "unreadable";
  /** Fields that were signed differently; empty if only the key or the encoding is wrong. */
  readonly fields: readonly SignedFieldName[];
  readonly deviations: readonly Deviation[];
  /** Lines of the string that should have been signed. */
  readonly expected: SignedFields;
  /** Lines that were signed; absent if the signature is neither explained nor correct. */
  readonly signed?: SignedFields;
  /** Summary in one line. */
  readonly message: string;
  /** Faults of the headers, independent of the signature. */
  readonly problems: readonly FormProblem[];
  /** Number of hashes, HMACs and RSA operations that were computed. */
  readonly hashes: number;
  /** Ids of the mistakes that do not explain the signature alone. */
  readonly ruledOut: readonly string[];
  /** Whether no pair of common mistakes explains the signature. */
  readonly pairsRuledOut: boolean;
}

/** One mistake. */
export interface Deviation {
  /** Stable id, such as `psk-decoded`. */
  readonly id: string;
  readonly where: Where;
  /** What was signed, to follow "signed with …". */
  readonly what: string;
  /** Signed value of a field; absent if it could be long. */
  readonly signed?: string;
  /** How to fix it, in one line. */
  readonly mend: string;
}

export const MAX_HASHES = 20_000;

/** Maximum body size for combinations of two changes: rewriting a large body takes longer than hashing it. */
const MAX_COMBINED_BODY_BYTES = 4096;
/** Maximum body size for any changes of the body. */
const MAX_BODY_BYTES = 32_768;

class OutOfHashes extends Error {}

interface Candidate {
  readonly id: string;
  readonly where: Where;
  readonly mend: string;
  readonly variant: Variant;
  /** Index of its mistake in the table. */
  readonly order: number;
}

type Tried = readonly Candidate[];

/**
 * Checks whether a string to sign gives the signature; if so, returns the mistakes in addition to those of the draft.
 */
type Oracle = (draft: Draft, fields: SignedFields) => { readonly extra: readonly Deviation[] } | undefined;

/**
 * Finds the mistakes that lead to a wrong signature: tries each known one alone, then pairs. A mistake is reported only
 * if it reproduces the signature.
 *
 * An HMAC is one-way: a wrong key can be distinguished from a request that was changed after signing only if the
 * original can be guessed. A different nonce, payload or hostname looks the same as a wrong key. An RSA signature
 * reveals the hash that was signed, so the key can be checked by itself.
 * @throws {DiagnoseError} INVALID_REQUEST if the request has no signature; INVALID_KEY if the key cannot be read, or
 * does not fit the algorithm; INVALID_OPTION if `maxHashes` is out of range
 * @example
 *   const request = parseRequest(readFileSync("request.txt"));
 *   const diagnosis = diagnose(request, { secret: "lDZ6Uqt+I9E0wW7rvDUs7Q==" });
 *   console.log(describeDiagnosis(diagnosis).join("\n"));
 */
export function diagnose(request: SentRequest, key: DiagnosisKey, options: DiagnoseOptions = {}): Diagnosis {
  const { maxHashes = MAX_HASHES } = options;
  if (!Number.isInteger(maxHashes) || maxHashes < 1 || maxHashes > MAX_HASHES) {
    throw new DiagnoseError("INVALID_OPTION", `maxHashes must be an integer from 1 to ${MAX_HASHES}.`);
  }
  const parts = readSignatureParts(request);
  const isRsa = parts.algorithm === "rsa-sha256";
  if (isRsa !== "rsaKey" in key) {
    const wanted = isRsa ? "the device's RSA key" : "the PSK or ProductSecret";
    throw new DiagnoseError("INVALID_KEY", `The request is signed with ${parts.algorithm}, which needs ${wanted}.`);
  }
  const expected = options.expected ?? expectedFields(request, parts);
  return new Search(request, parts, expected, key, maxHashes).run();
}

class Search {
  // The hash of the body in the expected fields.
  #hashes = 1;
  readonly #request: SentRequest;
  readonly #parts: SignatureParts;
  readonly #expected: SignedFields;
  readonly #maxHashes: number;
  readonly #tried = new Set<string>();
  #ruledOut: readonly string[] = [];
  #pairsRuledOut = false;
  readonly #context: Context;
  readonly #rightKey: Buffer;
  readonly #publicKey: KeyObject | undefined;
  readonly #privateKey: KeyObject | undefined;

  constructor(
    request: SentRequest,
    parts: SignatureParts,
    expected: SignedFields,
    key: DiagnosisKey,
    maxHashes: number,
  ) {
    this.#request = request;
    this.#parts = parts;
    this.#expected = expected;
    this.#maxHashes = maxHashes;
    if ("rsaKey" in key) {
      const { publicKey, privateKey } = readRsaKey(key.rsaKey);
      this.#publicKey = publicKey;
      this.#privateKey = privateKey;
    }
    const secret = "secret" in key ? key.secret : undefined;
    this.#rightKey = Buffer.from(secret ?? "");
    const body = request.body === undefined ? undefined : Buffer.from(request.body);
    const text = body !== undefined && body.length <= MAX_BODY_BYTES ? utf8Text(body) : undefined;
    this.#context = {
      request,
      parts,
      expected,
      secret,
      others: ("secret" in key ? key.others : undefined) ?? [],
      body,
      text,
      json: text === undefined ? undefined : parseJson(text),
      seldom: false,
      hashes: new Map(),
      spend: () => this.#spend(),
    };
  }

  run(): Diagnosis {
    const { isPrefix = false } = this.#request;
    const readings = readSignature(this.#parts.signature, isPrefix);
    if (readings.length === 0) return this.#result("unreadable", UNREADABLE);
    try {
      return this.#publicKey === undefined ? this.#hmac(readings, isPrefix) : this.#rsa(this.#publicKey, readings);
    } catch (error) {
      if (error instanceof OutOfHashes) return this.#unexplained();
      throw error;
    }
  }

  #spend(): void {
    if (this.#hashes >= this.#maxHashes) throw new OutOfHashes();
    this.#hashes++;
  }

  #hmac(readings: readonly Reading[], isPrefix: boolean): Diagnosis {
    const right = bodyHashName(this.#parts.algorithm);
    const other = right === "sha256" ? "sha1" : "sha256";
    // The length of a signature shows its hash; trying the other one would only cost time.
    const names = ([right, other] as const).filter((name) =>
      readings.some(({ bytes }) => isPrefix || bytes.length === (name === "sha1" ? 20 : 32)),
    );
    if (names.length === 0) return this.#result("unreadable", UNREADABLE);
    const wanted = readings.map((reading) => ({ digest: reading.bytes.toString("latin1"), reading }));
    const prefixBytes = isPrefix ? readings[0].bytes.length : undefined;
    const signers = new Map<string, (text: string) => string>();
    const rightSigners = new Map(names.map((name) => [name, hmacOf(name, this.#rightKey)]));
    const signer = (name: "sha1" | "sha256", key: Buffer): ((text: string) => string) => {
      const known = key === this.#rightKey ? rightSigners.get(name) : undefined;
      return known ?? wrongSigner(name, key);
    };
    const wrongSigner = (name: "sha1" | "sha256", key: Buffer): ((text: string) => string) => {
      const id = name + key.toString("latin1");
      const known = signers.get(id) ?? hmacOf(name, key);
      signers.set(id, known);
      return known;
    };
    return this.#search((draft, fields) => {
      const text = draft.join(fields);
      for (const name of names) {
        this.#spend();
        let digest: string;
        if (draft.construction === "hmac") digest = signer(name, draft.key)(text);
        else if (draft.construction === "swapped") digest = createHmac(name, text).update(draft.key).digest("binary");
        else {
          const keyed = [draft.key, Buffer.from(text)];
          if (draft.construction === "text-first") keyed.reverse();
          digest = createHash(name).update(Buffer.concat(keyed)).digest("binary");
        }
        if (prefixBytes !== undefined) digest = digest.slice(0, prefixBytes);
        const reading = wanted.find((one) => one.digest === digest)?.reading;
        if (reading === undefined) continue;
        const extra: Deviation[] = [];
        if (name !== right) {
          extra.push({
            id: "hmac-hash",
            where: "hash",
            what: `HMAC-${name.toUpperCase()} instead of ${right.toUpperCase()}`,
            mend: `Sign with HMAC-${right.toUpperCase()}, as X-TC-Algorithm says.`,
          });
        }
        if (reading.encoding !== undefined) extra.push(encodings[reading.encoding]);
        return { extra };
      }
      return undefined;
    });
  }

  #rsa(publicKey: KeyObject, readings: readonly Reading[]): Diagnosis {
    if (this.#request.isPrefix) return this.#rsaPrefix(readings[0]);
    for (const reading of readings) {
      this.#spend();
      // An RSA signature gives its hash back, which distinguishes a wrong key from a wrong text for certain.
      const opened = openRsa(publicKey, reading.bytes);
      if (opened === undefined) continue;
      const extra: Deviation[] = [];
      if (opened.hash !== "sha256") {
        extra.push({
          id: "rsa-hash",
          where: "hash",
          what: `RSA with ${opened.hash.toUpperCase()} instead of SHA256`,
          mend: "Sign with RSASSA-PKCS1-v1_5 and SHA-256.",
        });
      }
      if (reading.encoding !== undefined) extra.push(encodings[reading.encoding]);
      return this.#search((draft, fields) => {
        this.#spend();
        const digest = createHash(opened.hash).update(draft.join(fields)).digest();
        return digest.equals(opened.digest) ? { extra } : undefined;
      });
    }
    for (const reading of readings) {
      this.#spend();
      const padded = {
        key: publicKey,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_AUTO,
      };
      if (!verify("sha256", Buffer.from(stringToSign(this.#expected)), padded, reading.bytes)) continue;
      const deviations = [PSS];
      if (reading.encoding !== undefined) deviations.push(encodings[reading.encoding]);
      return this.#explained([], deviations, this.#expected);
    }
    const keyBytes = (publicKey.asymmetricKeyDetails?.modulusLength ?? 0) / 8;
    const sizes = new Set(readings.map(({ bytes }) => bytes.length));
    return this.#result(
      "signature",
      sizes.has(keyBytes)
        ? "it was made with another private key than the device's, changed in transit, or is not RSASSA-PKCS1-v1_5"
        : `it has ${[...sizes].join(" or ")} bytes instead of ${keyBytes}: the key has another size, or it is not RSA`,
    );
  }

  /** A truncated signature cannot be decrypted: only compares it with the signature of the expected text. */
  #rsaPrefix(reading: Reading): Diagnosis {
    if (this.#privateKey !== undefined) {
      this.#spend();
      const signature = sign("sha256", Buffer.from(stringToSign(this.#expected)), this.#privateKey);
      if (signature.subarray(0, reading.bytes.length).equals(reading.bytes)) {
        return this.#result("matches", "the signature is correct", { signed: this.#expected });
      }
    }
    return this.#unexplained();
  }

  #search(oracle: Oracle): Diagnosis {
    const found = this.#find(oracle);
    if (found !== undefined) return found;
    return this.#unexplained();
  }

  #find(oracle: Oracle): Diagnosis | undefined {
    const first = this.#attempt([], oracle);
    if (first !== undefined) return first;
    // Rare variants are more than a thousand: tries the common ones first, alone and in pairs.
    const effective: Candidate[][] = [];
    for (const isSeldom of [false, true]) {
      const useful: Candidate[] = [];
      effective.push(useful);
      const all = this.#candidates(isSeldom);
      for (const candidate of all) {
        if ((candidate.variant.lone ?? false) !== isSeldom) continue;
        const before = this.#tried.size;
        const found = this.#attempt([candidate], oracle);
        if (found !== undefined) return found;
        // A variant without effect, or with that of another one, adds nothing in pairs either.
        if (this.#tried.size > before) useful.push(candidate);
      }
      if (isSeldom) this.#ruledOut = [...new Set(all.map(({ id }) => id))];
      else {
        for (const [index, one] of useful.entries()) {
          for (let at = index + 1; at < useful.length; at++) {
            const found = this.#pair(one, useful[at], oracle);
            if (found !== undefined) return found;
          }
        }
        this.#pairsRuledOut = true;
      }
    }
    const [common, rare] = effective;
    for (const one of common) {
      for (const other of rare) {
        const found = one.order < other.order ? this.#pair(one, other, oracle) : this.#pair(other, one, oracle);
        if (found !== undefined) return found;
      }
    }
    return undefined;
  }

  #pair(one: Candidate, other: Candidate, oracle: Oracle): Diagnosis | undefined {
    if (one.id === other.id) return undefined;
    if (one.where === "bodyHash" && other.where === "bodyHash") {
      if ((this.#context.body?.length ?? 0) > MAX_COMBINED_BODY_BYTES) return undefined;
    }
    return this.#attempt([one, other], oracle);
  }

  #attempt(tried: Tried, oracle: Oracle): Diagnosis | undefined {
    const expected = this.#expected;
    const { method, host, path, query, algorithm, timestamp, nonce } = expected;
    const draft: Draft = {
      key: this.#rightKey,
      method,
      host,
      path,
      query,
      algorithm,
      timestamp,
      nonce,
      body: [],
      hash: bodyHashName(expected.algorithm),
      forms: [],
      join: stringToSign,
      construction: "hmac",
    };
    for (const { variant } of tried) variant.apply(draft);
    const fields = fieldsOf(draft, this.#context);
    if (fields === undefined) return undefined;
    if (tried.length < 2) {
      const id = `${draft.construction}\0${draft.key.toString("latin1")}\0${draft.join(fields)}`;
      if (this.#tried.has(id)) return undefined;
      this.#tried.add(id);
    }
    const hit = oracle(draft, fields);
    if (hit === undefined) return undefined;
    if (tried.length === 0 && hit.extra.length === 0) {
      return this.#result("matches", "the signature is correct", { signed: fields });
    }
    return this.#explained(tried, hit.extra, fields);
  }

  #candidates(seldom: boolean): Candidate[] {
    this.#context.seldom = seldom;
    const isRsa = this.#publicKey !== undefined;
    return mistakes.flatMap(({ id, where, mend, variants }, order) =>
      isRsa && (where === "key" || where === "hash")
        ? []
        : [...variants(this.#context)].map((variant) => ({ id, where, mend, variant, order })),
    );
  }

  #explained(tried: Tried, extra: readonly Deviation[], signed: SignedFields): Diagnosis {
    const known = tried.map(({ id, where, mend, variant }): Deviation => {
      const isShown = where !== "bodyHash" && isField(where);
      return { id, where, what: variant.what, ...(isShown ? { signed: signed[where] } : {}), mend };
    });
    const isHash = ({ where }: Deviation): boolean => where === "hash" || where === "key";
    const deviations = [
      ...known.filter(isHash),
      ...extra.filter(isHash),
      ...known.filter((deviation) => !isHash(deviation)),
      ...extra.filter((deviation) => !isHash(deviation)),
    ];
    const described = deviations.map((deviation) => {
      const { where, what } = deviation;
      if (!isField(where)) return `${where}: ${what}`;
      const instead =
        deviation.signed === undefined
          ? ""
          : ` (signed ${JSON.stringify(deviation.signed)}, expected ${JSON.stringify(this.#expected[where])})`;
      return `field ${signedFieldNames.indexOf(where) + 1} (${where}): ${what}${instead}`;
    });
    return this.#result("explained", described.join("; "), {
      deviations,
      fields: [...new Set(deviations.map(({ where }) => where).filter(isField))],
      signed,
    });
  }

  #unexplained(): Diagnosis {
    return this.#publicKey === undefined || this.#request.isPrefix
      ? this.#result("key-or-text", UNEXPLAINED)
      : this.#result("text", "the key is correct, but at least one of the eight fields differs in an unknown way");
  }

  #result(verdict: Diagnosis["verdict"], message: string, more: Partial<Diagnosis> = {}): Diagnosis {
    return {
      verdict,
      fields: [],
      deviations: [],
      ...more,
      expected: this.#expected,
      message: verdict === "matches" ? message : `wrong signature: ${message}`,
      problems: this.#parts.problems,
      hashes: this.#hashes,
      pairsRuledOut: this.#pairsRuledOut && verdict !== "explained",
      ruledOut: verdict === "explained" || verdict === "matches" ? [] : [...this.#ruledOut],
    };
  }
}

const UNREADABLE = "X-TC-Signature is neither Base64 nor hex of a signature of the right length";

const UNEXPLAINED =
  "no known mistake explains it: the key is wrong, or something was changed after signing " +
  "(body, host, path, timestamp or nonce); these cannot be distinguished";

const PSS: Deviation = {
  id: "rsa-padding",
  where: "encoding",
  what: "RSASSA-PSS instead of RSASSA-PKCS1-v1_5",
  mend: "Sign with RSASSA-PKCS1-v1_5.",
};

function isField(where: Where): where is SignedFieldName {
  return signedFieldNames.includes(where as SignedFieldName);
}

function utf8Text(bytes: Buffer): string | undefined {
  const text = bytes.toString("utf8");
  return Buffer.from(text).equals(bytes) ? text : undefined;
}

/** @throws {DiagnoseError} INVALID_KEY */
function readRsaKey(key: string | KeyObject): { publicKey: KeyObject; privateKey: KeyObject | undefined } {
  let publicKey: KeyObject;
  let privateKey: KeyObject | undefined;
  try {
    if (typeof key !== "string") {
      privateKey = key.type === "private" ? key : undefined;
      publicKey = key.type === "private" ? createPublicKey(key) : key;
    } else {
      privateKey = key.includes("PRIVATE KEY") ? createPrivateKey(key) : undefined;
      publicKey = createPublicKey(key);
    }
  } catch (cause) {
    throw new DiagnoseError(
      "INVALID_KEY",
      "The key cannot be read: expected an RSA key or a certificate in PEM.",
      cause,
    );
  }
  if (publicKey.asymmetricKeyType !== "rsa") throw new DiagnoseError("INVALID_KEY", "The key is not an RSA key.");
  return { publicKey, privateKey };
}

/** Returns hash function and digest of an RSASSA-PKCS1-v1_5 signature, or undefined if it was made with another key. */
function openRsa(publicKey: KeyObject, signature: Buffer): { hash: "sha1" | "sha256"; digest: Buffer } | undefined {
  let info: Buffer;
  try {
    info = publicDecrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, signature);
  } catch {
    return undefined;
  }
  // DigestInfo, RFC 8017 section 9.2 note 1: the digest is the last field.
  if (info.length === 51) return { hash: "sha256", digest: info.subarray(19) };
  if (info.length === 35) return { hash: "sha1", digest: info.subarray(15) };
  return undefined;
}
