import { base64Decode } from "../../src/crypto/base64.js";
import { hex } from "../../src/crypto/hex.js";
import { sha256 } from "../../src/crypto/sha256.js";
import { utf8 } from "../../src/crypto/utf8.js";
import { createSigner, signRequest, stringToSign } from "../../src/signing/signer.js";
import type { Case } from "./case.js";

interface PeerVector {
  readonly host: string;
  readonly path: string;
  readonly algorithm: string;
  readonly timestampSeconds: number;
  readonly nonce: number;
  /** Base64 */
  readonly body: string;
  readonly bodyText?: string;
  /** `{ secret, algorithm? }` or `{ privateKey }`: every form in which the credential can be given. */
  readonly credentials: readonly { secret?: string; algorithm?: "hmacsha256" | "hmacsha1"; privateKey?: string }[];
  readonly stringToSign: string;
  readonly signature: string;
}

const parts = Object.freeze({
  host: "ap-guangzhou.gateway.tencentdevices.com",
  path: "/device/publish",
  algorithm: "hmacsha256" as const,
  timestampSeconds: 1735286744,
  nonce: 5456,
  bodyHash: "f6d3696a8067899b55edb0de7344dafd6857c49200bcb248039dc636634fa1f5",
});
const request = Object.freeze({ host: parts.host, path: parts.path, body: "{}" });
const time = Object.freeze({ timestampSeconds: 1735286744, nonce: 5456 });
const credential = Object.freeze({ secret: "AAAAAAAAAAAAAAAAAAAAAA==" });

