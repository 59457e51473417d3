/** The library on Moddable: the portable core, and a Device that needs no host argument. */

import { base64Decode } from "../../src/crypto/base64.js";
import { bigIntOf } from "../../src/crypto/big-int.js";
import { hexDecode } from "../../src/crypto/hex.js";
import { type RsaPrivateKey, readRsaPrivateKey } from "../../src/crypto/key.js";
import { type PemOrDer, readCertificates } from "../../src/crypto/pem.js";
import { utf8 } from "../../src/crypto/utf8.js";
import { IotHubError } from "../../src/errors.js";
import { checkOptions, type Rules } from "../../src/options.js";
import { version } from "../../src/version.js";
import { HostDevice } from "./device.js";
import { createDigest } from "./digest.js";
import { createHostWith, type HttpHostOptions, httpHostRules, type ModdableHost } from "./host.js";
import { SdkRsa } from "./rsa.js";
import { defaultAnchors } from "./tls/anchors.js";
import { Certificate } from "./tls/certificate.js";
import { checkAnchor, type Trust } from "./tls/chain.js";
import { FalseStart } from "./tls/false-start.js";
import { sdkPrimitives } from "./tls/primitives.js";
import { Resumption } from "./tls/resumption.js";
import { forgetSession, SessionStore } from "./tls/session-store.js";
import { TlsTransport } from "./tls/socket.js";

export * from "../../src/index.js";
export { type ClockOptions, defaultTimeServers, ModdableClock } from "./clock.js";
export { readSettings } from "./config.js";
export { KeyValueStorage } from "./storage.js";
export { defaultAnchors, digicertGlobalRootCA } from "./tls/anchors.js";
export type { ModdableHost, PemOrDer };

/** Bytes in any of the forms in which this platform has them; a `Resource` stays in flash. */
export type Bytes = Uint8Array | ArrayBuffer | { readonly byteLength: number };

/** Options of {@link createHost}. */
export interface ModdableHostOptions extends HttpHostOptions {
  /**
   * Trust anchors: chains must end in one of them, and nothing else is trusted. DER bytes or PEM, as text or bytes, with
   * any number of certificates in it; one or a list. DER in a `Resource` stays in flash, PEM is decoded into memory.
   * @default {@link defaultAnchors}
   */
  readonly trustAnchors?: PemOrDer<Bytes> | readonly PemOrDer<Bytes>[];
  /**
   * Base64 of the SHA-256 of public keys (SubjectPublicKeyInfo in DER); if there are any, the server's must be one of
   * them. A second one, for a key in reserve, saves a visit to every device.
   */
  readonly pins?: readonly string[];
  /**
   * For mutual TLS, with `clientKey`: the client's certificate, of an RSA key, and, after it, those above it, in the
   * forms that `trustAnchors` takes.
   */
  readonly clientCertificate?: PemOrDer<Bytes> | readonly PemOrDer<Bytes>[];
  /** For mutual TLS: the client's RSA key of 2048 to 4096 bits, not encrypted, in DER or PEM (PKCS#8 or PKCS#1). */
  readonly clientKey?: PemOrDer<Bytes>;
  /**
   * Also offers cipher suites without forward secrecy (static RSA) and with CBC, for a server that speaks no ECDHE with
   * AES-GCM. Whoever gets hold of the server's key can then read what was recorded before, and the SDK does not check the
   * padding of CBC. The suites: ECDHE-RSA-AES128-SHA256, AES128-SHA256, AES256-SHA256, AES128-SHA, AES256-SHA.
   * @default false
   */
  readonly allowStaticRsaAndCbc?: boolean;
  /**
   * Sends a request with what ends this side of a full handshake, a round trip earlier (False Start, RFC 7918): once the
   * server has proven its identity and its key, with forward secrecy and AES-GCM, where it asks for no certificate. If the
   * connection then fails before the server has ended the handshake, the request is sent again at once without, though it
   * may have arrived, and so is every other one to this origin for 30 days, which the storage remembers.
   * @default true
   */
  readonly falseStart?: boolean;
  /**
   * Where TLS sessions are kept for the next connection, which then needs no public-key arithmetic: tickets (RFC 5077) and
   * session identifiers, for as long as the server says, its certificate lasts, and a day at most.
   *
   * - `"memory"`: they end with the program, as they do in deep sleep.
   * - `"storage"`: one is also kept in the host's storage, with the server's address, for a board that sleeps. It is as
   *   secret as the psk beside it: until it ends, who reads the flash can play the server to this board, and decrypt what was
   *   recorded of the connections that made and resumed it. It is bound to the origin, the trust anchors, pins, client
   *   certificate, suites and version of the library; never stored with `dangerouslyAcceptAnyCertificate`, above 400
   *   characters, or beside 300 entries of NVS; and not offered while the clock is not set. It is written only when the stored
   *   one is over, or an hour old and declined; once a day at most where sleeps last longer than sessions. A failure of TLS
   *   deletes it, {@link ModdableHost.close} keeps it, {@link ModdableHost.forget} deletes it.
   * - `false`: every handshake is a full one.
   * @default "memory"
   */
  readonly resumption?: "memory" | "storage" | false;
  /**
   * Accepts every certificate, so that anybody on the way can read and change everything. For a bench, never for a
   * device.
   */
  readonly dangerouslyAcceptAnyCertificate?: boolean;
}

