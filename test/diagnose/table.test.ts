/** Every mistake of the table is found, each of its variants, and named with a line on how to mend it. */

import { createHash, createHmac, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import { hmacOf } from "../../tools/diagnose/hmac.js";
import {
  type Deviation,
  DiagnoseError,
  type Diagnosis,
  describeDiagnosis,
  diagnose,
  type SentRequest,
  type SignedFields,
  visible,
} from "../../tools/diagnose/index.js";
import { mistakes } from "../../tools/diagnose/mistakes.js";
import { encodings } from "../../tools/diagnose/signature-text.js";

const psk = "lDZ6Uqt+I9E0wW7rvDUs7Q==";
const productSecret = "hzvf5LF9S0isvBhDSauWMaIk";
const SECONDS = "1800000000";
const NONCE = "1804289383";
const payload = JSON.stringify({ t: 21.5, place: "温室" });
const message = {
  ProductId: "P1",
  DeviceName: "Dev1",
  TopicName: "P1/Dev1/data",
  Payload: payload,
  Qos: 1,
};
const compact = JSON.stringify(message);

interface Case {
  readonly body?: string | Buffer;
  readonly target?: string;
  readonly host?: string;
  readonly algorithm?: "hmacsha256" | "hmacsha1";
  readonly headers?: Record<string, string>;
  readonly originals?: SentRequest["originals"];
  /** What is signed in the place of the right key, fields, body, text and encoding. */
  readonly key?: string | Buffer;
  readonly fields?: Partial<SignedFields>;
  readonly hashed?: string | Buffer;
  readonly text?: (text: string) => string;
  readonly mac?: (text: string) => Buffer;
  readonly write?: (signature: Buffer) => string;
}

const digest = (name: string, data: string | Buffer) => createHash(name).update(data).digest();
const sha256 = (data: string | Buffer) => digest("sha256", data).toString("hex");

function requestOf(made: Case): SentRequest {
  const { algorithm = "hmacsha256", target = "/device/publish", host = "Gateway.Example:8443", body = compact } = made;
  const name = algorithm === "hmacsha1" ? "sha1" : "sha256";
  const fields = {
    method: "POST",
    host: host.split(":")[0].toLowerCase(),
    path: target.split("?")[0],
    query: "",
    algorithm,
    timestamp: SECONDS,
    nonce: NONCE,
    bodyHash: digest(name, made.hashed ?? body).toString("hex"),
    ...made.fields,
  };
  const text = Object.values(fields).join("\n");
  const laid = made.text?.(text) ?? text;
  const signature =
    made.mac?.(laid) ??
    createHmac(name, made.key ?? psk)
      .update(laid)
      .digest();
  return {
    method: "POST",
    target,
    host,
    headers: {
      "content-type": "application/json; charset=utf-8",
      "x-tc-algorithm": algorithm,
      "x-tc-timestamp": SECONDS,
      "x-tc-nonce": NONCE,
      "x-tc-signature": made.write?.(signature) ?? signature.toString("base64"),
      ...made.headers,
    },
    body: Buffer.from(body),
    originals: made.originals,
  };
}

const others = [{ name: "the ProductSecret", secret: productSecret }];
const diagnosisOf = (made: Case): Diagnosis => diagnose(requestOf(made), { secret: psk, others });

const again = (how: (value: typeof message) => string): Case => ({ hashed: how(message) });
const python = (value: object): string =>
  JSON.stringify(value)
    .replace(/(?<!\\)":/g, '": ')
    .replace(/,"/g, ', "');
const encoded = { ...message, Payload: Buffer.from(payload).toString("base64"), PayloadEncoding: "Base64" };
const layouts = (change: (lines: string[]) => string): Case => ({ text: (text) => change(text.split("\n")) });

/** Each mistake by its id; where the name says more, it it is one of its variants. */
const table: readonly [id: string, name: string, made: Case, words: RegExp][] = [
  ["psk-decoded", "bytes", { key: Buffer.from(psk, "base64") }, /Base64-decoded; its text/],
  ["psk-decoded", "as text", { key: Buffer.from(psk, "base64").toString() }, /decoded into text/],
  ["psk-decoded", "as hex", { key: Buffer.from(psk, "base64").toString("hex") }, /written as hex/],
  ["psk-padding", "without ==", { key: psk.slice(0, -2) }, /lost its trailing =/],
  ["psk-padding", "without one =", { key: psk.slice(0, -1) }, /lost one of its trailing =/],
  ["psk-padding", "with another =", { key: `${psk}=` }, /too many/],
  ["product-secret", "", { key: productSecret }, /the ProductSecret/],
  ["psk-letter-case", "lower", { key: psk.toLowerCase() }, /lower case/],
  ["psk-letter-case", "upper", { key: psk.toUpperCase() }, /upper case/],
  ["psk-encoded", "Base64", { key: Buffer.from(psk).toString("base64") }, /encoded once more/],
  ["psk-encoded", "percent", { key: encodeURIComponent(psk) }, /percent-encoded/],
  ["psk-encoded", "form", { key: psk.replace("+", " ") }, /became spaces/],
  ["psk-encoded", "URL alphabet", { key: psk.replace("+", "-") }, /URL alphabet/],
  ["psk-quoted", "double", { key: `"${psk}"` }, /in double quotes/],
  ["psk-quoted", "single", { key: `'${psk}'` }, /single quotes/],
  ["psk-line-end", "LF", { key: `${psk}\n` }, /followed by "\\n"/],
  ["psk-line-end", "CR LF", { key: `${psk}\r\n` }, /followed by "\\r\\n"/],
  ["psk-space", "behind", { key: `${psk} ` }, /followed by " "/],
  ["psk-space", "in front", { key: ` ${psk}` }, /preceded by a space/],
  ["psk-space", "byte order mark", { key: `\ufeff${psk}` }, /byte order mark/],
  ["key-is-name", "DeviceName", { key: "Dev1" }, /the DeviceName/],
  ["key-is-name", "empty", { key: "" }, /key is empty/],
  ["hmac-misused", "swapped", { mac: (text) => createHmac("sha256", text).update(psk).digest() }, /swapped/],
  ["hmac-misused", "hash of both", { mac: (text) => digest("sha256", psk + text) }, /instead of an HMAC/],
  ["hmac-hash", "", { mac: (text) => createHmac("sha1", psk).update(text).digest() }, /HMAC-SHA1 instead of SHA256/],
  ["method", "lower case", { fields: { method: "post" } }, /method in lower case/],
  ["method", "GET", { fields: { method: "GET" } }, /another method/],
  ["host-letter-case", "", { fields: { host: "Gateway.Example" } }, /letter case/],
  ["host-port", "", { fields: { host: "gateway.example:8443" } }, /with its port/],
  ["host-port", "443", { fields: { host: "gateway.example:443" } }, /with its port/],
  ["host-scheme", "https", { fields: { host: "https://gateway.example" } }, /with its scheme/],
  ["host-scheme", "slash", { fields: { host: "gateway.example/" } }, /with a slash/],
  ["host-upper-case", "", { fields: { host: "GATEWAY.EXAMPLE" } }, /upper case/],
  ["host-other", "", { fields: { host: "ap-guangzhou.gateway.tencentdevices.com" } }, /region/],
  ["host-other", "API", { fields: { host: "iotcloud.tencentcloudapi.com" } }, /another service/],
  ["path-slash", "behind", { fields: { path: "/device/publish/" } }, /slash at its end/],
  ["path-slash", "in front", { fields: { path: "device/publish" } }, /without its slash/],
  ["path-query", "", { target: "/device/publish?a=1", fields: { path: "/device/publish?a=1" } }, /query string/],
  ["path-url", "", { fields: { path: "https://Gateway.Example:8443/device/publish" } }, /whole URL/],
  ["path-other", "", { fields: { path: "/device/register" } }, /another path/],
  ["query", "", { target: "/device/publish?a=1", fields: { query: "a=1" } }, /always empty/],
  ["query", "null", { fields: { query: "null" } }, /always empty/],
  ["algorithm-spelling", "", { fields: { algorithm: "HmacSha256" } }, /other than the header's/],
  [
    "algorithm-spelling",
    "as the header",
    { headers: { "x-tc-algorithm": "HMAC-SHA256" }, fields: { algorithm: "HMAC-SHA256" } },
    /as the header spells it/,
  ],
  ["algorithm-other", "name", { fields: { algorithm: "hmacsha1" } }, /other than the header's/],
  ["timestamp-milliseconds", "", { fields: { timestamp: `${SECONDS}347` } }, /milliseconds where the header/],
  [
    "timestamp-milliseconds",
    "in the header",
    { headers: { "x-tc-timestamp": `${SECONDS}347` } },
    /seconds where the header has milliseconds/,
  ],
  ["timestamp-local", "China", { fields: { timestamp: String(+SECONDS + 8 * 3600) } }, /8 h ahead/],
  ["timestamp-local", "India", { fields: { timestamp: String(+SECONDS - 5.5 * 3600) } }, /5.5 h behind/],
  ["timestamp-read-twice", "", { fields: { timestamp: String(+SECONDS - 1) } }, /read twice/],
  ["timestamp-form", "", { fields: { timestamp: `${SECONDS}.0` } }, /fraction/],
  ["nonce", "empty", { fields: { nonce: "" } }, /no nonce/],
  ["nonce", "counted", { fields: { nonce: String(+NONCE + 1) } }, /counted on/],
  ["timestamp-nonce-swapped", "", { fields: { timestamp: NONCE, nonce: SECONDS } }, /swapped/],
  ["body-base64", "before", { body: JSON.stringify(encoded), hashed: compact }, /before its payload.*PayloadEncoding/],
  [
    "body-base64",
    "with PayloadEncoding",
    { body: JSON.stringify(encoded), hashed: JSON.stringify({ ...encoded, Payload: payload }) },
    /before its payload was Base64/,
  ],
  ["body-topic", "", again((value) => JSON.stringify({ ...value, TopicName: "data" })), /topic was completed/],
  [
    "body-order",
    "sorted",
    again((value) => JSON.stringify(Object.fromEntries(Object.entries(value).sort()))),
    /sorted when/,
  ],
  [
    "body-order",
    "any",
    again(({ Qos, Payload, ...rest }) => JSON.stringify({ Qos, ...rest, Payload })),
    /another order/,
  ],
  ["body-spacing", "Python", again(python), /as Python writes it/],
  ["body-spacing", "indented", again((value) => JSON.stringify(value, null, 2)), /indented by two/],
  ["body-spacing", "tabs", again((value) => JSON.stringify(value, null, "\t")), /indented by a tab/],
  ["body-spacing", "compact", { body: JSON.stringify(message, null, 4), hashed: compact }, /compact when/],
  ["body-numbers", "", { body: '{"ProductId":"P1","Qos":1.0}', hashed: '{"ProductId":"P1","Qos":1}' }, /numbers/],
  [
    "body-escapes",
    "ASCII",
    again((value) => JSON.stringify(value).replace("温室", "\\u6e29\\u5ba4")),
    /escaped to ASCII when/,
  ],
  [
    "body-escapes",
    "unescaped",
    { body: compact.replace("温室", "\\u6e29\\u5ba4"), hashed: compact },
    /not escaped to ASCII/,
  ],
  ["body-escapes", "slashes", again((value) => JSON.stringify(value).replaceAll("/", "\\/")), /escaped slashes/],
  ["body-payload", "", { hashed: payload }, /payload alone/],
  ["body-white-space", "LF", { hashed: `${compact}\n` }, /followed by "\\n"/],
  ["body-white-space", "CR LF", { hashed: `${compact}\r\n` }, /followed by "\\r\\n"/],
  ["body-white-space", "NUL", { hashed: `${compact}\0` }, /followed by "\\0"/],
  ["body-white-space", "trimmed", { body: `${compact}\n`, hashed: compact }, /white space around/],
  ["body-encoding", "Latin-1", { body: compact.replace("温室", "Süd"), hashed: latin("Süd") }, /Latin-1/],
  ["body-encoding", "byte order mark", { hashed: `\ufeff${compact}` }, /byte order mark/],
  ["body-encoding", "JSON text", { hashed: JSON.stringify(compact) }, /as a JSON text/],
  ["body-empty", "", { hashed: "" }, /empty body/],
  ["body-empty", "object", { hashed: "[object Object]" }, /not text/],
  [
    "body-original",
    "",
    { hashed: "{\n}", originals: [{ what: "the file as it is", bytes: Buffer.from("{\n}") }] },
    /the file/,
  ],
  [
    "body-hash-function",
    "SHA-1",
    { fields: { bodyHash: digest("sha1", compact).toString("hex") } },
    /SHA1 instead of SHA256/,
  ],
  [
    "body-hash-function",
    "SHA-256",
    { algorithm: "hmacsha1", fields: { bodyHash: sha256(compact) } },
    /SHA256 instead of SHA1/,
  ],
  ["body-hash-function", "MD5", { fields: { bodyHash: digest("md5", compact).toString("hex") } }, /MD5/],
  [
    "body-hash-function",
    "HMAC",
    { fields: { bodyHash: createHmac("sha256", psk).update(compact).digest("hex") } },
    /body's HMAC/,
  ],
  ["body-hash-form", "upper case", { fields: { bodyHash: sha256(compact).toUpperCase() } }, /upper-case hex/],
  [
    "body-hash-form",
    "Base64",
    { fields: { bodyHash: digest("sha256", compact).toString("base64") } },
    /in Base64, hex/,
  ],
  ["body-hash-form", "twice", { fields: { bodyHash: sha256(sha256(compact)) } }, /hash of the hash/],
  ["body-hash-missing", "", { fields: { bodyHash: "" } }, /no hash/],
  ["body-hash-missing", "body", { fields: { bodyHash: compact } }, /body itself/],
  ["layout-lines", "", layouts((lines) => lines.filter(Boolean).join("\n")), /empty line/],
  ["layout-lines", "nothing", layouts((lines) => lines.join("")), /joined by nothing/],
  ["layout-line-end", "LF", layouts((lines) => `${lines.join("\n")}\n`), /line feed at the end/],
  ["layout-line-end", "CR LF", layouts((lines) => lines.join("\r\n")), /CR LF/],
  ["layout-line-end", "\\n", layouts((lines) => lines.join("\\n")), /backslash/],
  ["layout-line-end", "NUL", layouts((lines) => `${lines.join("\n")}\0`), /NUL at the end/],
  ["signature-hex", "", { write: (bytes) => bytes.toString("hex") }, /is in hex/],
  ["signature-hex", "upper case", { write: (bytes) => bytes.toString("hex").toUpperCase() }, /is in hex/],
  [
    "signature-base64-of-hex",
    "",
    { write: (bytes) => Buffer.from(bytes.toString("hex")).toString("base64") },
    /Base64 of its hex/,
  ],
  ["signature-unpadded", "", { write: (bytes) => bytes.toString("base64").replace("=", "") }, /lost its padding/],
  ["signature-url-alphabet", "", { key: urlKey(), write: (bytes) => bytes.toString("base64url") }, /URL alphabet/],
  [
    "signature-percent-encoded",
    "",
    { write: (bytes) => encodeURIComponent(bytes.toString("base64")) },
    /percent-encoded/,
  ],
  [
    "signature-plus-as-space",
    "",
    { key: urlKey(), write: (bytes) => bytes.toString("base64").replaceAll("+", " ") },
    /became spaces/,
  ],
  ["signature-quoted", "", { write: (bytes) => `"${bytes.toString("base64")}"` }, /in quotes/],
  ["signature-prefixed", "", { write: (bytes) => `sha256=${bytes.toString("base64")}` }, /prefix/],
  ["signature-prefixed", "hex", { write: (bytes) => `sha256=${bytes.toString("hex")}` }, /prefix/],
  [
    "signature-line-ends",
    "",
    { write: (bytes) => bytes.toString("base64").replace(/^(.{20})/, "$1\\n") },
    /broken into lines/,
  ],
];

function latin(place: string): Buffer {
  return Buffer.from(compact.replace("温室", place), "latin1");
}
/** The key that makes a signature with a plus in it: the psk without its = where the psk alone does not. */
function urlKey(): string {
  return [psk, `${psk}\n`, `${psk} `, psk.slice(0, -2), `"${psk}"`, psk.toLowerCase()].find((key) => {
    const signature = requestOf({ key }).headers["x-tc-signature"] as string;
    return /^[^+]+\+[^+]+=$/.test(signature);
  }) as string;
}

describe("alone", () => {
  test.each(table)("%s is found: %s", (id, _name, made, words) => {
    const { verdict, deviations, message: text, hashes } = diagnosisOf(made);
    expect(verdict).toBe("explained");
    // A specific key gives a signature with the characters that the encoding changes.
    const ids = deviations.map((deviation) => deviation.id).filter((one) => made.key === undefined || one === id);
    expect(ids).toEqual([id]);
    expect(text).toMatch(words);
    expect(deviations.every(({ mend }) => /^[A-Z].*\.$/.test(mend))).toBe(true);
    expect(hashes).toBeLessThanOrEqual(20_000);
    expect(JSON.stringify(diagnosisOf(made))).not.toContain(psk);
  });

  test("every known mistake is in this table", () => {
    const known = [...mistakes.map(({ id }) => id), ...Object.values<Deviation>(encodings).map(({ id }) => id)];
    expect([...new Set(table.map(([id]) => id))].sort()).toEqual([...known, "hmac-hash"].sort());
  });
});

test("another algorithm for name, body hash and HMAC is reported as one cause", () => {
  const mac = (text: string) => createHmac("sha1", psk).update(text).digest();
  const bodyHash = digest("sha1", compact).toString("hex");
  const { deviations } = diagnosisOf({ mac, fields: { algorithm: "hmacsha1", bodyHash } });
  expect(deviations.map(({ id }) => id)).toEqual(["hmac-hash", "algorithm-other"]);
});

test("a NUL after the PSK has no effect, since HMAC pads its key with zeros", () => {
  expect(diagnosisOf({ key: `${psk}\0` }).verdict).toBe("matches");
});

test("a correct signature is recognized with one hash besides the body's", () => {
  expect(diagnosisOf({})).toMatchObject({ verdict: "matches", hashes: 2, problems: [], deviations: [] });
});

describe("a changed request has no cause", () => {
  test.each<[string, Partial<SentRequest> | ((sent: SentRequest) => Partial<SentRequest>)]>([
    ["body", { body: Buffer.from(compact.replace("21.5", "21.6")) }],
    ["host", { host: "gatewax.example:8443" }],
    ["nonce", ({ headers }) => ({ headers: { ...headers, "x-tc-nonce": "1804289333" } })],
  ])("%s", (_name, change) => {
    const right = requestOf({});
    const {
      verdict,
      deviations,
      message: text,
      signed,
      ruledOut,
    } = diagnose({ ...right, ...(typeof change === "function" ? change(right) : change) }, { secret: psk });
    expect({ verdict, deviations, signed }).toEqual({ verdict: "key-or-text", deviations: [], signed: undefined });
    expect(text).toMatch(/cannot be distinguished/);
    expect(ruledOut).toEqual(expect.arrayContaining(["psk-decoded", "host-port", "body-spacing", "layout-line-end"]));
  });

  test("mistakes that were not tried are not reported as ruled out", () => {
    const request = { ...requestOf({}), host: "another.example" };
    const few = diagnose(request, { secret: psk }, { maxHashes: 500 });
    expect(few).toMatchObject({ ruledOut: [], pairsRuledOut: false, hashes: 500 });
    expect(describeDiagnosis(few).join("\n")).not.toMatch(/ruled out/i);
    const all = describeDiagnosis(diagnose(request, { secret: psk }));
    expect(all.join("\n")).toMatch(/Ruled out with this key and request, each alone: psk-decoded, /);
    expect(all.join("\n")).toMatch(/Each pair of common mistakes is ruled out/);
  });
});

describe("the form of headers", () => {
  test.each<[string, Case, number | undefined, RegExp]>([
    ["spelled algorithm", { headers: { "x-tc-algorithm": "HmacSHA256" } }, undefined, /does not support/],
    ["milliseconds", { headers: { "x-tc-timestamp": `${SECONDS}000` } }, undefined, /counts milliseconds/],
    ["uptime", { headers: { "x-tc-timestamp": "1234" } }, undefined, /start of the device/],
    ["content type", { headers: { "content-type": "text/plain" } }, undefined, /not application\/json/],
    ["nonce", { headers: { "x-tc-nonce": "0x12" } }, undefined, /not a decimal integer/],
    ["local time", {}, (+SECONDS - 8 * 3600 - 2) * 1000, /8 h ahead of .* as local time/],
    ["late", {}, (+SECONDS + 1000) * 1000, /1000 s behind/],
  ])("is checked regardless of the signature: %s", (_name, made, sentAtMs, words) => {
    const { problems } = diagnose({ ...requestOf(made), sentAtMs }, { secret: psk }, { maxHashes: 50 });
    expect(problems.map((problem) => problem.message).join()).toMatch(words);
    expect(problems.every(({ mend }) => mend.length > 10)).toBe(true);
  });
});

test("invisible characters are visible, and no secret is printed", () => {
  const lines = describeDiagnosis(diagnosisOf({ key: `${psk}\n`, fields: { host: "gateway.example:8443" } }));
  expect(lines.find((line) => line.startsWith("> 2 host"))).toMatch(/gateway\.example {2,}gateway\.example:8443$/);
  expect(lines.join("\n")).toContain("→ Trim the PSK");
  expect(lines.join("\n")).not.toContain(psk.slice(0, 10));
  const nul = describeDiagnosis(diagnosisOf({ fields: { bodyHash: "" } }));
  expect(nul.find((line) => line.startsWith("> 8 bodyHash"))).toMatch(/\(empty\)$/);
  expect(visible("a\r\n\u00a0\u200b")).toBe("a␍␊\\u{a0}\\u{200b}");
});

test("the truncated signature of a trace suffices to find a wrong key", () => {
  const { headers, body: _body, ...rest } = requestOf({ key: psk.slice(0, -2) });
  const beginning = { ...headers, "x-tc-signature": (headers["x-tc-signature"] as string).slice(0, 12) };
  const trace = { ...rest, headers: beginning, isPrefix: true, bodyHash: sha256(compact) };
  expect(diagnose(trace, { secret: psk }).deviations.map(({ id }) => id)).toEqual(["psk-padding"]);
  expect(diagnose(trace, { secret: psk.slice(0, -2) }).verdict).toBe("matches");
  expect(diagnose(trace, { secret: "another key" }).verdict).toBe("key-or-text");
  const short = { ...trace, headers: { ...beginning, "x-tc-signature": "abcd" } };
  expect(diagnose(short, { secret: psk }).verdict).toBe("unreadable");
});

describe("RSA", () => {
  const pair = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const rsa = (fields: Partial<SignedFields> = {}, change: Case = {}): SentRequest =>
    requestOf({
      ...change,
      fields: { algorithm: "rsa-sha256", ...fields },
      headers: { "x-tc-algorithm": "rsa-sha256" },
      mac: (text) => sign("sha256", Buffer.from(text), pair.privateKey),
    });
  const privatePem = pair.privateKey.export({ type: "pkcs8", format: "pem" }) as string;
  const publicPem = pair.publicKey.export({ type: "spki", format: "pem" }) as string;

  test.each([
    ["private", privatePem],
    ["public", publicPem],
  ])("a %s key finds mistakes, alone and in pairs", (_name, rsaKey) => {
    expect(diagnose(rsa(), { rsaKey }).verdict).toBe("matches");
    const two = diagnose(rsa({ host: "gateway.example:8443", algorithm: "RSA-SHA256" }), { rsaKey });
    expect(two.deviations.map(({ id }) => id)).toEqual(["host-port", "algorithm-spelling"]);
    expect(diagnose(rsa({ nonce: "77" }), { rsaKey })).toMatchObject({ verdict: "text", deviations: [] });
    expect(JSON.stringify(two)).not.toContain("PRIVATE");
  });

  test("a trace is verified with the private key", () => {
    const { headers, body: _body, ...rest } = rsa();
    const beginning = { ...headers, "x-tc-signature": (headers["x-tc-signature"] as string).slice(0, 12) };
    const trace = { ...rest, headers: beginning, isPrefix: true, bodyHash: sha256(compact) };
    expect(diagnose(trace, { rsaKey: privatePem }).verdict).toBe("matches");
    expect(diagnose({ ...trace, host: "x" }, { rsaKey: privatePem }).verdict).toBe("key-or-text");
    expect(diagnose(trace, { rsaKey: publicPem }).verdict).toBe("key-or-text");
  });

  test("keys of the wrong type are rejected without being printed", () => {
    const cases = [
      () => diagnose(rsa(), { secret: psk }),
      () => diagnose(requestOf({}), { rsaKey: publicPem }),
      () => diagnose(rsa(), { rsaKey: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" }),
      () => diagnose(rsa(), { rsaKey: generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey }),
    ];
    for (const run of cases) {
      let caught: unknown;
      try {
        run();
      } catch (error) {
        caught = error;
      }
      expect(caught).toBeInstanceOf(DiagnoseError);
      expect(caught).toMatchObject({ code: "INVALID_KEY" });
      expect(String(caught)).not.toMatch(/AAAA|lDZ6/);
    }
  });
});

test("hmacOf returns the HMACs of node:crypto", () => {
  for (const length of [0, 1, 20, 63, 64, 65, 200]) {
    const key = randomBytes(length);
    for (const name of ["sha1", "sha256"] as const) {
      const hmac = hmacOf(name, key);
      for (const text of ["", "a", "温室\0", "x".repeat(300), "y".repeat(5000), "é".repeat(1400)]) {
        expect(hmac(text)).toBe(
          createHmac(name, key)
            .update(text)
            .digest("latin1" as "hex"),
        );
      }
    }
  }
});

test("large and binary bodies are diagnosed within the limits", () => {
  const large = JSON.stringify({ ...message, Payload: "x".repeat(40_000) });
  expect(diagnosisOf({ body: large, hashed: `${large}\n` }).deviations.map(({ id }) => id)).toEqual([
    "body-white-space",
  ]);
  const binary = Buffer.from([0xff, 0xfe, 0x00, 0x80]);
  expect(diagnosisOf({ body: binary, hashed: Buffer.concat([binary, Buffer.from("\n")]) }).verdict).toBe("explained");
  const deep = "[".repeat(10_000) + "]".repeat(10_000);
  expect(diagnosisOf({ body: deep, hashed: "something else" }).verdict).toBe("key-or-text");
});
