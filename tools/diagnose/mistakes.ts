/**
 * The known mistakes. Each changes a draft of what was signed. They are in the order in which a client makes them, so
 * that pairs are found as well: a host with its port, then in upper case.
 */

import { createHash, createHmac } from "node:crypto";
import type { SignedFieldName, SignedFields } from "./fields.js";
import {
  type JsonNode,
  jsonStyles,
  orderMembers,
  parseJson,
  permutations,
  replaceMember,
  rewriteNumbers,
  sortMembers,
  stringMember,
  styleOf,
  writeJson,
} from "./json-text.js";
import { bodyHashName, hostWithoutPort, originOf, type SentRequest, type SignatureParts } from "./request.js";

/** Subject of a mistake: a field of the string to sign, the way the fields are joined, the key, or the hash. */
export type Where = SignedFieldName | "layout" | "key" | "encoding" | "hash";

/** A key that a client may use by mistake, and its name in messages. */
export interface OtherKey {
  readonly name: string;
  readonly secret: string;
}

export interface Mistake {
  /** Stable id, such as `psk-decoded`. */
  readonly id: string;
  readonly where: Where;
  /** How to fix it, in one line. */
  readonly mend: string;
  readonly variants: (context: Context) => Iterable<Variant>;
}

export interface Variant {
  /** What was signed, to follow "signed with …". */
  readonly what: string;
  readonly apply: (draft: Draft) => void;
  /** Whether it is rare or one of many: combined with other mistakes only while the limit of hashes permits. */
  readonly lone?: boolean;
}

type BodyStep = { readonly id: string; readonly run: (body: Buffer) => Buffer | undefined };
type HashForm = { readonly id: string; readonly run: (hash: string, draft: Draft, hashed: () => Buffer) => string };

/** A hypothesis of what was signed. */
export interface Draft {
  key: Buffer;
  method: string;
  host: string;
  path: string;
  query: string;
  algorithm: string;
  timestamp: string;
  nonce: string;
  body: readonly BodyStep[];
  hash: string;
  forms: readonly HashForm[];
  join: (fields: SignedFields) => string;
  construction: "hmac" | "swapped" | "key-first" | "text-first";
}

/** Input of the variants. */
export interface Context {
  readonly request: SentRequest;
  readonly parts: SignatureParts;
  readonly expected: SignedFields;
  /** Undefined for RSA. */
  readonly secret: string | undefined;
  readonly others: readonly OtherKey[];
  readonly body: Buffer | undefined;
  /** The body as text and as JSON, if it is. */
  readonly text: string | undefined;
  readonly json: JsonNode | undefined;
  /** Whether rare variants are wanted, too, of which there are hundreds. */
  seldom: boolean;
  /** Hashes by form of the body, computed once, since a body may be large. */
  readonly hashes: Map<string, string | undefined>;
  /** Called before each hash. */
  readonly spend: () => void;
}

const variant = (what: string, apply: (draft: Draft) => void, lone = false): Variant => ({ what, apply, lone });

/** Creates variants that replace a field. */
function field(
  name: Exclude<SignedFieldName, "bodyHash">,
  values: readonly (readonly [value: string, what: string, lone?: boolean])[],
): Variant[] {
  return values.map(([value, what, lone]) =>
    variant(
      what,
      (draft) => {
        draft[name] = value;
      },
      lone,
    ),
  );
}

const key = (what: string, change: (key: Buffer) => Buffer, lone = false): Variant =>
  variant(
    what,
    (draft) => {
      draft.key = change(draft.key);
    },
    lone,
  );
const keyText = (what: string, change: (psk: string) => string, lone = false): Variant =>
  key(what, (bytes) => Buffer.from(change(bytes.toString("utf8"))), lone);

const appended = (what: string, end: string, lone = false): Variant =>
  key(what, (bytes) => Buffer.concat([bytes, Buffer.from(end)]), lone);
const preceded = (what: string, start: string, lone = false): Variant =>
  key(what, (bytes) => Buffer.concat([Buffer.from(start), bytes]), lone);

/** Creates a variant with another time, in the client's unit. */
const later = (what: string, bySeconds: number, lone: boolean): Variant =>
  variant(
    what,
    (draft) => {
      draft.timestamp = String(Number(draft.timestamp) + bySeconds);
    },
    lone,
  );

const step = (what: string, id: string, run: BodyStep["run"], lone = false): Variant =>
  variant(
    what,
    (draft) => {
      draft.body = [...draft.body, { id, run }];
    },
    lone,
  );
