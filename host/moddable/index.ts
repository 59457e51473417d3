/** The library for Moddable: the portable core, and a Device with a default host. */

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

/** Bytes in any form of this platform; a `Resource` stays in flash. */
export type Bytes = Uint8Array | ArrayBuffer | { readonly byteLength: number };

/** Options of {@link createHost}. */
export interface ModdableHostOptions extends HttpHostOptions {
  /**
   * Trust anchors. Certificate chains must end in one of them; no others are trusted. DER bytes, or PEM as text or
   * bytes with one or more certificates; one or a list. DER in a `Resource` stays in flash, PEM is decoded into memory.
   * @default {@link defaultAnchors}
   */
  readonly trustAnchors?: PemOrDer<Bytes> | readonly PemOrDer<Bytes>[];
  /**
   * Public key pins: Base64 of the SHA-256 of SubjectPublicKeyInfo in DER. If there are any, the server's key must
   * match one. Add the pin of a backup key, or a key change will lock out every device. @default none
   */
  readonly pins?: readonly string[];
  /**
   * For mutual TLS, with `clientKey`: the client's RSA certificate, followed by its intermediate certificates, in the
   * formats of `trustAnchors`.
   */
  readonly clientCertificate?: PemOrDer<Bytes> | readonly PemOrDer<Bytes>[];
  /** For mutual TLS: the client's RSA key of 2048 to 4096 bits, unencrypted, in DER or PEM (PKCS#8 or PKCS#1). */
  readonly clientKey?: PemOrDer<Bytes>;
  /**
   * Also offers cipher suites without forward secrecy (static RSA) and with CBC, for servers without ECDHE and AES-GCM.
   * Anyone who obtains the server's key can then decrypt recorded traffic, and the SDK does not check CBC padding. The
   * suites: ECDHE-RSA-AES128-SHA256, AES128-SHA256, AES256-SHA256, AES128-SHA, AES256-SHA.
   * @default false
   */
  readonly allowStaticRsaAndCbc?: boolean;
  /**
   * TLS False Start (RFC 7918): sends the request together with the client's Finished, one round trip earlier. Only
   * after the server has proven its identity and key, with forward secrecy and AES-GCM, and if it requests no client
   * certificate. If the connection then fails before the server's Finished, the request, which may have arrived, is
   * resent at once without False Start, and False Start is disabled for this origin for 30 days, which is stored.
   * @default true
   */
  readonly falseStart?: boolean;
  /**
   * TLS session resumption, which saves the public-key operations of the next handshake: tickets (RFC 5077) and session
   * identifiers. Sessions are used for at most a day, the lifetime given by the server, and the validity of its
   * certificate.
   *
   * - `"memory"`: sessions are lost at a restart and in deep sleep.
   * - `"storage"`: one session is also kept in the host's storage, with the server's address, for boards that sleep. It
   *   is as sensitive as the PSK: until it expires, anyone who reads the flash can impersonate the server to this
   *   board, and can decrypt recorded traffic of the connections that created or resumed it. It is bound to the origin,
   *   the trust anchors, pins, client certificate, cipher suites and library version. It is never stored with
   *   `dangerouslyAcceptAnyCertificate`, above 400 characters, or if NVS has more than 300 entries in use, and not
   *   offered while the clock is not set. It is written only when the stored session has expired, or was declined and
   *   is an hour old; at most once a day if sleeps last longer than sessions. A TLS failure and {@link
   *   ModdableHost.forget} delete it, {@link ModdableHost.close} keeps it.
   * - `false`: no resumption.
   * @default "memory"
   */
  readonly resumption?: "memory" | "storage" | false;
  /**
   * Accepts every certificate, so that anyone on the network path can read and modify all traffic. Only for tests,
   * never for deployed devices. @default false
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
 * Creates a host based on the Moddable SDK, with TLS. Options that select certificates are checked here, not at the
 * first request.
 * @throws {IotHubError} INVALID_OPTION if an option is unknown or invalid, or a certificate or the key cannot be used
 * @example
 *   const host = createHost({ trustAnchors: new Resource("my-root.der"), resumption: "storage" });
 *   const device = new Device({ productId, deviceName, credential: { secret: psk } }, host);
 */
export function createHost(options: ModdableHostOptions = {}): ModdableHost {
  checkOptions("", options, hostRules);
  const { trustAnchors, clientCertificate, clientKey } = options;
  const given =
    trustAnchors === undefined ? undefined : readChain("trustAnchors", trustAnchors, checkAnchor, "A trust anchor");
  if ((clientCertificate === undefined) !== (clientKey === undefined)) {
    throw new IotHubError("INVALID_OPTION", "clientCertificate and clientKey must be given together.");
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
              // Created for each server rather than cached, as it copies data that the app holds.
              clientKey: clientKey === undefined ? undefined : pkcs8(readKey(clientKey).der),
            },
          };
        },
      },
    };
  });
}

/**
 * A device. Missing options are read from the firmware's settings; without a host argument it creates one with {@link
 * createHost}.
 */
export class Device extends HostDevice {
  static override createHost(): ModdableHost {
    return createHost();
  }
}

/** Hash of the trust anchors, pins and client certificate that a session is bound to. */
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
  throw new IotHubError("INVALID_OPTION", "clientKey does not match clientCertificate.", { cause });
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
    // Reported below, with the expected format.
  }
  if (bytes?.length !== 32) {
    throw new IotHubError("INVALID_OPTION", "A pin must be Base64 of the SHA-256 of a public key.");
  }
  return bytes;
}
