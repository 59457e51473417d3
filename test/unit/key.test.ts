import { createPublicKey, generateKeyPairSync, type KeyObject, sign as nodeSign } from "node:crypto";
import { describe, expect, jest, test } from "@jest/globals";
import { readRsaPrivateKey } from "../../src/crypto/key.js";
import { IotHubError } from "../../src/index.js";
import { createSigner, signRequest } from "../../src/signing/signer.js";

const rsa = (modulusLength: number, publicExponent = 65537) =>
  generateKeyPairSync("rsa", { modulusLength, publicExponent });
const rsa2048 = rsa(2048);
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const der = (key: KeyObject, type: "pkcs1" | "pkcs8" | "sec1" | "spki") =>
  new Uint8Array(key.export({ format: "der", type } as never) as unknown as Buffer);
const pem = (key: KeyObject, type: "pkcs1" | "pkcs8" | "sec1" | "spki", more = {}) =>
  key.export({ format: "pem", type, ...more } as never) as unknown as string;

function code(key: string | Uint8Array): string {
  try {
    readRsaPrivateKey(key);
  } catch (error) {
    expect(error).toBeInstanceOf(IotHubError);
    const { code, message } = error as IotHubError;
    expect(message).toMatch(/^[A-Z].*\.$/);
    return code;
  }
  return "taken";
}

function signature(privateKey: string | Uint8Array): { text: string; signature: string } {
  const signed = signRequest(
    { host: "a.example", path: "/device/publish", body: "{}" },
    { privateKey },
    { timestampSeconds: 1735286744, nonce: 5456 },
  );
  return { text: signed.stringToSign, signature: signed.signature };
}

describe("supported keys sign like node:crypto", () => {
  const keys = { 2048: rsa2048, 3072: rsa(3072), 4096: rsa(4096), "2050 with e = 3": rsa(2050, 3) };
  for (const [name, { privateKey }] of Object.entries(keys)) {
    test(`${name} bits, PKCS#1 and PKCS#8, PEM and DER`, () => {
      for (const key of [
        pem(privateKey, "pkcs1"),
        pem(privateKey, "pkcs8"),
        der(privateKey, "pkcs1"),
        der(privateKey, "pkcs8"),
      ]) {
        const { text, signature: made } = signature(key);
        expect(made).toBe(nodeSign("sha256", Buffer.from(text), privateKey).toString("base64"));
      }
    });
  }

  test("PEM with CRLF, without line breaks, with text and a certificate around it", () => {
    const text = pem(rsa2048.privateKey, "pkcs8");
    const expected = signature(text).signature;
    const certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    const lines = text.split("\n");
    const single = `${lines[0]}\n${lines.slice(1, -2).join("")}\n${lines.at(-2)}\n`;
    for (const variant of [
      text.replaceAll("\n", "\r\n"),
      `Bag Attributes\n${certificate}${text}`,
      single,
      text.trim(),
    ]) {
      expect(signature(variant).signature).toBe(expected);
    }
  });
});