const textStep = (what: string, id: string, run: (text: string) => string | undefined, lone = false): Variant =>
  step(
    what,
    id,
    (body) => {
      const text = run(body.toString("utf8"));
      return text === undefined ? undefined : Buffer.from(text);
    },
    lone,
  );
/** Rewrites a JSON text and keeps the white space around it. */
function rewrite(text: string, run: (node: JsonNode, text: string) => string): string | undefined {
  const node = parseJson(text);
  if (node === undefined) return undefined;
  const bare = text.trim();
  const start = text.indexOf(bare);
  return text.slice(0, start) + run(node, bare) + text.slice(start + bare.length);
}

/** Creates a variant that changes the JSON and keeps its style. */
const jsonStep = (what: string, id: string, run: (node: JsonNode) => JsonNode, lone = false): Variant =>
  textStep(what, id, (text) => rewrite(text, (node, bare) => writeJson(run(node), styleOf(bare, node))), lone);

const form = (what: string, id: string, run: HashForm["run"], lone = false): Variant =>
  variant(
    what,
    (draft) => {
      draft.forms = [...draft.forms, { id, run }];
    },
    lone,
  );

/** Creates a variant that changes the whole text. */
const layout = (what: string, run: (fields: SignedFields, joined: string) => string, lone = false): Variant =>
  variant(
    what,
    (draft) => {
      const { join } = draft;
      draft.join = (fields) => run(fields, join(fields));
    },
    lone,
  );

export function lines(fields: SignedFields): string[] {
  const { method, host, path, query, algorithm, timestamp, nonce, bodyHash } = fields;
  return [method, host, path, query, algorithm, timestamp, nonce, bodyHash];
}

const SERVICE_HOSTS = ["ap-guangzhou", "us-east", "europe", "ap-bangkok"].map(
  (region) => `${region}.gateway.tencentdevices.com`,
);

/** Names of the members in the order of Tencent's documentation. */
const DOCUMENTED_ORDER = ["ProductId", "DeviceName", "TopicName", "Payload", "PayloadEncoding", "Qos"];

/** Offsets of time zones from UTC in seconds: every zone in use, China's first. */
const ZONES = [
  8, -5, 9, 1, -8, 5.5, 2, 3, -4, -6, -7, 7, 10, 4, 5, 6, 11, 12, -3, -10, -9, 6.5, 3.5, 9.5, 5.75, 4.5, 10.5, 13, 14,
  -1, -2, -11, -12, -3.5, -2.5, -9.5, 8.75, 12.75, 13.75,
].map((hours) => hours * 3600);

const GUESSED_SECONDS = 300;

const again = "the body serialized again after it was hashed";
const SEND_WHAT_WAS_HASHED = "Serialize the body once, then hash and send the same bytes.";

const inJson = (context: Context): JsonNode | undefined => (context.body === undefined ? undefined : context.json);

