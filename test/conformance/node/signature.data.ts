import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { derForms } from "./rsa.data.js";

interface PeerSigning {
  readonly id: string;
  readonly url?: string;
  readonly algorithm: string;
  readonly timestamp: number;
  readonly nonce: number;
  readonly key: Readonly<Record<string, string>>;
  readonly body_base64: string;
  readonly body_utf8?: string;
  readonly string_to_sign: string;
  readonly signature: string;
}

const peers: { signing: PeerSigning[]; rsa_test_key: Record<string, string> } = JSON.parse(
  readFileSync(new URL("../../vectors/peers.json", import.meta.url), "utf8"),
);

function credentials(vector: PeerSigning): unknown[] {
  const { rsa_private_key_pem_file: file, ...secrets } = vector.key;
  if (file !== undefined) return derForms(peers.rsa_test_key[file] ?? "").map((privateKey) => ({ privateKey }));
  const [secret] = Object.values(secrets);
  // The default algorithm is given once by name and once by leaving it out.
  return vector.algorithm === "hmacsha256"
    ? [{ secret }, { secret, algorithm: "hmacsha256" }]
    : [{ secret, algorithm: vector.algorithm }];
}

function peerVector(vector: PeerSigning): unknown {
  const [, host, path] = vector.string_to_sign.split("\n");
  return {
    // As the application gave it: perhaps in upper case and with a port.
    host: vector.url ? (/^https?:\/\/([^/]*)/.exec(vector.url)?.[1] ?? "") : host,
    path,
    algorithm: vector.algorithm,
    timestampSeconds: vector.timestamp,
    nonce: vector.nonce,
    body: vector.body_base64,
    bodyText: vector.body_utf8,
    credentials: credentials(vector),
    stringToSign: vector.string_to_sign,
    signature: vector.signature,
  };
}

const plain = [
  "POST",
  "ap-guangzhou.gateway.tencentdevices.com",
  "/device/publish",
  "",
  "hmacsha256",
  "1735286744",
  "5456",
  "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", // SHA-256 of {}
].join("\n");

const secrets = [
  "x",
  "AAAAAAAAAAAAAAAAAAAAAA==",
  "AAAAAAAAAAAAAAAAAAAAAA",
  "q".repeat(63),
  "q".repeat(64),
  "q".repeat(65),
  "q".repeat(200),
  "密钥",
  "😀",
  "a\0b",
  " ",
];

export const data = {
  "what the official SDKs sign": Object.fromEntries(peers.signing.map((each) => [each.id, peerVector(each)])),
  "a secret is its text, whatever characters it has": secrets.map((secret) => ({
    secret,
    signature: createHmac("sha256", secret).update(plain).digest("base64"),
  })),
  "text bodies are hashed as the bytes that are sent": [
    "",
    "{}",
    '{"a":"温度"}',
    "😀",
    "\ud83d lone",
    "a\0b",
    "\u2028",
    "x".repeat(5000),
  ],
};
