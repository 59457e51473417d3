/** `ssl/record`: encrypts and decrypts records with AES-GCM or AES-CBC, and passes on their content. */

import { createCipheriv, createDecipheriv, createHmac } from "node:crypto";
import RNG from "./rng.js";
import alert from "./ssl-alert.js";
import handshakeProtocol from "./ssl-handshake.js";
import PRF from "./ssl-prf.js";
import type Session from "./ssl-session.js";
import SSLStream from "./ssl-stream.js";

const CHANGE_CIPHER_SPEC = 20;
const ALERT = 21;
const HANDSHAKE = 22;
const APPLICATION_DATA = 23;

/** Key bytes and, with CBC, the hash of the MAC. */
export const SUITES: Readonly<Record<number, { readonly keyBytes: number; readonly mac?: "sha1" | "sha256" }>> = {
  49195: { keyBytes: 16 },
  49199: { keyBytes: 16 },
  49191: { keyBytes: 16, mac: "sha256" },
  60: { keyBytes: 16, mac: "sha256" },
  61: { keyBytes: 32, mac: "sha256" },
  47: { keyBytes: 16, mac: "sha1" },
  53: { keyBytes: 32, mac: "sha1" },
};

/** One direction of a connection. */
export class Cipher {
  readonly #key: Buffer;
  readonly #secret: Buffer;
  readonly #salt: Buffer;
  readonly #mac: "sha1" | "sha256" | undefined;
  /** The SDK starts at 1. */
  #nonce = 1n;
  sequence = 0n;

  constructor(session: Session, isClient: boolean) {
    const { keyBytes, mac } = SUITES[session.suite];
    const macBytes = mac === undefined ? 0 : mac === "sha1" ? 20 : 32;
    const saltBytes = mac === undefined ? 4 : 0;
    const randoms = Buffer.concat([Buffer.from(session.serverRandom), Buffer.from(session.clientRandom)]);
    const length = 2 * (macBytes + keyBytes + saltBytes);
    const block = Buffer.from(
      PRF(session, session.masterSecret as ArrayBuffer, "key expansion", Uint8Array.from(randoms).buffer, length),
    );
    const part = (start: number, bytes: number) => {
      const from = start + (isClient ? 0 : bytes);
      return block.subarray(from, from + bytes);
    };
    this.#mac = mac;
    this.#secret = part(0, macBytes);
    this.#key = part(2 * macBytes, keyBytes);
    this.#salt = part(2 * (macBytes + keyBytes), saltBytes);
  }

  seal(type: number, data: Uint8Array): Buffer {
    const header = this.#header(type, data.length);
    if (this.#mac === undefined) {
      const explicit = Buffer.alloc(8);
      explicit.writeBigUInt64BE(this.#nonce++);
      const cipher = createCipheriv("aes-128-gcm", this.#key, Buffer.concat([this.#salt, explicit]));
      cipher.setAAD(header);
      return Buffer.concat([explicit, cipher.update(data), cipher.final(), cipher.getAuthTag()]);
    }
    const iv = Buffer.from(RNG.get(16));
    const whole = Buffer.concat([data, this.#authenticate(header, data)]);
    const padding = 15 - (whole.length % 16);
    const cipher = createCipheriv(`aes-${8 * this.#key.length}-cbc`, this.#key, iv).setAutoPadding(false);
    return Buffer.concat([iv, cipher.update(whole), cipher.update(Buffer.alloc(padding + 1, padding)), cipher.final()]);
  }

  open(type: number, data: Buffer): Buffer {
    if (this.#mac === undefined) {
      const decipher = createDecipheriv("aes-128-gcm", this.#key, Buffer.concat([this.#salt, data.subarray(0, 8)]));
      decipher.setAAD(this.#header(type, data.length - 24));
      decipher.setAuthTag(data.subarray(-16));
      return Buffer.concat([decipher.update(data.subarray(8, -16)), decipher.final()]);
    }
    const name = `aes-${8 * this.#key.length}-cbc`;
    const decipher = createDecipheriv(name, this.#key, data.subarray(0, 16)).setAutoPadding(false);
    const whole = Buffer.concat([decipher.update(data.subarray(16)), decipher.final()]);
    // Like the SDK, checks only the padding's length.
    const end = whole.length - whole[whole.length - 1] - 1 - this.#secret.length;
    const content = whole.subarray(0, end);
    const expected = this.#authenticate(this.#header(type, end), content);
    if (!whole.subarray(end, end + expected.length).equals(expected)) throw new Error("recordProtocol: auth failed");
    return content;
  }

  #authenticate(header: Buffer, data: Uint8Array): Buffer {
    return createHmac(this.#mac as string, this.#secret)
      .update(header)
      .update(data)
      .digest();
  }

  #header(type: number, length: number): Buffer {
    const header = Buffer.alloc(13);
    header.writeBigUInt64BE(this.sequence++);
    header.set([type, 3, 3], 8);
    header.writeUInt16BE(length, 11);
    return header;
  }
}

export function sealRecord(session: Session, type: number, data: Uint8Array): Uint8Array {
  const body = session.clientCipher?.seal(type, data) ?? Buffer.from(data);
  return Uint8Array.from([type, 3, 3, body.length >> 8, body.length & 255, ...body]);
}

export default Object.freeze({
  name: "recordProtocol",

  unpacketize(session: Session, record: ArrayBuffer): void {
    const bytes = Buffer.from(record as unknown as Uint8Array);
    const type = bytes[0];
    const data = session.serverCipher?.open(type, bytes.subarray(5)) ?? bytes.subarray(5);
    if (session.serverCipher) session.readSeqNum = (session.readSeqNum as bigint) + 1n;
    switch (type) {
      case CHANGE_CIPHER_SPEC:
        session.readSeqNum = 0n;
        session.serverCipher = new Cipher(session, false);
        return;
      case ALERT:
        alert.unpacketize(session, data);
        return;
      case HANDSHAKE:
        for (let at = 0; at < data.length; ) {
          const end = at + 4 + data.readUIntBE(at + 1, 3);
          handshakeProtocol.unpacketize(session, new SSLStream(data.subarray(at, end)));
          at = end;
        }
        return;
      case APPLICATION_DATA:
        session.applicationData = Uint8Array.from(data);
        return;
      default:
        throw new Error("recordProtocol: bad data");
    }
  },
});