export const mistakes: readonly Mistake[] = [
  // The key.
  {
    id: "psk-decoded",
    where: "key",
    mend: "Use the text of the PSK as the key; do not Base64-decode it.",
    *variants() {
      yield key("the PSK was Base64-decoded; its text is the key", (bytes) => Buffer.from(bytes.toString(), "base64"));
      yield key("the PSK was Base64-decoded into text; its own text is the key", (bytes) =>
        Buffer.from(Buffer.from(bytes.toString(), "base64").toString("utf8")),
      );
      yield key(
        "the PSK was Base64-decoded and written as hex",
        (bytes) => Buffer.from(Buffer.from(bytes.toString(), "base64").toString("hex")),
        true,
      );
    },
  },
  {
    id: "psk-padding",
    where: "key",
    mend: "Copy the complete PSK, with every = at its end.",
    *variants() {
      yield keyText("the PSK lost its trailing =", (psk) => psk.replace(/=+$/, ""));
      yield keyText("the PSK lost one of its trailing =", (psk) => psk.replace(/==$/, "="));
      yield keyText("the PSK has one = too many at its end", (psk) => `${psk}=`, true);
      yield keyText("the PSK has two = too many at its end", (psk) => `${psk}==`, true);
    },
  },
  {
    id: "product-secret",
    where: "key",
    mend: "Sign with this device's PSK; the ProductSecret signs registrations only.",
    *variants({ others }) {
      for (const [index, { name, secret }] of others.entries()) {
        yield key(`the key is ${name}`, () => Buffer.from(secret), index > 0);
      }
    },
  },
  {
    id: "psk-letter-case",
    where: "key",
    mend: "Keep the PSK's upper and lower case as the console shows it.",
    *variants() {
      yield keyText("the PSK is in lower case", (psk) => psk.toLowerCase());
      yield keyText("the PSK is in upper case", (psk) => psk.toUpperCase(), true);
    },
  },
  {
    id: "psk-encoded",
    where: "key",
    mend: "Use the PSK as shown in the console, without encoding or escaping it again.",
    *variants() {
      yield key("the PSK was Base64-encoded once more", (bytes) => Buffer.from(bytes.toString("base64")));
      yield key("the PSK was written as hex", (bytes) => Buffer.from(bytes.toString("hex")), true);
      yield keyText("the PSK is percent-encoded", (psk) => encodeURIComponent(psk), true);
      yield keyText("the PSK's + became spaces, as in a URL", (psk) => psk.replaceAll("+", " "), true);
      yield keyText(
        "the PSK is in the URL alphabet of Base64",
        (psk) => psk.replaceAll("+", "-").replaceAll("/", "_"),
        true,
      );
    },
  },
  {
    id: "psk-quoted",
    where: "key",
    mend: "Leave the quotes out of the PSK; configuration files and the shell add them.",
    *variants() {
      yield keyText("the PSK is in double quotes", (psk) => `"${psk}"`);
      yield keyText("the PSK is in single quotes", (psk) => `'${psk}'`, true);
    },
  },
  {
    id: "psk-line-end",
    where: "key",
    mend: "Trim the PSK after reading it from a file or the serial console.",
    *variants() {
      for (const end of ["\n", "\r\n"]) {
        yield appended(`the PSK is followed by ${JSON.stringify(end)}`, end);
      }
      yield appended('the PSK is followed by "\\r"', "\r", true);
    },
  },
  {
    id: "psk-space",
    where: "key",
    mend: "Trim the PSK: a space was copied with it.",
    *variants() {
      yield appended('the PSK is followed by " "', " ");
      yield preceded("the PSK is preceded by a space", " ", true);
      yield preceded("the PSK is preceded by a byte order mark", "\ufeff", true);
    },
  },
  {
    id: "key-is-name",
    where: "key",
    mend: "Sign with the PSK of the device, which the console shows with its details.",
    *variants({ json }) {
      for (const name of ["DeviceName", "ProductId"]) {
        const value = json === undefined ? undefined : stringMember(json, name);
        if (value !== undefined) yield key(`the key is the ${name}`, () => Buffer.from(value), true);
      }
      yield key("the key is empty", () => Buffer.alloc(0), true);
    },
  },
  {
    id: "hmac-misused",
    where: "hash",
    mend: "HMAC takes the PSK as its key and the string to sign as its message.",
    *variants({ secret }) {
      if (secret === undefined) return;
      const built = (what: string, construction: Draft["construction"]) =>
        variant(
          what,
          (draft) => {
            draft.construction = construction;
          },
          construction !== "swapped",
        );
      yield built("HMAC with key and message swapped", "swapped");
      yield built("a hash of PSK and text instead of an HMAC", "key-first");
      yield built("a hash of text and PSK instead of an HMAC", "text-first");
    },
  },

  // The fields.
  {
    id: "method",
    where: "method",
    mend: "Sign POST, in upper case.",
    *variants({ request }) {
      const what = "another method";
      const { method } = request;
      yield* field("method", [
        ["post", "the method in lower case"],
        [method, what],
        ["Post", what, true],
        ["GET", what, true],
        ["PUT", what, true],
        ["", "no method", true],
      ]);
    },
  },
  {
    id: "host-other",
    where: "host",
    mend: "Sign the host that the request is sent to, as in its Host header.",
    *variants() {
      const what = "the host of a region of the real service";
      yield* field("host", [["", "no host", true]]);
      for (const host of SERVICE_HOSTS) yield* field("host", [[host, what, true]]);
      for (const host of ["localhost", "127.0.0.1", "[::1]"]) {
        yield* field("host", [[host, "another name of this host", true]]);
      }
      for (const host of ["iotcloud.tencentcloudapi.com", "gateway.tencentdevices.com"]) {
        yield* field("host", [[host, "the host of another service", true]]);
      }
    },
  },
  {
    id: "host-letter-case",
    where: "host",
    mend: "Sign the host in lower case.",
    *variants({ request }) {
      const host = hostWithoutPort(originOf(request).host);
      yield* field("host", [[host, "the host in its letter case, lower case is expected"]]);
    },
  },
  {
    id: "host-port",
    where: "host",
    mend: "Sign the host without its port.",
    *variants({ request }) {
      const own = /:(\d+)$/.exec(originOf(request).host)?.[1];
      const port = (text: string): Variant =>
        variant("the host with its port", (draft) => {
          draft.host += `:${text}`;
        });
      if (own !== undefined) yield port(own);
      for (const text of ["443", "80"]) yield port(text);
    },
  },
  {
    id: "host-scheme",
    where: "host",
    mend: "Sign the host alone, without https:// and without a slash.",
    *variants() {
      for (const scheme of ["https://", "http://"]) {
        yield variant(
          "the host with its scheme",
          (draft) => {
            draft.host = scheme + draft.host;
          },
          scheme === "http://",
        );
      }
      yield variant("the host with a slash", (draft) => {
        draft.host += "/";
      });
      yield variant(
        "the host with a dot at its end",
        (draft) => {
          draft.host += ".";
        },
        true,
      );
      yield variant(
        "the host with a space or line end",
        (draft) => {
          draft.host += "\r";
        },
        true,
      );
    },
  },
  {
    id: "host-upper-case",
    where: "host",
    mend: "Sign the host in lower case.",
    *variants() {
      yield variant("the host in upper case", (draft) => {
        draft.host = draft.host.toUpperCase();
      });
    },
  },
  {
    id: "path-other",
    where: "path",
    mend: "Sign the path that the request goes to.",
    *variants({ expected }) {
      for (const path of ["/device/publish", "/device/register", "/device/reportlog"]) {
        yield* field("path", [[path, "another path", true]]);
      }
      yield* field("path", [
        ["/", "the root path", true],
        ["", "no path"],
        [expected.path.toUpperCase(), "the path in upper case", true],
        [encodeURIComponent(expected.path), "the path percent-encoded", true],
      ]);
    },
  },
  {
    id: "path-slash",
    where: "path",
    mend: "Sign the path with the slash at its start and without one at its end.",
    *variants() {
      yield variant("the path with a slash at its end", (draft) => {
        draft.path += "/";
      });
      yield variant("the path without its slash", (draft) => {
        draft.path = draft.path.slice(1);
      });
      yield variant(
        "the path without the slash at its end",
        (draft) => {
          draft.path = draft.path.replace(/\/$/, "");
        },
        true,
      );
    },
  },
  {
    id: "path-query",
    where: "path",
    mend: "Sign the path without its query string.",
    *variants({ request }) {
      const query = queryOf(request);
      if (query === undefined) return;
      yield variant("the path with its query string", (draft) => {
        draft.path += `?${query}`;
      });
    },
  },
  {
    id: "path-url",
    where: "path",
    mend: "Sign the path alone, without scheme and host.",
    *variants({ request }) {
      for (const scheme of ["https", "http"]) {
        yield variant(
          "the whole URL",
          (draft) => {
            draft.path = `${scheme}://${originOf(request).host}${draft.path}`;
          },
          scheme === "http",
        );
      }
    },
  },
  {
    id: "query",
    where: "query",
    mend: "Leave the fourth line empty.",
    *variants({ request }) {
      const what = "the query string; the field is always empty";
      const query = queryOf(request);
      if (query !== undefined) {
        yield* field("query", [
          [query, what],
          [`?${query}`, what],
        ]);
      }
      for (const text of ["?", " ", "null", "undefined", "{}"]) {
        yield* field("query", [[text, "a query; the field is always empty", true]]);
      }
    },
  },
  {
    id: "algorithm-spelling",
    where: "algorithm",
    mend: "Write the algorithm in the string to sign as in the header, in lower case: hmacsha256, hmacsha1, rsa-sha256.",
    *variants({ expected, parts }) {
      const what = "an algorithm other than the header's";
      const { algorithm } = expected;
      const number = algorithm === "hmacsha1" ? "1" : "256";
      const spellings =
        algorithm === "rsa-sha256"
          ? ["rsasha256", "RSA-SHA256", "RsaSha256"]
          : [`HmacSha${number}`, `HmacSHA${number}`, `HMAC-SHA${number}`, `HMACSHA${number}`, `hmac-sha${number}`];
      yield* field("algorithm", [[parts.spelledAlgorithm, "the algorithm as the header spells it"]]);
      for (const name of spellings) yield* field("algorithm", [[name, what]]);
      const others = [
        `sha${number}`,
        `SHA${number}`,
        `hmac_sha${number}`,
        `Hmac-Sha${number}`,
        "HmacSha256",
        "HmacSHA256",
        "HmacSha1",
        "HmacSHA1",
        "TC3-HMAC-SHA256",
        "",
      ];
      for (const name of others) yield* field("algorithm", [[name, what, true]]);
    },
  },
  {
    id: "algorithm-other",
    where: "algorithm",
    mend: "Use one algorithm for the header, the string to sign, the body's hash and the signature.",
    *variants({ expected, body }) {
      for (const name of ["hmacsha256", "hmacsha1", "rsa-sha256"]) {
        if (name === expected.algorithm) continue;
        if (body !== undefined && bodyHashName(name) !== bodyHashName(expected.algorithm)) {
          yield variant("another algorithm than the header's, also for the body hash", (draft) => {
            draft.algorithm = name;
            draft.hash = bodyHashName(name);
          });
        }
        yield* field("algorithm", [[name, "an algorithm other than the header's", name === "rsa-sha256"]]);
      }
    },
  },
  {
    id: "timestamp-local",
    where: "timestamp",
    mend: "Count seconds since 1970 in UTC, for the header and the string to sign alike.",
    *variants({ parts, seldom }) {
      if (!isSeconds(parts)) return;
      for (const zone of ZONES) {
        const hours = Math.abs(zone / 3600);
        const isCommon = Math.abs(zone) === 8 * 3600;
        if (!isCommon && !seldom) continue;
        for (const by of isCommon ? [zone] : [zone, -zone]) {
          const side = by > 0 ? "ahead of" : "behind";
          yield later(`the time of a zone ${hours} h ${side} the header's`, by, !isCommon);
        }
      }
    },
  },
  {
    id: "timestamp-read-twice",
    where: "timestamp",
    mend: "Read the clock once, and use that number in the header and in the string to sign.",
    *variants({ parts, seldom }) {
      if (!isSeconds(parts)) return;
      for (let by = 1; by <= (seldom ? GUESSED_SECONDS : 1); by++) {
        // Both clock readings of one request are close together; a larger difference means that it was sent later or
        // changed.
        const what = by <= 3 ? "the clock was read twice" : "another time was signed";
        yield later(what, -by, by > 1);
        yield later(what, by, by > 1);
      }
    },
  },
  {
    id: "timestamp-milliseconds",
    where: "timestamp",
    mend: "Count seconds in the header and in the string to sign: Math.floor(Date.now() / 1000).",
    *variants({ parts, seldom }) {
      if (!isSeconds(parts)) return;
      const { timestamp } = parts;
      if (timestamp.length > 11) {
        yield* field("timestamp", [[timestamp.slice(0, -3), "seconds where the header has milliseconds"]]);
      }
      for (let ms = 0; ms < (seldom ? 1000 : 1); ms++) {
        yield variant(
          "milliseconds where the header has seconds",
          (draft) => {
            draft.timestamp += String(ms).padStart(3, "0");
          },
          ms > 0,
        );
      }
    },
  },
  {
    id: "timestamp-form",
    where: "timestamp",
    mend: "Sign the timestamp as the header has it: decimal digits.",
    *variants({ parts }) {
      const { timestamp } = parts;
      yield* field("timestamp", [
        [`${timestamp}.0`, "a number with a fraction", true],
        [`${timestamp}.000000`, "a number with a fraction", true],
        ["", "no timestamp", true],
      ]);
      if (/^[0-9]+$/.test(timestamp)) {
        const hex = BigInt(timestamp).toString(16);
        yield* field("timestamp", [[hex, "a number in hex", true]]);
      }
    },
  },
  {
    id: "nonce",
    where: "nonce",
    mend: "Draw the nonce once, and use it in the header and in the string to sign.",
    *variants({ parts }) {
      const { nonce } = parts;
      yield* field("nonce", [
        ["", "no nonce"],
        ["0", "another nonce", true],
        [`${nonce}.0`, "a number with a fraction", true],
      ]);
      if (!Number.isSafeInteger(Number(nonce))) return;
      for (const by of [1, -1]) {
        yield* field("nonce", [[String(Number(nonce) + by), "the nonce was counted on", true]]);
      }
    },
  },
  {
    id: "timestamp-nonce-swapped",
    where: "layout",
    mend: "The timestamp is the sixth line, the nonce the seventh.",
    *variants() {
      yield variant("timestamp and nonce are swapped", (draft) => {
        [draft.timestamp, draft.nonce] = [draft.nonce, draft.timestamp];
      });
    },
  },

  // The body: which bytes were hashed, in the order in which a client creates them.
  {
    id: "body-original",
    where: "bodyHash",
    mend: "Send the file as it is: curl --data-binary @FILE; -d leaves out line breaks.",
    *variants({ request }) {
      for (const { what, bytes } of request.originals ?? []) yield step(what, what, () => Buffer.from(bytes));
    },
  },
  {
    id: "body-base64",
    where: "bodyHash",
    mend: "Encode the payload first, then build, hash and send the body.",
    *variants(context) {
      const json = inJson(context);
      const payload = json && stringMember(json, "Payload");
      if (payload === undefined) return;
      const bytes = Buffer.from(payload, "base64");
      if (payload !== "" && bytes.toString("base64") === payload) {
        const what = "the body as it was before its payload was Base64-encoded";
        const plain = bytes.toString("utf8");
        yield jsonStep(what, "plain", (node) => replaceMember(node, "Payload", plain));
        yield jsonStep(`${what}, without PayloadEncoding`, "plain, bare", (node) =>
          replaceMember(replaceMember(node, "Payload", plain), "PayloadEncoding", undefined),
        );
      }
      const encoded = Buffer.from(payload).toString("base64");
      yield jsonStep(
        "the body with its payload in Base64, which is sent plain",
        "encoded",
        (node) => replaceMember(node, "Payload", encoded),
        true,
      );
    },
  },
  {
    id: "body-topic",
    where: "bodyHash",
    mend: "Complete the topic to PRODUCT/DEVICE/NAME first, then hash the body.",
    *variants(context) {
      const json = inJson(context);
      const topic = json && stringMember(json, "TopicName");
      if (topic === undefined) return;
      const short = topic.slice(topic.lastIndexOf("/") + 1);
      yield jsonStep("the body before its topic was completed", "topic", (node) =>
        replaceMember(node, "TopicName", short),
      );
    },
  },
  {
    id: "body-order",
    where: "bodyHash",
    mend: SEND_WHAT_WAS_HASHED,
    *variants(context) {
      const json = inJson(context);
      if (json === undefined) return;
      yield jsonStep(`${again} (sorted when it was hashed)`, "sorted", sortMembers);
      yield jsonStep(`${again} (in the documented order when it was hashed)`, "documented", (node) =>
        orderMembers(node, DOCUMENTED_ORDER),
      );
      if (!context.seldom || (context.body as Buffer).length > 4096) return;
      let index = 0;
      for (const order of permutations(json)) {
        yield jsonStep(`${again} (in another order when it was hashed)`, `order ${index++}`, () => order, true);
      }
    },
  },
  {
    id: "body-spacing",
    where: "bodyHash",
    mend: SEND_WHAT_WAS_HASHED,
    *variants(context) {
      if (inJson(context) === undefined) return;
      for (const [index, style] of jsonStyles.entries()) {
        yield textStep(
          `${again} (${style.what} when it was hashed)`,
          style.what,
          (text) => rewrite(text, (node) => writeJson(node, style)),
          index > 4,
        );
      }
    },
  },
  {
    id: "body-numbers",
    where: "bodyHash",
    mend: SEND_WHAT_WAS_HASHED,
    *variants(context) {
      if (inJson(context) === undefined) return;
      yield jsonStep(`${again} (with JavaScript's numbers when it was hashed)`, "numbers", rewriteNumbers);
    },
  },
  {
    id: "body-escapes",
    where: "bodyHash",
    mend: `${SEND_WHAT_WAS_HASHED} Libraries escape non-ASCII text and slashes differently.`,
    *variants(context) {
      if (inJson(context) === undefined) return;
      yield textStep(`${again} (escaped to ASCII when it was hashed)`, "ascii", (text) =>
        text.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`),
      );
      yield textStep(`${again} (not escaped to ASCII when it was hashed)`, "unicode", (text) =>
        text.replace(/\\u(?!00[0-7])[0-9a-f]{4}/gi, (unit) => JSON.parse(`"${unit}"`) as string),
      );
      yield textStep(`${again} (with escaped slashes when it was hashed)`, "slashes", (text) =>
        text.replaceAll("\\/", "/").replaceAll("/", "\\/"),
      );
      yield textStep(`${again} (without escaped slashes when it was hashed)`, "bare slashes", (text) =>
        text.replaceAll("\\/", "/"),
      );
      yield textStep(
        `${again} (with <, > and & escaped, as Go writes them, when it was hashed)`,
        "html",
        (text) => text.replace(/[<>&]/g, (unit) => `\\u00${unit.charCodeAt(0).toString(16)}`),
        true,
      );
    },
  },
  {
    id: "body-payload",
    where: "bodyHash",
    mend: "Hash the whole body, as it is sent.",
    *variants(context) {
      const json = inJson(context);
      const payload = json && stringMember(json, "Payload");
      if (payload === undefined) return;
      yield step("the payload alone, the whole body is expected", "payload", () => Buffer.from(payload));
      yield step(
        "the decoded payload alone, the whole body is expected",
        "decoded payload",
        () => Buffer.from(payload, "base64"),
        true,
      );
    },
  },
  {
    id: "body-white-space",
    where: "bodyHash",
    mend: "Hash the bytes that are sent, with the line feed at the end if it is sent, and without if not.",
    *variants({ body, text }) {
      if (body === undefined) return;
      const ended = (end: string) => (bytes: Buffer) => Buffer.concat([bytes, Buffer.from(end)]);
      yield step('the body followed by "\\n"', "lf", ended("\n"));
      yield step('the body followed by "\\r\\n"', "crlf", ended("\r\n"));
      yield step('the body followed by "\\0"', "nul", ended("\0"));
      if (text !== undefined) {
        yield textStep("the body without the white space around it", "trimmed", (whole) => whole.trim());
        yield textStep("the body with CR LF instead of LF", "dos", (all) => all.replace(/\r?\n/g, "\r\n"), true);
        yield textStep("the body with LF instead of CR LF", "unix", (all) => all.replaceAll("\r\n", "\n"), true);
      }
    },
  },
  {
    id: "body-encoding",
    where: "bodyHash",
    mend: "Encode the body in UTF-8 once, then hash and send those bytes.",
    *variants({ body, text }) {
      if (body === undefined || text === undefined) return;
      yield textStep("the body with a byte order mark", "bom", (whole) => `\ufeff${whole}`, true);
      yield step("the body in Latin-1, UTF-8 is sent", "latin1", (bytes) => Buffer.from(bytes.toString(), "latin1"));
      yield step("the body in UTF-16", "utf16", (bytes) => Buffer.from(bytes.toString(), "utf16le"), true);
      yield step(
        "the body encoded in UTF-8 twice",
        "twice",
        (bytes) => Buffer.from(bytes.toString("latin1"), "utf8"),
        true,
      );
      yield textStep("the body as a JSON text", "quoted", (whole) => JSON.stringify(whole), true);
      yield step("the body in Base64", "base64", (bytes) => Buffer.from(bytes.toString("base64")), true);
    },
  },
  {
    id: "body-empty",
    where: "bodyHash",
    mend: "Hash the body that is sent; a form field, a stream or a wrong variable was hashed instead.",
    *variants({ body }) {
      if (body !== undefined) yield step("the hash of an empty body", "empty", () => Buffer.alloc(0));
      if (body !== undefined) {
        yield step("the hash of a value that was not text", "object", () => Buffer.from("[object Object]"), true);
      }
    },
  },

  // How it was hashed, and how the hash is written.
  {
    id: "body-hash-function",
    where: "bodyHash",
    mend: "Hash the body with SHA-256 for hmacsha256 and rsa-sha256, with SHA-1 for hmacsha1.",
    *variants({ body, expected }) {
      if (body === undefined) return;
      const right = bodyHashName(expected.algorithm);
      const other = right === "sha1" ? "sha256" : "sha1";
      const hashed = (what: string, name: string, lone: boolean): Variant =>
        variant(
          what,
          (draft) => {
            draft.hash = name;
          },
          lone,
        );
      yield hashed(`the body hashed with ${other.toUpperCase()} instead of ${right.toUpperCase()}`, other, false);
      yield hashed("the body hashed with MD5", "md5", true);
      yield hashed("the body's HMAC, a plain hash is expected", "hmac", true);
    },
  },
  {
    id: "body-hash-form",
    where: "bodyHash",
    mend: "Write the body's hash in lower-case hex.",
    *variants() {
      yield form("the hash in upper-case hex", "upper", (hash) => hash.toUpperCase());
      yield form("the hash in Base64, hex is expected", "base64", (hash) =>
        Buffer.from(hash, "hex").toString("base64"),
      );
      yield form(
        "the hash in Base64 of its hex",
        "base64 of hex",
        (hash) => Buffer.from(hash).toString("base64"),
        true,
      );
      yield form(
        "the hash of the hash",
        "twice",
        (hash, { hash: name }) =>
          createHash(name === "hmac" ? "sha256" : name)
            .update(hash)
            .digest("hex"),
        true,
      );
    },
  },
  {
    id: "body-hash-missing",
    where: "bodyHash",
    mend: "The eighth line is the body's hash in lower-case hex.",
    *variants({ body }) {
      yield form("no hash", "none", () => "");
      if (body === undefined) return;
      yield form("the body itself, not its hash", "body", (_hash, _draft, hashed) => hashed().toString("utf8"));
    },
  },

  // How the lines are joined.
  {
    id: "layout-lines",
    where: "layout",
    mend: "Sign eight lines; the fourth, for the query string, is empty.",
    *variants() {
      const without = (index: number) => (fields: SignedFields) =>
        lines(fields)
          .filter((_, at) => at !== index)
          .join("\n");
      yield layout("the empty line of the query string is missing", without(3));
      yield layout("the line of the algorithm is missing", without(4), true);
      yield layout("the line of the body's hash is missing", without(7), true);
      yield layout("the line of the method is missing", without(0), true);
      yield layout("fields are joined by nothing, a line feed is expected", (fields) => lines(fields).join(""), true);
      yield layout("fields are joined by &, a line feed is expected", (fields) => lines(fields).join("&"), true);
      yield layout("fields are joined by spaces, a line feed is expected", (fields) => lines(fields).join(" "), true);
    },
  },
  {
    id: "layout-line-end",
    where: "layout",
    mend: "Join the eight lines with a single line feed (\\n) between them, none at the end.",
    *variants() {
      yield layout("a line feed at the end, none is expected", (_, text) => `${text}\n`);
      yield layout("a line feed at the start, none is expected", (_, text) => `\n${text}`, true);
      yield layout("lines end in CR LF, LF alone is expected", (_, text) => text.replaceAll("\n", "\r\n"));
      yield layout(
        "lines end in CR LF, LF alone is expected, none at the end",
        (_, text) => `${text.replaceAll("\n", "\r\n")}\r\n`,
        true,
      );
      yield layout("a NUL at the end, none is expected", (_, text) => `${text}\0`);
      yield layout("lines are joined by a backslash and an n, a line feed is expected", (_, text) =>
        text.replaceAll("\n", "\\n"),
      );
    },
  },
];

function queryOf(request: SentRequest): string | undefined {
  const { target } = originOf(request);
  return target.includes("?") ? target.slice(target.indexOf("?") + 1) : undefined;
}

function isSeconds({ timestamp }: SignatureParts): boolean {
  return /^[0-9]{1,15}$/.test(timestamp);
}

/** Returns the fields of a draft; undefined if a step does not apply to this body. */
export function fieldsOf(draft: Draft, context: Context): SignedFields | undefined {
  let bodyHash = context.expected.bodyHash;
  if (
    context.body !== undefined &&
    (draft.body.length > 0 || draft.hash !== bodyHashName(context.expected.algorithm))
  ) {
    const id = `${draft.hash}|${draft.body.map((one) => one.id).join("|")}`;
    const known = context.hashes.get(id);
    const hash = known === undefined && !context.hashes.has(id) ? hashBody(draft, context) : known;
    context.hashes.set(id, hash);
    if (hash === undefined) return undefined;
    bodyHash = hash;
  }
  for (const { id, run } of draft.forms) {
    if (id === "twice") context.spend();
    bodyHash = run(bodyHash, draft, () => hashedBytes(draft, context) ?? Buffer.alloc(0));
  }
  const { method, host, path, query, algorithm, timestamp, nonce } = draft;
  return { method, host, path, query, algorithm, timestamp, nonce, bodyHash };
}

/** Returns the bytes that were hashed; undefined if a step does not apply. */
function hashedBytes(draft: Draft, { body }: Context): Buffer | undefined {
  let bytes = body;
  for (const { run } of draft.body) bytes = bytes === undefined ? undefined : run(bytes);
  return bytes;
}

function hashBody(draft: Draft, context: Context): string | undefined {
  const bytes = hashedBytes(draft, context);
  if (bytes === undefined) return undefined;
  const { secret } = context;
  context.spend();
  if (draft.hash !== "hmac") return createHash(draft.hash).update(bytes).digest("hex");
  return secret === undefined ? undefined : createHmac("sha256", secret).update(bytes).digest("hex");
}
