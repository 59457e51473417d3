/**
 * The libraries that are compared, as the text of modules for the bundler. Each exports
 *
 *   input(bytes, text)   a message in the form that the library takes with the least work; made outside the measurement
 *   signer(key)          prepares a key; gives a function from a message to its HMAC-SHA256
 *   digest(body)         lower-case hexadecimal SHA-256 of a body
 *   code(signature)      hexadecimal of what the signer's function gave; outside the measurement
 *   textDigest(text)     the same as `digest` of a text, where the library takes texts
 */

const toHex = `const hexOf = (bytes) => Array.from(bytes, (byte) => (byte + 256).toString(16).slice(1)).join("");`;

export const OURS = "ours";

export const peers = {
  [OURS]: `
    import { Hmac } from "../src/crypto/hmac.js";
    import { hex } from "../src/crypto/hex.js";
    import { sha256Hex } from "../src/crypto/sha256.js";
    import { utf8 } from "../src/crypto/utf8.js";
    export const input = (bytes) => bytes;
    export const signer = (key) => {
      const hmac = new Hmac("sha256", key);
      return (message) => hmac.sign(message);
    };
    export const digest = (body) => sha256Hex(body);
    export const code = hex;
    export const textDigest = (text) => sha256Hex(utf8(text));`,
  "@noble/hashes": `
    import { hmac } from "@noble/hashes/hmac.js";
    import { sha256 } from "@noble/hashes/sha2.js";
    import { bytesToHex } from "@noble/hashes/utils.js";
    export const input = (bytes) => bytes;
    export const signer = (key) => {
      const prepared = hmac.create(sha256, key);
      return (message) => prepared.clone().update(message).digest();
    };
    export const digest = (body) => bytesToHex(sha256(body));
    export const code = bytesToHex;`,
  // No public method returns to the HMAC state that it keeps, so its inner module is called.
  "asmcrypto.js": `
    import { Sha256 } from "asmcrypto.js/dist_es8/hash/sha256/sha256.js";
    import { HmacSha256 } from "asmcrypto.js/dist_es8/hmac/hmac-sha256.js";
    ${toHex}
    const hash = new Sha256();
    export const input = (bytes) => bytes;
    export const signer = (key) => {
      const prepared = new HmacSha256(key);
      return (message) => {
        prepared.result = null;
        prepared.hash.reset();
        prepared.hash.asm.hmac_reset();
        return prepared.process(message).finish().result;
      };
    };
    export const digest = (body) => hexOf(hash.reset().process(body).finish().result);
    export const code = hexOf;`,
  // It has no HMAC: RFC 2104 by hand, with the key's blocks made ready.
  "sha256-uint8array": `
    import { createHash } from "sha256-uint8array";
    ${toHex}
    export const input = (bytes) => bytes;
    export const signer = (key) => {
      const pad = (value) => Uint8Array.from({ length: 64 }, (_, i) => (i < key.length ? key[i] : 0) ^ value);
      const [inner, outer] = [pad(0x36), pad(0x5c)];
      return (message) =>
        createHash().update(outer).update(createHash().update(inner).update(message).digest()).digest();
    };
    export const digest = (body) => createHash().update(body).digest("hex");
    export const code = hexOf;
    export const textDigest = (text) => createHash().update(text).digest("hex");`,
  "js-sha256": `
    import { sha256 } from "js-sha256";
    export const input = (bytes) => bytes;
    export const signer = (key) => (message) => sha256.hmac.create(key).update(message).hex();
    export const digest = (body) => sha256(body);
    export const code = (signature) => signature;
    export const textDigest = (text) => sha256(text);`,
  "fast-sha256": `
    import { hash, HMAC } from "fast-sha256";
    ${toHex}
    export const input = (bytes) => bytes;
    export const signer = (key) => {
      const prepared = new HMAC(key);
      return (message) => prepared.reset().update(message).digest();
    };
    export const digest = (body) => hexOf(hash(body));
    export const code = hexOf;`,
  "@stablelib/sha256": `
    import { HMAC } from "@stablelib/hmac";
    import { hash, SHA256 } from "@stablelib/sha256";
    ${toHex}
    export const input = (bytes) => bytes;
    export const signer = (key) => {
      const prepared = new HMAC(SHA256, key);
      return (message) => prepared.reset().update(message).digest();
    };
    export const digest = (body) => hexOf(hash(body));
    export const code = hexOf;`,
  "hash.js": `
    import hash from "hash.js";
    export const input = (bytes) => Array.from(bytes);
    export const signer = (key) => {
      const prepared = Array.from(key);
      return (message) => hash.hmac(hash.sha256, prepared).update(message).digest("hex");
    };
    export const digest = (body) => hash.sha256().update(body).digest("hex");
    export const code = (signature) => signature;
    export const textDigest = (text) => hash.sha256().update(text).digest("hex");`,
  // As above, no HMAC.
  "sha.js": `
    import { Buffer } from "buffer/";
    import Sha256 from "sha.js/sha256.js";
    export const input = (bytes) => Buffer.from(bytes);
    export const signer = (key) => {
      const pad = (value) => Buffer.from(Array.from({ length: 64 }, (_, i) => (i < key.length ? key[i] : 0) ^ value));
      const [inner, outer] = [pad(0x36), pad(0x5c)];
      return (message) =>
        new Sha256().update(outer).update(new Sha256().update(inner).update(message).digest()).digest("hex");
    };
    export const digest = (body) => new Sha256().update(body).digest("hex");
    export const code = (signature) => signature;
    export const textDigest = (text) => new Sha256().update(text, "utf8").digest("hex");`,
  sjcl: `
    import sjcl from "sjcl";
    ${toHex}
    export const input = (bytes) => sjcl.codec.hex.toBits(hexOf(bytes));
    export const signer = (key) => {
      const prepared = new sjcl.misc.hmac(input(key), sjcl.hash.sha256);
      return (message) => prepared.encrypt(message);
    };
    export const digest = (body) => sjcl.codec.hex.fromBits(sjcl.hash.sha256.hash(body));
    export const code = (signature) => sjcl.codec.hex.fromBits(signature);
    export const textDigest = (text) => sjcl.codec.hex.fromBits(sjcl.hash.sha256.hash(text));`,
  "crypto-js": `
    import core from "crypto-js/core.js";
    import sha256 from "crypto-js/sha256.js";
    import "crypto-js/hmac-sha256.js";
    ${toHex}
    export const input = (bytes) => core.enc.Hex.parse(hexOf(bytes));
    export const signer = (key) => {
      const prepared = core.algo.HMAC.create(core.algo.SHA256, input(key));
      return (message) => {
        const code = prepared.finalize(message);
        prepared.reset();
        return code;
      };
    };
    export const digest = (body) => sha256(body).toString();
    export const code = (signature) => signature.toString();
    export const textDigest = (text) => sha256(text).toString();`,
  "node-forge": `
    import forge from "node-forge/lib/forge.js";
    import "node-forge/lib/hmac.js";
    import "node-forge/lib/sha256.js";
    export const input = (bytes) => String.fromCharCode(...bytes);
    export const signer = (key) => {
      const prepared = forge.hmac.create();
      prepared.start("sha256", input(key));
      return (message) => {
        prepared.start(null, null);
        prepared.update(message);
        return prepared.digest();
      };
    };
    export const digest = (body) => forge.md.sha256.create().update(body).digest().toHex();
    export const code = (signature) => signature.toHex();
    export const textDigest = (text) => forge.md.sha256.create().update(text, "utf8").digest().toHex();`,
  jsrsasign: `
    import { KJUR } from "jsrsasign";
    ${toHex}
    export const input = (bytes, text) => text;
    export const signer = (key) => {
      const pass = { hex: hexOf(key) };
      return (message) => {
        const mac = new KJUR.crypto.Mac({ alg: "HmacSHA256", pass });
        return mac.doFinalString(message);
      };
    };
    export const digest = (body) => KJUR.crypto.Util.hashString(body, "sha256");
    export const code = (signature) => signature;
    export const textDigest = (text) => KJUR.crypto.Util.hashString(text, "sha256");`,
};

/** Signs with RSA: `signer(pem)` gives a function from a text to hexadecimal. */
export const rsaPeers = {
  [OURS]: `
    import { base64Decode } from "../src/crypto/base64.js";
    import { hex } from "../src/crypto/hex.js";
    import { createSigner } from "../src/signing/signer.js";
    export const signer = (pem) => {
      const signer = createSigner({ privateKey: pem });
      return (text) => hex(base64Decode(signer.sign(text)));
    };`,
  "node-forge": `
    import forge from "node-forge/lib/forge.js";
    import "node-forge/lib/pki.js";
    import "node-forge/lib/sha256.js";
    export const signer = (pem) => {
      const key = forge.pki.privateKeyFromPem(pem);
      return (text) => forge.util.bytesToHex(key.sign(forge.md.sha256.create().update(text)));
    };`,
  jsrsasign: `
    import { KEYUTIL, KJUR } from "jsrsasign";
    export const signer = (pem) => {
      const key = KEYUTIL.getKey(pem);
      return (text) => {
        const signature = new KJUR.crypto.Signature({ alg: "SHA256withRSA" });
        signature.init(key);
        signature.updateString(text);
        return signature.sign();
      };
    };`,
};