describe("keys in common file formats", () => {
  const text = pem(rsa2048.privateKey, "pkcs8");
  const expected = signature(text).signature;
  const certificate = `-----BEGIN CERTIFICATE-----\n${"A".repeat(64)}\n-----END CERTIFICATE-----\n`;
  const encrypted = pem(rsa2048.privateKey, "pkcs8", { cipher: "aes-128-cbc", passphrase: "x" });
  test.each<[string, string | Uint8Array]>([
    ["a Buffer of PEM", Buffer.from(text)],
    ["bytes of PEM", new Uint8Array(Buffer.from(pem(rsa2048.privateKey, "pkcs1")))],
    ["bytes with a byte order mark", Buffer.from(`\ufeff${text}`)],
    ["bytes behind other text", Buffer.from(`密钥\n${text}`)],
    ["a view on a part of a buffer", new Uint8Array(Buffer.from(`xx${text}`)).subarray(2)],
    ["a byte order mark", `\ufeff${text}`],
    ["a key behind 40 KB of certificates", certificate.repeat(320) + text],
    ["the same as bytes", Buffer.from(certificate.repeat(320) + text)],
    ["certificates behind the key", text + certificate.repeat(320)],
    ["indentation and CRLF", text.replace(/^/gm, "    ").replaceAll("\n", "\r\n")],
    ["spaces for line breaks", text.trim().replaceAll("\n", " ")],
    ["text that mentions the marker", `Paste -----BEGIN PRIVATE KEY----- and what follows:\n${text}`],
    ["text that mentions both", `From -----BEGIN PRIVATE KEY----- to -----END PRIVATE KEY-----:\n${text}`],
    ["text that mentions an encrypted key", `No -----BEGIN ENCRYPTED PRIVATE KEY-----, please.\n${text}`],
    ["an encrypted key before it", encrypted + text],
    ["a damaged one before it", text.replace("MII", "M*I") + text],
  ])("%s", (_name, key) => {
    expect(signature(key as Uint8Array).signature).toBe(expected);
  });

  const p12 = (start: string) => Buffer.concat([Buffer.from(start, "hex"), Buffer.alloc(2000)]);
  test.each<[string, string | Uint8Array, RegExp]>([
    [
      "PKCS#12",
      p12("308209a90201033082096f06092a864886f70d010701a0820960"),
      /PKCS#12 file; convert it with: openssl pkcs12 -in/,
    ],
    ["PKCS#12 of indefinite length", p12("3080020103308006092a864886f70d010701a080"), /PKCS#12/],
    ["UTF-16 with a byte order mark", Buffer.from(`\ufeff${text}`, "utf16le"), /UTF-16/],
    ["UTF-16", Buffer.from(text, "utf16le"), /UTF-16/],
    ["line breaks as two characters", text.replaceAll("\n", "\\n"), /two characters/],
    ["nothing inside", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", /no data between/],
    ["20 KB inside", `-----BEGIN PRIVATE KEY-----\n${"A".repeat(20480)}\n-----END PRIVATE KEY-----`, /too long/],
  ])("%s is reported", (_name, key, said) => {
    expect(code(key)).toBe("KEY_MALFORMED");
    expect(() => readRsaPrivateKey(key)).toThrow(said);
  });

  test("a text with 5 000 markers is scanned once", () => {
    const text = "-----BEGIN PRIVATE KEY-----".repeat(5000);
    let copied = 0;
    const { slice } = String.prototype;
    const spy = jest.spyOn(String.prototype, "slice").mockImplementation(function (this: string, ...bounds) {
      const part = slice.apply(this, bounds);
      copied += part.length;
      return part;
    });
    const is = code(text);
    spy.mockRestore();
    expect(is).toBe("KEY_MALFORMED");
    expect(copied).toBeGreaterThan(0);
    expect(copied).toBeLessThan(3 * text.length);
  });
});

describe("unsupported keys are rejected with a reason", () => {
  const { privateKey, publicKey } = rsa2048;
  const cipher = { cipher: "aes-128-cbc", passphrase: "canary-passphrase" };
  const encryptedDer = privateKey.export({ format: "der", type: "pkcs8", ...cipher });
  test.each<[string, string | Uint8Array, string]>([
    ["encrypted PKCS#8", pem(privateKey, "pkcs8", cipher), "KEY_ENCRYPTED"],
    ["encrypted PKCS#1", pem(privateKey, "pkcs1", cipher), "KEY_ENCRYPTED"],
    ["encrypted PKCS#8 DER", new Uint8Array(encryptedDer), "KEY_ENCRYPTED"],
    ["EC SEC1", pem(ec.privateKey, "sec1"), "KEY_NOT_RSA"],
    ["EC PKCS#8", pem(ec.privateKey, "pkcs8"), "KEY_NOT_RSA"],
    ["EC SEC1 DER", der(ec.privateKey, "sec1"), "KEY_NOT_RSA"],
    ["Ed25519", pem(generateKeyPairSync("ed25519").privateKey, "pkcs8"), "KEY_NOT_RSA"],
    ["RSA-PSS", pem(generateKeyPairSync("rsa-pss", { modulusLength: 2048 }).privateKey, "pkcs8"), "KEY_NOT_RSA"],
    ["public SPKI", pem(publicKey, "spki"), "KEY_NOT_PRIVATE"],
    ["public PKCS#1", pem(publicKey, "pkcs1"), "KEY_NOT_PRIVATE"],
    ["public SPKI DER", der(publicKey, "spki"), "KEY_NOT_PRIVATE"],
    ["public PKCS#1 DER", der(createPublicKey(privateKey), "pkcs1"), "KEY_NOT_PRIVATE"],
    ["a certificate", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "KEY_NOT_PRIVATE"],
    ["OpenSSH", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----", "KEY_MALFORMED"],
    ["1024 bits", pem(rsa(1024).privateKey, "pkcs8"), "KEY_SIZE"],
    ["4104 bits", pem(rsa(4104).privateKey, "pkcs1"), "KEY_SIZE"],
    ["a psk", "lDZ6Uqt+I9E0wW7rvDUs7Q==", "KEY_MALFORMED"],
    ["nothing", "", "KEY_MALFORMED"],
    ["no bytes", new Uint8Array(0), "KEY_MALFORMED"],
    ["no END", pem(privateKey, "pkcs8").split("-----END")[0], "KEY_MALFORMED"],
    ["damaged Base64", pem(privateKey, "pkcs8").replace("MII", "M*I"), "KEY_MALFORMED"],
    ["a megabyte", "x".repeat(1 << 20), "KEY_MALFORMED"],
    ["bytes behind it", new Uint8Array([...der(privateKey, "pkcs1"), 0]), "KEY_MALFORMED"],
  ])("%s", (_name, key, expected) => {
    expect(code(key)).toBe(expected);
  });

  test("truncated at every byte", () => {
    for (const type of ["pkcs1", "pkcs8"] as const) {
      const whole = der(privateKey, type);
      for (let length = 0; length < whole.length; length++) {
        expect(code(whole.subarray(0, length))).toBe("KEY_MALFORMED");
      }
    }
  });

  test("parameters of an RSA key that do not match", () => {
    const whole = der(privateKey, "pkcs1");
    // A bit of each of the numbers: the modulus starts near the front, the coefficient ends at the back.
    for (const at of [100, 800, 950, 1080, whole.length - 1]) {
      const changed = whole.slice();
      changed[at] ^= 0x10;
      expect(() => createSigner({ privateKey: changed })).toThrow(
        expect.objectContaining({ code: "KEY_INCONSISTENT" }),
      );
    }
  });
});