const hostRules = Object.freeze({
  ...httpHostRules,
  trustAnchors: "any",
  pins: "any",
  clientCertificate: "any",
  clientKey: "any",
  allowStaticRsaAndCbc: "boolean",
  falseStart: "boolean",
  resumption: "any",
  dangerouslyAcceptAnyCertificate: "boolean",
} satisfies Rules<ModdableHostOptions>);

/**
 * A host over the modules of the Moddable SDK.
 * @throws {IotHubError} INVALID_OPTION
 */
export function createHost(options: ModdableHostOptions = {}): ModdableHost {
  checkOptions("", options, hostRules);
  const { trustAnchors, clientCertificate, clientKey } = options;
  const given =
    trustAnchors === undefined ? undefined : readChain("trustAnchors", trustAnchors, checkAnchor, "A trust anchor");
  if ((clientCertificate === undefined) !== (clientKey === undefined)) {
    throw new IotHubError("INVALID_OPTION", "clientCertificate and clientKey belong together.");
  }
  const chain =
    clientCertificate === undefined
      ? undefined
      : readChain("clientCertificate", clientCertificate, read, "A client certificate");
  if (chain && clientKey !== undefined) checkPair(chain[0], readKey(clientKey));
  const pins = (options.pins ?? []).map(readPin);
  const { resumption = "memory" } = options;
  if (resumption !== "memory" && resumption !== "storage" && resumption !== false) {
    throw new IotHubError("INVALID_OPTION", 'resumption must be "memory", "storage" or false.');
  }
  if (resumption === "storage" && options.storage === false) {
    throw new IotHubError("INVALID_OPTION", 'resumption: "storage" needs a host with storage.');
  }
  return createHostWith(options, (clock, random, storage) => {
    const digest = createDigest();
    let trust: Trust | undefined;
    let store: SessionStore | undefined;
    return {
      digest,
      rsa: digest && new SdkRsa(digest),
      forget: async () => {
        await store?.forget();
        if (storage) await forgetSession(storage);
      },
      secure: {
        Transport: TlsTransport as never,
        settings: (host, port) => {
          if (!trust) {
            trust = Object.freeze({
              anchors: given ?? defaultAnchors(),
              pins,
              acceptAnything: options.dangerouslyAcceptAnyCertificate === true,
              nowMs: () => clock.nowMs(),
            });
            if (resumption === "storage" && storage && !trust.acceptAnything) {
              const binding = bindingOf([trust.anchors, pins, chain ?? []], options.allowStaticRsaAndCbc === true);
              store = new SessionStore({ storage, clock, hash: sdkPrimitives.hash, binding });
            }
          }
          const origin = `${host}:${port}`;
          const memory = resumption === false ? undefined : new Resumption(clock, origin, store);
          return {
            memory,
            tls: {
              trust,
              resumption: memory,
              falseStart: options.falseStart === false ? undefined : new FalseStart(origin, clock, storage),
              random,
              allowStaticRsaAndCbc: options.allowStaticRsaAndCbc,
              clientCertificates: chain?.map((der) => der.slice().buffer as ArrayBuffer),
              // Made again for each server rather than kept: it is a copy of what the app holds.
              clientKey: clientKey === undefined ? undefined : pkcs8(readKey(clientKey).der),
            },
          };
        },
      },
    };
  });
}

