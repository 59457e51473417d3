/** What this host uses of the Moddable SDK 8 and no published typings declare. */

interface ArrayBufferConstructor {
  fromBigInt(value: bigint, minBytes?: number): ArrayBuffer;
}

declare module "rsa" {
  /** RSA by CRT if p and q are given. */
  export default class RSA {
    constructor(exponent: bigint, modulus: bigint, p?: bigint, q?: bigint, dP?: bigint, dQ?: bigint, qInv?: bigint);
    process(number: bigint): bigint;
  }
}

declare module "resetReason" {
  /** ESP32: why the board was started, as ESP-IDF's number and in words; a number that it has no words for is `"Invalid"`. */
  export default function getResetReason(): { readonly reason: number; readonly string: string };
}

declare module "rng" {
  const RNG: {
    get(bytes: number): ArrayBuffer;
    /** Starts the generator anew from a seed. */
    init(seed: ArrayBuffer): void;
  };
  export default RNG;
}

declare module "ecp" {
  export default class ECPoint {
    static fromOctetString(bytes: Uint8Array): ECPoint;
    readonly X: bigint;
    readonly Y: bigint;
    /** Whether it is the point at infinity. */
    isZero(): boolean;
  }
}

declare module "curve" {
  import type ECPoint from "ecp";
  export default class Curve {
    constructor(name: string);
    /** The generator. */
    readonly G: ECPoint;
    /** The order. */
    readonly n: bigint;
    /** Bytes of the order. */
    readonly orderSize: number;
    readonly ec: {
      mul(P: ECPoint, k: bigint): ECPoint;
      /** k·P + l·Q */
      mul2(P: ECPoint, k: bigint, Q: ECPoint, l: bigint): ECPoint;
    };
  }
}

declare module "modular" {
  /** Arithmetic modulo m. */
  export default class Modular {
    constructor(m: bigint);
    mulinv(a: bigint): bigint;
  }
}

declare module "ssl/alert" {
  const SSLAlert: object;
  export default SSLAlert;
}

declare module "ssl/stream" {
  /** Bytes that the SDK's protocols read. */
  export default class SSLStream {
    constructor(bytes: Uint8Array);
  }
}

declare module "ssl/handshake" {
  import type Session from "ssl/session";
  import type SSLStream from "ssl/stream";

  const handshakeProtocol: {
    readonly clientHello: object;
    readonly clientKeyExchange: object;
    /** Puts a head before the body, counts both in, and returns a record. */
    packetize(session: Session, type: number, body: SSLStream): Uint8Array;
    /** Acts on a message, and counts it in. */
    unpacketize(session: Session, message: SSLStream): void;
  };
  export default handshakeProtocol;
}

declare module "ssl/record" {
  import type Session from "ssl/session";

  const recordProtocol: {
    /** Opens a record and acts on what is in it. Takes typed arrays, too. */
    unpacketize(session: Session, record: ArrayBuffer): void;
  };
  export default recordProtocol;
}

declare module "ssl/prf" {
  import type Session from "ssl/session";
  /** RFC 5246 section 5, with the hash of the session's suite. */
  export default function PRF(
    session: Session,
    secret: ArrayBuffer,
    label: string,
    seed: ArrayBuffer,
    length: number,
  ): ArrayBuffer;
}

declare module "ssl/session" {
  interface RecordSink {
    write(packet: Uint8Array): number;
  }

  interface TranscriptDigest {
    write(bytes: ArrayBuffer): void;
    /** @param more whether it goes on */
    close(more?: boolean): ArrayBuffer;
  }

  /** The session of ECMA-419 sockets (`session_419`). */
  export default class Session {
    constructor(options: object);
    /** The message that the handshake is at; 0, 14 and 20 want something written. */
    handshakeProcess: number;
    alert: { level: number; description: number } | undefined;
    /** Identifier of the offered session; must be cleared when the server declines it. */
    clientSessionID: ArrayBuffer | undefined;
    masterSecret: ArrayBuffer | undefined;
    clientRandom: ArrayBuffer;
    serverRandom: ArrayBuffer;
    /** From ServerHello on. */
    handshakeDigests: { readonly SHA256: TranscriptDigest } | undefined;
    /** DER of what is sent where a certificate is asked for; undefined where none is. */
    clientCerts: readonly ArrayBuffer[] | undefined;
    /** Records that were opened since ChangeCipherSpec. */
    readSeqNum: bigint | undefined;
    applicationData: Uint8Array | undefined;
    initiateHandshake(): void;
    /** Writes what is to be written at the message that the handshake is at. */
    handshake(sink: RecordSink): boolean;
    write(sink: RecordSink, data: Uint8Array): number;
    doProtocol(sink: RecordSink, protocol: object, ...parameters: number[]): void;
  }
}
