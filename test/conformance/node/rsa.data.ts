import { createPrivateKey, createSign } from "node:crypto";
import { readFileSync } from "node:fs";

const read = (name: string) => JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), "utf8"));
const keys: Record<string, string> = read("keys").keys;
const peerKeys: Record<string, string> = read("peers").rsa_test_key;
const key2048 = peerKeys["rsa2048_pkcs1.pem"] ?? "";

/** All forms in which one key can be given: PEM and DER, PKCS#1 and PKCS#8; DER as `base64:…`. */
export function derForms(pem: string): string[] {
  const key = createPrivateKey(pem);
  const der = (type: "pkcs1" | "pkcs8") => base64Form(key.export({ type, format: "der" }));
  return [pem, der("pkcs1"), der("pkcs8")];
}

function base64Form(bytes: Uint8Array): string {
  return `base64:${Buffer.from(bytes).toString("base64")}`;
}

function sign(privateKey: string, text: string): Buffer {
  return createSign("sha256").update(text).sign(privateKey);
}

const texts = ["", "abc", "a\nb\n\n漢😀", "x".repeat(200)];

function signatures(pem: string, form = pem): unknown {
  return {
    privateKey: form,
    signatures: texts.map((text) => ({ text, signature: sign(pem, text).toString("base64") })),
  };
}

const [, pkcs1 = "", pkcs8 = ""] = derForms(key2048);
const pkcs1Bytes = Buffer.from(pkcs1.slice(7), "base64");
const pkcs8Bytes = Buffer.from(pkcs8.slice(7), "base64");
const pkcs8Pem = peerKeys["rsa2048_pkcs8.pem"] ?? "";

function changed(bytes: Buffer, at: number): string {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return base64Form(copy);
}

/** The same key with one of its numbers (0 is the version) replaced. */
function withNumber(index: number, change: (value: Buffer) => Buffer): string {
  const numbers: Buffer[] = [];
  for (let at = 4; at < pkcs1Bytes.length; ) {
    const first = pkcs1Bytes[at + 1] ?? 0;
    const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
    const length = lengthBytes ? pkcs1Bytes.readUIntBE(at + 2, lengthBytes) : first;
    const start = at + 2 + lengthBytes;
    numbers.push(pkcs1Bytes.subarray(start, start + length));
    at = start + length;
  }
  numbers[index] = change(numbers[index] ?? Buffer.alloc(0));
  const header = (tag: number, length: number) =>
    Buffer.from(
      length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff],
    );
  const body = Buffer.concat(numbers.flatMap((each) => [header(2, each.length), each]));
  return base64Form(Buffer.concat([header(0x30, body.length), body]));
}

const flipLast = (value: Buffer) => {
  const copy = Buffer.from(value);
  copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 2;
  return copy;
};

