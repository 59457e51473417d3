/** Times the SDK's native hash and RSA, what the Moddable host reaches with them, and the portable core. */
import { Digest } from "crypt";
import config from "mc/config";
import PKCS1_5 from "pkcs1_5";
import { createDigest } from "tencent-iothub-xs/host/moddable/digest";
import { SdkRsa } from "tencent-iothub-xs/host/moddable/rsa";
import { hex } from "tencent-iothub-xs/src/crypto/hex";
import { hmacPads } from "tencent-iothub-xs/src/crypto/hmac";
import { readRsaPrivateKey } from "tencent-iothub-xs/src/crypto/key";
import { createSigner } from "tencent-iothub-xs/src/signing/signer";

const { secret, text, body, pem, hmac, hash, signature } = JSON.parse(config.input);
const bytes = (value) => new Uint8Array(ArrayBuffer.fromString(value));

/** Microseconds of a call, of so many that the clock's milliseconds do not matter. */
function time(name, job, count) {
  for (let i = 0; i < 3; i++) job();
  const start = Date.now();
  for (let i = 0; i < count; i++) job();
  trace(`bench ${name} ${((Date.now() - start) * 1000) / count}\n`);
}

function check(name, is, should) {
  if (is !== should) trace(`bench ${name} wrong: ${is}\n`);
}

function hashJob(name, signer, count) {
  const payload = bytes(body);
  check(name, signer.sign(text), hmac);
  check(name, signer.hashBody(payload), hash);
  time(
    name,
    () => {
      signer.sign(text);
      signer.hashBody(payload);
    },
    count,
  );
}

const digest = createDigest();
const pads = hmacPads("sha256", bytes(secret));
const [message, payload] = [bytes(text), bytes(body)];
const digestOf = (...parts) => {
  const digest = new Digest("SHA256");
  for (const part of parts) digest.write(part);
  return digest.close();
};
check("native", hex(new Uint8Array(digestOf(payload))), hash);
time(
  "hash.native",
  () => {
    digestOf(pads.outer, new Uint8Array(digestOf(pads.inner, message)));
    digestOf(payload);
  },
  5000,
);
hashJob("hash.host", createSigner({ secret }, { digest }), 2000);
hashJob("hash.core", createSigner({ secret }), 500);

const key = readRsaPrivateKey(pem);
const pkcs1 = new PKCS1_5(
  {
    modulus: key.n,
    exponent: key.e,
    privExponent: key.d,
    prim1: key.p,
    prim2: key.q,
    exponent1: key.dP,
    exponent2: key.dQ,
    coefficient: key.qInv,
  },
  true,
  [2, 16, 840, 1, 101, 3, 4, 2, 1],
);
const hashed = digestOf(message);
check("rsa.native", hex(new Uint8Array(pkcs1.sign(hashed))), signature);
time("rsa.native", () => pkcs1.sign(hashed), 50);
const host = createSigner({ privateKey: pem }, { digest, rsa: new SdkRsa(digest) });
time("rsa.host", () => host.sign(text), 50);
const core = createSigner({ privateKey: pem });
time("rsa.core", () => core.sign(text), 30);
trace("bench end 0\n");