export const cases: readonly Case[] = [
  {
    name: "what the official SDKs sign",
    each: true,
    run(check, vector: PeerVector) {
      const { host, path, timestampSeconds, nonce, algorithm } = vector;
      const bodies: (string | Uint8Array)[] = [base64Decode(vector.body)];
      if (vector.bodyText !== undefined) bodies.push(vector.bodyText);
      for (const each of vector.credentials) {
        const form = each.privateKey === undefined ? { ...each } : { privateKey: keyForm(each.privateKey) };
        for (const body of bodies) {
          const signed = signRequest({ host, path, body }, form as { secret: string }, { timestampSeconds, nonce });
          check.equal(signed.stringToSign, vector.stringToSign);
          check.equal(signed.signature, vector.signature);
          check.equal(signed.headers["X-TC-Algorithm"], algorithm);
          check.equal(signed.headers["X-TC-Timestamp"], String(timestampSeconds));
          check.equal(signed.headers["X-TC-Nonce"], String(nonce));
          check.equal(signed.headers["X-TC-Signature"], vector.signature);
        }
      }
    },
  },
  {
    name: "the string to sign has eight lines and none after them",
    run(check) {
      const text = stringToSign(parts);
      check.equal(text.split("\n"), [
        "POST",
        parts.host,
        parts.path,
        "",
        parts.algorithm,
        "1735286744",
        "5456",
        parts.bodyHash,
      ]);
      check.equal(text.length, utf8(text).length, "it is ASCII");
    },
  },
  {
    name: "the host is signed in lower case, without its port and the dot at its end",
    run(check) {
      for (const host of [
        parts.host,
        parts.host.toUpperCase(),
        `${parts.host}:443`,
        "AP-guangzhou.Gateway.tencentdevices.com:8080",
        `${parts.host}.`,
        `${parts.host}.:8443`,
      ]) {
        check.equal(stringToSign({ ...parts, host }), stringToSign(parts), host);
        const signed = signRequest({ ...request, host }, credential, time);
        check.equal(signed.signature, signRequest(request, credential, time).signature, host);
      }
      check.equal(stringToSign({ ...parts, host: "[::1]:80" }).split("\n")[1], "[::1]");
      check.equal(stringToSign({ ...parts, host: "127.0.0.1" }).split("\n")[1], "127.0.0.1");
      for (const host of [".", "a.example..", ".:80", ""]) {
        check.throws("INVALID_HOST", () => stringToSign({ ...parts, host }), host);
      }
    },
  },
  {
    name: "zero is a time and a nonce, and large numbers keep all their digits",
    run(check) {
      const signed = signRequest(request, credential, { timestampSeconds: 0, nonce: 0 });
      check.equal(signed.stringToSign.split("\n").slice(5, 7), ["0", "0"]);
      check.equal(signed.headers["X-TC-Nonce"], "0");
      const most = { timestampSeconds: 4294967296, nonce: 2 ** 53 - 1 };
      check.equal(
        stringToSign({ ...parts, ...most })
          .split("\n")
          .slice(5, 7),
        ["4294967296", "9007199254740991"],
      );
    },
  },
  {
    name: "a prepared signer signs what begins like the request before, and what does not, as one made anew",
    run(check) {
      const same = "a".repeat(64);
      const long = "€".repeat(40);
      const bodies: (string | Uint8Array)[] = [
        `${same}1`,
        `${same}2`,
        same,
        `${same}3`,
        `${same}${same}`,
        `${same}${"b".repeat(700)}`,
        `${same}4`,
        `${"a".repeat(63)}b5`,
        `${"a".repeat(63)}b6`,
        `${same}7`,
        "",
        `${same}8`,
        `${long}1`,
        `${long}2`,
        `${"a".repeat(63)}€1`,
        `${"a".repeat(63)}€2`,
        `\0${same}`,
        `\0${"b".repeat(64)}`,
        `a\0${same}`,
        `a\0${"b".repeat(64)}`,
        new Uint8Array(65),
        new Uint8Array(66),
        new Uint8Array(65).fill(1),
        new Uint8Array(65).fill(255),
        new Uint8Array(66).fill(255),
        utf8(`xx${same}9`).subarray(2),
        utf8(`y${same}10`).subarray(1),
      ];
      const hosts = [parts.host, parts.host, "other.example", parts.host];
      for (const algorithm of ["hmacsha256", "hmacsha1"] as const) {
        const secret = credential.secret;
        const signer = createSigner({ secret, algorithm });
        for (let i = 0; i < bodies.length; i++) {
          const toSign = { host: hosts[i % 4], path: i % 5 === 3 ? "/device/reportlog" : parts.path, body: bodies[i] };
          const at = { timestampSeconds: 1735286744 + i, nonce: i };
          check.equal(signRequest(toSign, signer, at), signRequest(toSign, { secret, algorithm }, at), `body ${i}`);
        }
        signer.close();
        check.throws("SIGNER_CLOSED", () => signRequest(request, signer, time));
      }
    },
  },
  {
    name: "a prepared signer checks host and path of each request",
    run(check) {
      const signer = createSigner(credential);
      for (let i = 0; i < 2; i++) {
        check.throws("INVALID_HOST", () => signRequest({ ...request, host: "" }, signer, time));
        check.throws("INVALID_PATH", () => signRequest({ ...request, path: "" }, signer, time));
        check.throws("INVALID_PATH", () => signRequest({ ...request, host: "", path: "" }, signer, time));
        check.equal(signRequest(request, signer, time), signRequest(request, credential, time));
      }
    },
  },
  {
    name: "bad input is refused with its own code",
    run(check) {
      const sign = (change: object) => () => stringToSign({ ...parts, ...change });
      for (const host of ["", " ", "a b", "a/b", "http://a", "a:b", "a:123456", "a\nb", "a:80\n", "é.com", undefined]) {
        check.throws("INVALID_HOST", sign({ host }), String(host));
      }
      for (const path of ["", "device", "/a b", "/a\n", "/a?b=c", "/a#b", "/é", undefined]) {
        check.throws("INVALID_PATH", sign({ path }), String(path));
      }
      for (const timestampSeconds of [-1, 0.5, Number.NaN, Infinity, 1735286744000000, "1735286744", undefined]) {
        check.throws("INVALID_TIMESTAMP", sign({ timestampSeconds }), String(timestampSeconds));
      }
      for (const nonce of [-1, 0.5, Number.NaN, Infinity, 2 ** 53, "1", undefined]) {
        check.throws("INVALID_NONCE", sign({ nonce }), String(nonce));
      }
      for (const body of [undefined, null, 1, {}, [1, 2]]) {
        const bad = { ...request, body } as unknown as typeof request;
        check.throws("INVALID_BODY", () => signRequest(bad, credential, time), String(body));
      }
    },
  },
  {
    name: "a credential that is none is refused without telling the secret",
    run(check) {
      const secret = "SECRETSECRETSECRET";
      const bad: unknown[] = [
        undefined,
        null,
        {},
        "text",
        { secret: "" },
        { secret: 5 },
        { secret, algorithm: "md5" },
        { secret, algorithm: "rsa-sha256" },
        { secret, privateKey: "x" },
        { privateKey: 5 },
      ];
      for (const each of bad) {
        const error = check.throws("INVALID_CREDENTIAL", () => createSigner(each as typeof credential));
        check.ok(
          !`${error.message} ${error.stack} ${JSON.stringify(error)}`.includes(secret),
          "the secret is revealed",
        );
      }
    },
  },
  {
    name: "a secret is its text, whatever characters it has",
    run(check, signatures: readonly { secret: string; signature: string }[]) {
      for (const { secret, signature } of signatures) {
        check.equal(signRequest(request, { secret }, time).signature, signature, JSON.stringify(secret));
      }
    },
  },
  {
    name: "text bodies are hashed as the bytes that are sent",
    run(check, bodies: readonly string[]) {
      for (const body of bodies) {
        const bytes = utf8(body);
        const asText = signRequest({ ...request, body }, credential, time);
        check.equal(asText, signRequest({ ...request, body: bytes }, credential, time));
        check.equal(asText.stringToSign.split("\n")[7], hex(sha256(bytes)));
      }
    },
  },
  {
    name: "a signer signs again and again, alike, and not after it was closed",
    run(check) {
      const signer = createSigner(credential);
      const once = signRequest(request, credential, time);
      for (let i = 0; i < 5; i++) check.equal(signRequest(request, signer, time), once);
      check.ok(signRequest(request, signer, { ...time, nonce: 5457 }).signature !== once.signature, "the nonce counts");
      signer.close();
      check.throws("SIGNER_CLOSED", () => signRequest(request, signer, time));
      signer.close();
    },
  },
  {
    name: "a native digest gives the same signatures",
    run(check) {
      let calls = 0;
      const digest = {
        sha256(...messages: Uint8Array[]): Uint8Array {
          calls++;
          const joined = new Uint8Array(messages.reduce((sum, each) => sum + each.length, 0));
          let at = 0;
          for (const each of messages) {
            joined.set(each, at);
            at += each.length;
          }
          return sha256(joined);
        },
      };
      for (const secret of ["k", credential.secret, "long".repeat(40)]) {
        const native = createSigner({ secret }, { digest });
        check.equal(signRequest(request, native, time), signRequest(request, { secret }, time), secret);
        native.close();
        check.throws("SIGNER_CLOSED", () => signRequest(request, native, time));
      }
      check.ok(calls >= 9, "it was called");
    },
  },
];

/** DER comes as `base64:…`, PEM as it is. */
export function keyForm(text: string): string | Uint8Array {
  return text.startsWith("base64:") ? base64Decode(text.slice(7)) : text;
}