/** A device; what its options leave out comes from the firmware's settings, a host from {@link createHost}. */
export class Device extends HostDevice {
  static override createHost(): ModdableHost {
    return createHost();
  }
}

/** Hash of whom is trusted, and as whom. */
function bindingOf(lists: readonly (readonly Uint8Array[])[], allowsStaticRsaAndCbc: boolean): Uint8Array {
  const parts = [utf8(`${version} ${allowsStaticRsaAndCbc}`)];
  for (const list of lists) {
    parts.push(utf8(` ${list.length}`));
    for (const bytes of list) parts.push(sdkPrimitives.hash("SHA256", [bytes]));
  }
  return sdkPrimitives.hash("SHA256", parts);
}

function viewOf(value: unknown): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value;
  return typeof value === "object" && value !== null ? new Uint8Array(value as ArrayBuffer) : undefined;
}

function readChain(option: string, given: unknown, check: (der: Uint8Array) => void, what: string): Uint8Array[] {
  const ders = readCertificates(option, given, viewOf);
  for (const der of ders) {
    try {
      check(der);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new IotHubError("INVALID_OPTION", `${what} cannot be used: ${reason}.`, { cause: error });
    }
  }
  return ders;
}

function read(der: Uint8Array): void {
  new Certificate(der);
}

function readKey(given: PemOrDer<Bytes>): RsaPrivateKey {
  try {
    return readRsaPrivateKey(typeof given === "string" ? given : (viewOf(given) ?? new Uint8Array(0)));
  } catch (error) {
    throw new IotHubError("INVALID_OPTION", `clientKey cannot be used. ${(error as Error).message}`, { cause: error });
  }
}

function checkPair(leaf: Uint8Array, { n }: RsaPrivateKey): void {
  let cause: unknown;
  try {
    const key = new Certificate(leaf).publicKey();
    if (key.type === "rsa" && bigIntOf(key.modulus) === n) return;
  } catch (error) {
    cause = error;
  }
  throw new IotHubError("INVALID_OPTION", "clientKey does not belong to clientCertificate.", { cause });
}

/** PrivateKeyInfo (RFC 5958 section 2) around an RSAPrivateKey, whose length always takes two octets. */
function pkcs8(der: Uint8Array): ArrayBuffer {
  const start = hexDecode("30820000020100300d06092a864886f70d010101050004820000");
  const key = new Uint8Array(start.length + der.length);
  key.set(start);
  key.set(der, start.length);
  const lengths = new DataView(key.buffer);
  lengths.setUint16(2, key.length - 4);
  lengths.setUint16(start.length - 2, der.length);
  return key.buffer;
}

function readPin(pin: string): Uint8Array {
  let bytes: Uint8Array | undefined;
  try {
    bytes = base64Decode(pin);
  } catch {
    // Reported below, with a word on what is wanted.
  }
  if (bytes?.length !== 32) {
    throw new IotHubError("INVALID_OPTION", "A pin must be Base64 of the SHA-256 of a public key.");
  }
  return bytes;
}
