/**
 * `ssl/session`: the client's side of TLS 1.2 (RFC 5246) over a socket that is read and written by hand, as the SDK's
 * session for ECMA-419 sockets is. It checks as little as it can: what a careful client refuses, the host's guard has to.
 */

import {
  constants,
  createCipheriv,
  createDecipheriv,
  createECDH,
  createHash,
  createHmac,
  createPublicKey,
  type KeyObject,
  publicEncrypt,
  sign,
  verify,
} from "node:crypto";
import type Curve from "./curve.js";
import ECDSA from "./ecdsa.js";
import type ECPoint from "./ecp.js";
import RNG from "./rng.js";
import CertificateManager from "./ssl-cert.js";

interface Stream {
  readable: number;
  writable: number;
  read(into: Uint8Array): unknown;
  write(packet: Uint8Array): number;
}

interface Cache {
  getByHost(host: string): { id: ArrayBuffer; secret: ArrayBuffer } | undefined;
  saveSession(host: string, id: ArrayBuffer, secret: ArrayBuffer): void;
  deleteSessionID(id: ArrayBuffer): void;
}

interface Options {
  readonly serverName?: string;
  readonly applicationLayerProtocolNegotiation?: string;
}

type ServerKey = { modulus: bigint; exponent: bigint } | { curve: Curve; pub: ECPoint };

const CHANGE_CIPHER_SPEC = 20;
const ALERT = 21;
const HANDSHAKE = 22;
const DATA = 23;

const HELLO_REQUEST = 0;
const CLIENT_HELLO = 1;
const SERVER_HELLO = 2;
const CERTIFICATE = 11;
const SERVER_KEY_EXCHANGE = 12;
const CERTIFICATE_REQUEST = 13;
const SERVER_HELLO_DONE = 14;
const CERTIFICATE_VERIFY = 15;
const CLIENT_KEY_EXCHANGE = 16;
const FINISHED = 20;

/** With AES-128-GCM and SHA-256: ECDHE-ECDSA, ECDHE-RSA, RSA (RFC 5289, RFC 5288). */
const SUITES = [0xc02b, 0xc02f, 0x009c];

class Cipher {
  #sequence = 0n;
  constructor(
    readonly key: Buffer,
    readonly salt: Buffer,
  ) {}