const refused: Readonly<Record<string, readonly [string, string]>> = {
  "empty text": ["KEY_MALFORMED", ""],
  "other text": ["KEY_MALFORMED", "no key at all"],
  "no bytes": ["KEY_MALFORMED", "base64:"],
  "random bytes": ["KEY_MALFORMED", "base64:3q2+7w=="],
  "a PEM without its end": ["KEY_MALFORMED", key2048.slice(0, 800)],
  "a PEM that is not Base64": ["KEY_MALFORMED", key2048.replace("MII", "M!I")],
  "a PEM that lost a line": ["KEY_MALFORMED", key2048.replace(/\n[^\n]+\n/, "\n")],
  "two PEM files pasted the wrong way": [
    "KEY_MALFORMED",
    key2048.replace("BEGIN RSA PRIVATE KEY", "BEGIN PRIVATE KEX"),
  ],
  "a PEM far too long": ["KEY_MALFORMED", key2048.replace("\n", `\n${"A".repeat(20_000)}`)],
  "bytes after the end": ["KEY_MALFORMED", base64Form(Buffer.concat([pkcs1Bytes, Buffer.from([0])]))],
  "an outer length that is wrong": ["KEY_MALFORMED", changed(pkcs1Bytes, 3)],
  "an indefinite length": ["KEY_MALFORMED", "base64:MIACAQAAAA=="],
  "encrypted, PKCS#8": ["KEY_ENCRYPTED", keys.encrypted8 ?? ""],
  "encrypted, PKCS#1": ["KEY_ENCRYPTED", keys.encrypted1 ?? ""],
  "encrypted, DER": ["KEY_ENCRYPTED", base64Form(pemBytes(keys.encrypted8))],
  "EC, PKCS#8": ["KEY_NOT_RSA", keys.ec8 ?? ""],
  "EC, SEC 1": ["KEY_NOT_RSA", keys.ec1 ?? ""],
  "EC, DER": ["KEY_NOT_RSA", base64Form(pemBytes(keys.ec8))],
  "EC, SEC 1, DER": ["KEY_NOT_RSA", base64Form(pemBytes(keys.ec1))],
  Ed25519: ["KEY_NOT_RSA", keys.ed25519 ?? ""],
  "RSA for PSS alone": ["KEY_NOT_RSA", keys.pss ?? ""],
  DSA: ["KEY_NOT_RSA", keys.dsa ?? ""],
  "a public key": ["KEY_NOT_PRIVATE", keys.public ?? ""],
  "a public key, PKCS#1": ["KEY_NOT_PRIVATE", keys.public1 ?? ""],
  "a public key, DER": ["KEY_NOT_PRIVATE", base64Form(pemBytes(keys.public))],
  "a public key, PKCS#1, DER": ["KEY_NOT_PRIVATE", base64Form(pemBytes(keys.public1))],
  "a certificate": ["KEY_NOT_PRIVATE", keys.certificate ?? ""],
  "a certificate, DER": ["KEY_NOT_PRIVATE", base64Form(pemBytes(keys.certificate))],
  "OpenSSH's format": ["KEY_MALFORMED", keys.openssh ?? ""],
  "three primes": ["KEY_MALFORMED", keys.rsa3primes ?? ""],
  "1024 bits": ["KEY_SIZE", keys.rsa1024 ?? ""],
  "4104 bits": ["KEY_SIZE", keys.rsa4104 ?? ""],
  "another modulus": ["KEY_INCONSISTENT", withNumber(1, flipLast)],
  "an even exponent": ["KEY_INCONSISTENT", withNumber(2, () => Buffer.from([2]))],
  "exponent 1": ["KEY_INCONSISTENT", withNumber(2, () => Buffer.from([1]))],
  "another first prime": ["KEY_INCONSISTENT", withNumber(4, flipLast)],
  "no primes": ["KEY_INCONSISTENT", withNumber(4, () => Buffer.from([0]))],
  "another first exponent": ["KEY_INCONSISTENT", withNumber(6, flipLast)],
  "another second exponent": ["KEY_INCONSISTENT", withNumber(7, flipLast)],
  "another coefficient": ["KEY_INCONSISTENT", withNumber(8, flipLast)],
  "a negative number": ["KEY_MALFORMED", withNumber(3, (value) => Buffer.concat([Buffer.from([0x80]), value]))],
};

function pemBytes(pem = ""): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----/g, ""), "base64");
}

function cuts(bytes: Buffer, form: string): Record<string, unknown> {
  const step = 300;
  const count = Math.ceil(bytes.length / step);
  return Object.fromEntries(
    Array.from({ length: count }, (_, index) => {
      const from = index * step;
      const to = Math.min(from + step, bytes.length);
      return [`${bytes === pkcs1Bytes ? "PKCS#1" : "PKCS#8"}, ${from}–${to - 1}`, { privateKey: form, from, to }];
    }),
  );
}

const windows = (pem: string) => pem.replace(/\n/g, "\r\n");

export const data = {
  "the signatures of node:crypto": {
    "2048 bits, PKCS#1, PEM": signatures(key2048),
    "2048 bits, PKCS#8, PEM": signatures(pkcs8Pem),
    "2048 bits, PKCS#1, DER": signatures(key2048, pkcs1),
    "2048 bits, PKCS#8, DER": signatures(key2048, pkcs8),
    "2048 bits, exponent 3": signatures(keys.rsa2048e3 ?? ""),
    "2055 bits": signatures(keys.rsa2055 ?? ""),
    "3072 bits": signatures(keys.rsa3072 ?? ""),
    "4096 bits": signatures(keys.rsa4096 ?? ""),
    "a PEM with lines of Windows": signatures(key2048, windows(key2048)),
    "a PEM on one line": signatures(key2048, key2048.replace(/([^-])\n([^-])/g, "$1$2")),
    "a PEM among other text": signatures(
      key2048,
      `Bag Attributes\n  friendlyName: 设备\n${keys.certificate}\n${key2048}\nmore\n`,
    ),
  },
  "unusable keys are rejected with a reason": Object.fromEntries(
    Object.entries(refused).map(([name, [code, privateKey]]) => [name, { code, privateKey }]),
  ),
  "a DER key cut off anywhere is refused": { ...cuts(pkcs1Bytes, pkcs1), ...cuts(pkcs8Bytes, pkcs8) },
  "a key with one wrong byte is refused, or signs as before": {
    privateKey: pkcs1,
    text: "abc",
    signature: sign(key2048, "abc").toString("base64"),
  },
  "a native signer is used, and believed only when its signature verifies": {
    privateKey: key2048,
    text: "abc",
    signature: sign(key2048, "abc").toString("hex"),
  },
};
