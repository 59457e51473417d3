/**
 * `ssl/handshake`: the handshake messages for which the host uses the SDK. ClientHello and ClientKeyExchange are
 * missing, because the host has its own.
 */

import { constants, createPrivateKey, privateEncrypt } from "node:crypto";
import { Digest } from "./crypt.js";
import PRF from "./ssl-prf.js";
import { SUITES, sealRecord } from "./ssl-record.js";
import type Session from "./ssl-session.js";
import type SSLStream from "./ssl-stream.js";

const HANDSHAKE = 22;

const HELLO_REQUEST = 0;
const SERVER_HELLO = 2;
const CERTIFICATE = 11;
const SERVER_HELLO_DONE = 14;
const CERTIFICATE_VERIFY = 15;
const FINISHED = 20;

/** DigestInfo of SHA-256 up to the hash: RFC 8017 section 9.2. */
const DIGEST_INFO = "3031300d060960864801650304020105000420";

function send(session: Session, type: number, body: Uint8Array): Uint8Array {
  const message = Uint8Array.from([type, body.length >> 16, (body.length >> 8) & 255, body.length & 255, ...body]);
  // The hash function is unknown before ServerHello.
  if (session.handshakeDigests) session.handshakeDigests.SHA256.write(message);
  else session.messages.push(message);
  return sealRecord(session, HANDSHAKE, message);
}

function verifyData(session: Session, label: string): Buffer {
  const hash = (session.handshakeDigests as { SHA256: Digest }).SHA256.close(true);
  return Buffer.from(PRF(session, session.masterSecret as ArrayBuffer, label, hash, 12));
}

function length(bytes: number, value: number): Buffer {
  const result = Buffer.alloc(bytes);
  result.writeUIntBE(value, 0, bytes);
  return result;
}

function missing(): never {
  throw new Error("The stand-in has no such message: the host writes it.");
}

export default Object.freeze({
  name: "handshakeProtocol",

  packetize: (session: Session, type: number, { bytes }: SSLStream): Uint8Array => send(session, type, bytes),

  unpacketize(session: Session, { bytes }: SSLStream): void {
    const type = bytes[0];
    const body = bytes.subarray(4);
    switch (type) {
      case HELLO_REQUEST:
      case SERVER_HELLO_DONE:
        break;
      case SERVER_HELLO: {
        session.handshakeDigests = { SHA256: new Digest("SHA256") };
        for (const message of session.messages.splice(0)) session.handshakeDigests.SHA256.write(message);
        session.serverRandom = Uint8Array.from(body.subarray(2, 34)).buffer;
        const idEnd = 35 + body[34];
        session.serverSessionID = body[34] > 0 ? Uint8Array.from(body.subarray(35, idEnd)).buffer : undefined;
        session.suite = body.readUInt16BE(idEnd);
        if (!Object.hasOwn(SUITES, session.suite)) throw new Error("handshake: unsuppoorted cipher");
        break;
      }
      case FINISHED:
        if (!body.subarray(0, 12).equals(verifyData(session, "server finished"))) {
          throw new Error("finished: auth err");
        }
        break;
      default:
        throw new Error(`handshake: unknown type: ${type}`);
    }
    session.handshakeProcess = type;
    session.handshakeDigests?.SHA256.write(bytes);
  },

  clientHello: Object.freeze({ name: "clientHello", packetize: missing }),
  clientKeyExchange: Object.freeze({ name: "clientKeyExchange", packetize: missing }),

  certificate: Object.freeze({
    name: "certificate",
    packetize(session: Session, certificates: readonly ArrayBuffer[]): Uint8Array {
      const list = Buffer.concat(
        certificates.flatMap((certificate) => [length(3, certificate.byteLength), Buffer.from(certificate)]),
      );
      if (certificates.length > 0) session.myCert = certificates[0];
      return send(session, CERTIFICATE, Buffer.concat([length(3, list.length), list]));
    },
  }),

  certificateVerify: Object.freeze({
    name: "certificateVerify",
    packetize(session: Session): Uint8Array {
      const { clientKey } = session.options as { clientKey: ArrayBuffer };
      const key = createPrivateKey({ key: Buffer.from(clientKey), format: "der", type: "pkcs8" });
      const hash = (session.handshakeDigests as { SHA256: Digest }).SHA256.close(true);
      const info = Buffer.concat([Buffer.from(DIGEST_INFO, "hex"), Buffer.from(hash)]);
      const signature = privateEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, info);
      return send(
        session,
        CERTIFICATE_VERIFY,
        Buffer.concat([Buffer.of(4, 1), length(2, signature.length), signature]),
      );
    },
  }),

  finished: Object.freeze({
    name: "finished",
    packetize: (session: Session): Uint8Array => send(session, FINISHED, verifyData(session, "client finished")),
  }),
});