  /** RFC 5288 section 3: the nonce's second half goes along. */
  seal(type: number, data: Uint8Array): Buffer {
    const explicit = Buffer.alloc(8);
    explicit.writeBigUInt64BE(this.#sequence);
    const cipher = createCipheriv("aes-128-gcm", this.key, Buffer.concat([this.salt, explicit]));
    cipher.setAAD(this.#header(type, data.length));
    return Buffer.concat([explicit, cipher.update(data), cipher.final(), cipher.getAuthTag()]);
  }

  open(type: number, data: Buffer): Buffer {
    const decipher = createDecipheriv("aes-128-gcm", this.key, Buffer.concat([this.salt, data.subarray(0, 8)]));
    decipher.setAAD(this.#header(type, data.length - 24));
    decipher.setAuthTag(data.subarray(-16));
    return Buffer.concat([decipher.update(data.subarray(8, -16)), decipher.final()]);
  }

  #header(type: number, length: number): Buffer {
    const header = Buffer.alloc(13);
    header.writeBigUInt64BE(this.#sequence++);
    header.set([type, 3, 3], 8);
    header.writeUInt16BE(length, 11);
    return header;
  }
}

export default class Session {
  certificateManager: object;
  cacheManager: object | undefined;
  handshakeProcess = -1;
  alert: { level: number; description: number } | undefined;
  clientSessionID: ArrayBuffer | undefined;
  clientRandom: ArrayBuffer = new ArrayBuffer(0);
  serverRandom: ArrayBuffer = new ArrayBuffer(0);

  readonly #options: Options;
  #packet: Uint8Array | undefined;
  #packetLength = 0;
  #messages: Buffer[] = [];
  #suite = 0;
  #serverSessionID: Buffer = Buffer.alloc(0);
  #peer: ArrayBuffer | undefined;
  #serverPoint: Buffer | undefined;
  #certificateWanted = false;
  #secret: Buffer | undefined;
  #clientCipher: Cipher | undefined;
  #serverCipher: Cipher | undefined;
  #data: Uint8Array | undefined;

  constructor(options: object) {
    this.#options = options as Options;
    this.certificateManager = new CertificateManager(options);
  }

  initiateHandshake(): void {
    this.handshakeProcess = HELLO_REQUEST;
  }

  handshake(stream: Stream): boolean {
    let through = false;
    switch (this.handshakeProcess) {
      case HELLO_REQUEST:
        this.#sendHello(stream);
        this.handshakeProcess = -1;
        break;
      case SERVER_HELLO_DONE:
        this.#sendKeys(stream);
        this.handshakeProcess = -1;
        break;
      case FINISHED:
        if (this.#resumed) this.#sendFinished(stream);
        this.#save();
        through = true;
        break;
      default: {
        if (stream.readable === 0) break;
        const packet = this.readPacket(stream);
        if (packet) this.#takeRecord(packet);
      }
    }
    return through || this.alert !== undefined;
  }

  read(stream: Stream): Uint8Array | undefined | null {
    while (stream.readable > 0) {
      const packet = this.readPacket(stream);
      if (!packet) return undefined;
      this.#takeRecord(packet);
      if (this.alert) return null;
      const data = this.#data;
      this.#data = undefined;
      if (data) return data;
    }
    return undefined;
  }

  write(stream: Stream, data: Uint8Array): number {
    stream.writable = this.#send(stream, DATA, data);
    return Math.max(0, stream.writable - 32);
  }

  /** Only alerts come this way. */
  doProtocol(stream: Stream, _protocol: object, level: number, description: number): void {
    this.#send(stream, ALERT, Uint8Array.of(level, description));
  }

  readPacket(stream: Stream): ArrayBuffer | undefined {
    this.#packet ??= new Uint8Array(5);
    for (;;) {
      const packet: Uint8Array = this.#packet;
      const count: number = Math.min(packet.length - this.#packetLength, stream.readable);
      if (count > 0) stream.read(packet.subarray(this.#packetLength, this.#packetLength + count));
      stream.readable -= count;
      this.#packetLength += count;
      if (this.#packetLength < packet.length) return undefined;
      const length: number = 5 + ((packet[3] << 8) | packet[4]);
      if (packet.length === length) break;
      this.#packet = new Uint8Array(length);
      this.#packet.set(packet);
    }
    const { buffer } = this.#packet;
    this.#packet = undefined;
    this.#packetLength = 0;
    return buffer as ArrayBuffer;
  }

  get #resumed(): boolean {
    const id = this.clientSessionID;
    return id !== undefined && id.byteLength > 0 && Buffer.from(id).equals(this.#serverSessionID);
  }

  #send(stream: Stream, type: number, data: Uint8Array): number {
    const body = this.#clientCipher?.seal(type, data) ?? Buffer.from(data);
    return stream.write(Buffer.concat([Buffer.from([type, 3, 3, body.length >> 8, body.length & 255]), body]));
  }

  #sendMessage(stream: Stream, type: number, body: Buffer): void {
    const message = Buffer.concat([Buffer.from([type, 0, body.length >> 8, body.length & 255]), body]);
    this.#messages.push(message);
    this.#send(stream, HANDSHAKE, message);
  }

  #sendHello(stream: Stream): void {
    const { serverName, applicationLayerProtocolNegotiation: protocol } = this.#options;
    const kept = (this.cacheManager as Cache | undefined)?.getByHost(serverName ?? "");
    if (kept) {
      this.clientSessionID = kept.id;
      this.#secret = Buffer.from(kept.secret);
    }
    this.clientRandom = RNG.get(32);
    const extensions = [
      serverName === undefined
        ? undefined
        : extension(0, vector(2, Buffer.concat([Buffer.of(0), vector(2, serverName)]))),
      extension(10, vector(2, words(23))),
      extension(11, vector(1, Buffer.of(0))),
      extension(13, vector(2, words(0x0401, 0x0403))),
      protocol === undefined ? undefined : extension(16, vector(2, vector(1, protocol))),
    ].filter((part) => part !== undefined);
    const body = Buffer.concat([
      words(0x0303),
      Buffer.from(this.clientRandom),
      vector(1, Buffer.from(this.clientSessionID ?? new ArrayBuffer(0))),
      vector(2, words(...SUITES)),
      vector(1, Buffer.of(0)),
      vector(2, Buffer.concat(extensions)),
    ]);
    this.#sendMessage(stream, CLIENT_HELLO, body);
  }

  #takeRecord(packet: ArrayBuffer): void {
    const bytes = Buffer.from(packet);
    const type = bytes[0];
    const data = this.#serverCipher?.open(type, bytes.subarray(5)) ?? bytes.subarray(5);
    switch (type) {
      case CHANGE_CIPHER_SPEC:
        this.#serverCipher = this.#cipher("server");
        return;
      case ALERT:
        this.alert = { level: data[0], description: data[1] };
        if (data[1] !== 0) throw new Error(`alert: ${data[0]}, ${data[1]}`);
        return;
      case HANDSHAKE:
        for (let at = 0; at < data.length; ) {
          const end = at + 4 + data.readUIntBE(at + 1, 3);
          this.#takeMessage(data.subarray(at, end));
          at = end;
        }
        return;
      case DATA:
        this.#data = Uint8Array.from(data);
        return;
      default:
        throw new Error("recordProtocol: bad data");
    }
  }

  #takeMessage(message: Buffer): void {
    const type = message[0];
    const body = message.subarray(4);
    if (type === FINISHED) this.#takeFinished(body);
    this.#messages.push(message);
    this.handshakeProcess = type;
    switch (type) {
      case SERVER_HELLO: {
        this.serverRandom = Uint8Array.from(body.subarray(2, 34)).buffer;
        const idEnd = 35 + body[34];
        this.#serverSessionID = body.subarray(35, idEnd);
        this.#suite = body.readUInt16BE(idEnd);
        if (!SUITES.includes(this.#suite)) throw new Error("handshake: unsupported cipher");
        return;
      }
      case CERTIFICATE: {
        const certificates: Uint8Array[] = [];
        for (let at = 3; at < body.length; ) {
          const end = at + 3 + body.readUIntBE(at, 3);
          certificates.push(Uint8Array.from(body.subarray(at + 3, end)));
          at = end;
        }
        const manager = this.certificateManager as CertificateManager;
        if (!manager.verify(certificates, this.#options)) throw new Error("certificate: auth err");
        this.#peer = certificates[0].slice().buffer as ArrayBuffer;
        manager.register(this.#peer);
        return;
      }
      case SERVER_KEY_EXCHANGE: {
        const end = 4 + body[3];
        this.#serverPoint = body.subarray(4, end);
        const length = body.readUInt16BE(end + 2);
        if (!this.#isSigned(body.subarray(0, end), body.subarray(end + 4, end + 4 + length))) {
          throw new Error("serverKeyExchange: failed to verify signature");
        }
        return;
      }
      case CERTIFICATE_REQUEST:
        this.#certificateWanted = true;
        return;
    }
  }

  get #serverKey(): ServerKey {
    const manager = this.certificateManager as CertificateManager;
    return manager.getKey(this.#peer as ArrayBuffer) as ServerKey;
  }

  #isSigned(parameters: Buffer, signature: Buffer): boolean {
    const key = this.#serverKey;
    const signed = Buffer.concat([Buffer.from(this.clientRandom), Buffer.from(this.serverRandom), parameters]);
    if ("modulus" in key) return verify("sha256", signed, rsaKey(key), signature);
    // r and s, from DER with lengths below 128.
    const r = signature.subarray(4, 4 + signature[3]);
    const s = signature.subarray(6 + signature[3]);
    const hash = Uint8Array.from(createHash("sha256").update(signed).digest()).buffer;
    return new ECDSA(key.pub, key.curve)._verify(hash, toBigInt(r), toBigInt(s));
  }

  #sendKeys(stream: Stream): void {
    const manager = this.certificateManager as CertificateManager;
    const own = this.#certificateWanted ? manager.findPreferredCert() : [];
    if (this.#certificateWanted) {
      const list = Buffer.concat(own.map((der) => vector(3, Buffer.from(der))));
      this.#sendMessage(stream, CERTIFICATE, vector(3, list));
    }
    let premaster: Buffer;
    if (this.#suite >> 8 === 0xc0) {
      const ecdh = createECDH("prime256v1");
      ecdh.setPrivateKey(Buffer.from(RNG.get(32)));
      premaster = ecdh.computeSecret(this.#serverPoint as Buffer);
      this.#sendMessage(stream, CLIENT_KEY_EXCHANGE, vector(1, ecdh.getPublicKey()));
    } else {
      premaster = Buffer.concat([words(0x0303), Buffer.from(RNG.get(46))]);
      const key = rsaKey(this.#serverKey as { modulus: bigint; exponent: bigint });
      const sealed = publicEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, premaster);
      this.#sendMessage(stream, CLIENT_KEY_EXCHANGE, vector(2, sealed));
    }
    const randoms = Buffer.concat([Buffer.from(this.clientRandom), Buffer.from(this.serverRandom)]);
    this.#secret = prf(premaster, "master secret", randoms, 48);
    if (own.length > 0) {
      const signature = sign("sha256", Buffer.concat(this.#messages), manager.getKey(own[0]) as KeyObject);
      this.#sendMessage(stream, CERTIFICATE_VERIFY, Buffer.concat([words(0x0401), vector(2, signature)]));
    }
    this.#sendFinished(stream);
  }

  #sendFinished(stream: Stream): void {
    this.#send(stream, CHANGE_CIPHER_SPEC, Uint8Array.of(1));
    this.#clientCipher = this.#cipher("client");
    this.#sendMessage(stream, FINISHED, this.#finished("client finished"));
  }

  #takeFinished(body: Buffer): void {
    if (!body.equals(this.#finished("server finished"))) throw new Error("finished: auth err");
  }

  #finished(label: string): Buffer {
    const hash = createHash("sha256").update(Buffer.concat(this.#messages)).digest();
    return prf(this.#secret as Buffer, label, hash, 12);
  }

  #cipher(side: "client" | "server"): Cipher {
    const randoms = Buffer.concat([Buffer.from(this.serverRandom), Buffer.from(this.clientRandom)]);
    const block = prf(this.#secret as Buffer, "key expansion", randoms, 40);
    const [key, salt] = side === "client" ? [0, 32] : [16, 36];
    return new Cipher(block.subarray(key, key + 16), block.subarray(salt, salt + 4));
  }

  #save(): void {
    const cache = this.cacheManager as Cache | undefined;
    const { serverName = "" } = this.#options;
    if (this.#serverSessionID.length > 0) {
      const secret = Uint8Array.from(this.#secret as Buffer).buffer;
      cache?.saveSession(serverName, Uint8Array.from(this.#serverSessionID).buffer, secret);
    }
    if (this.clientSessionID && !this.#resumed) cache?.deleteSessionID(this.clientSessionID);
  }
}

/** RFC 5246 section 5, with SHA-256. */
function prf(secret: Buffer, label: string, seed: Buffer, length: number): Buffer {
  const whole = Buffer.concat([Buffer.from(label), seed]);
  const parts: Buffer[] = [];
  let a: Buffer = whole;
  for (let size = 0; size < length; size += 32) {
    a = createHmac("sha256", secret).update(a).digest();
    parts.push(createHmac("sha256", secret).update(a).update(whole).digest());
  }
  return Buffer.concat(parts).subarray(0, length);
}

function rsaKey({ modulus, exponent }: { modulus: bigint; exponent: bigint }): KeyObject {
  const text = (number: bigint) => {
    const hex = number.toString(16);
    return Buffer.from(hex.padStart(hex.length + (hex.length % 2), "0"), "hex").toString("base64url");
  };
  return createPublicKey({ key: { kty: "RSA", n: text(modulus), e: text(exponent) }, format: "jwk" });
}

function toBigInt(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString("hex") || "0"}`);
}

function words(...values: number[]): Buffer {
  return Buffer.from(values.flatMap((value) => [value >> 8, value & 255]));
}

function vector(lengthBytes: number, content: Uint8Array | string): Buffer {
  const bytes = Buffer.from(content as string);
  const length = Buffer.alloc(lengthBytes);
  length.writeUIntBE(bytes.length, 0, lengthBytes);
  return Buffer.concat([length, bytes]);
}

function extension(type: number, content: Buffer): Buffer {
  return Buffer.concat([words(type), vector(2, content)]);
}
