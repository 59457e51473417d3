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

declare module "ssl/cert" {
  export default class CertificateManager {
    constructor(options: object);
    verify(certificates: Uint8Array[], options: object): boolean;
    register(certificate: ArrayBuffer): void;
    getKey(certificate: ArrayBuffer): object | undefined;
  }
}

declare module "ssl/session" {
  interface RecordSource {
    readable: number;
    writable: number;
    read(into: Uint8Array): unknown;
    write(packet: Uint8Array): number;
  }

  /** The session of ECMA-419 sockets (`session_419`). */
  export default class Session {
    constructor(options: object);
    certificateManager: object;
    cacheManager: object;
    /** The message that the handshake is at; 0, 14 and 20 want something written. */
    handshakeProcess: number;
    alert: { level: number; description: number } | undefined;
    clientSessionID: ArrayBuffer | undefined;
    clientRandom: ArrayBuffer;
    serverRandom: ArrayBuffer;
    initiateHandshake(): void;
    /** True when the handshake is through, or an alert has ended it. */
    handshake(stream: RecordSource): boolean;
    /** Data, undefined if a record is not complete, null if the peer has closed. */
    read(stream: RecordSource): Uint8Array | undefined | null;
    write(stream: RecordSource, data: Uint8Array): number;
    readPacket(stream: RecordSource): ArrayBuffer | undefined;
    doProtocol(stream: RecordSource, protocol: object, ...parameters: number[]): void;
  }
}
