/** The library on Moddable: the portable core, and a Device that needs no host argument. */

import RNG from "rng";
import { base64Decode } from "../../src/crypto/base64.js";
import { IotHubError } from "../../src/errors.js";
import { checkOptions, type Rules } from "../../src/options.js";
import { HostedDevice } from "./device.js";
import { createDigest } from "./digest.js";
import { assembleHost, type ModdableHost, type PlainHostOptions, plainHostRules } from "./host.js";
import { ArithmeticRsa } from "./rsa.js";
import { defaultAnchors } from "./tls/anchors.js";
import { checkAnchor, type Trust } from "./tls/chain.js";
import { Resumption, TlsSocket } from "./tls.js";

export * from "../../src/index.js";
export { type ClockOptions, defaultTimeServers, ModdableClock } from "./clock.js";
export { readSettings } from "./config.js";
export { PreferenceStorage } from "./storage.js";
export { defaultAnchors, digicertGlobalRootCA } from "./tls/anchors.js";
export type { ModdableHost };

/** Bytes in any of the forms in which this platform has them; a `Resource` stays in flash. */
export type Bytes = Uint8Array | ArrayBuffer | { readonly byteLength: number };

export interface ModdableHostOptions extends PlainHostOptions {
  /**
   * DER of the trust anchors: chains must end in one of them, and nothing else is trusted. {@link defaultAnchors}
   * unless given.
   */
  readonly certificates?: readonly Bytes[];
  /**
   * Base64 of the SHA-256 of public keys (SubjectPublicKeyInfo in DER); if there are any, the server's must be one of
   * them. A second one, for a key in reserve, saves a visit to every device.
   */
  readonly pins?: readonly string[];
  /** For mutual TLS: DER of the client's certificate and those above it. */
  readonly clientCertificates?: readonly Bytes[];
  /** For mutual TLS: DER (PKCS#8) of the client's RSA key. */
  readonly clientKey?: Bytes;
  /**
   * Accepts every certificate, so that anybody on the way can read and change everything. For a bench, never for a
   * device.
   */
  readonly dangerouslyAcceptAnyCertificate?: boolean;
}

const hostRules = Object.freeze({
  ...plainHostRules,
  certificates: "any",
  pins: "any",
  clientCertificates: "any",
  clientKey: "any",
  dangerouslyAcceptAnyCertificate: "boolean",
} satisfies Rules<ModdableHostOptions>);

/**
 * A host over the modules of the Moddable SDK.
 * @throws {IotHubError} INVALID_OPTION
 */
export function createHost(options: ModdableHostOptions = {}): ModdableHost {
  checkOptions("", options, hostRules);
  const { certificates, clientCertificates, clientKey } = options;
  const given = certificates?.map((bytes) => checked(view(bytes)));
  if (given?.length === 0) throw new IotHubError("INVALID_OPTION", "At least one trust anchor is needed.");
  if ((clientCertificates === undefined) !== (clientKey === undefined)) {
    throw new IotHubError("INVALID_OPTION", "A client certificate and its key belong together.");
  }
  const pins = (options.pins ?? []).map(readPin);
  return assembleHost(options, (clock, random) => {
    const digest = createDigest();
    let trust: Trust | undefined;
    return {
      digest,
      rsa: digest && new ArithmeticRsa(digest),
      secure: {
        Socket: TlsSocket as never,
        settings: () => {
          if (!trust) {
            trust = Object.freeze({
              anchors: given ?? defaultAnchors(),
              pins,
              acceptAnything: options.dangerouslyAcceptAnyCertificate === true,
              nowMs: () => clock.nowMs(),
            });
            // The SDK's generator draws its seed once, on a simulator always the same.
            RNG.init(random.bytes(32).buffer as ArrayBuffer);
          }
          return {
            tls: {
              trust,
              resumption: new Resumption(() => clock.monotonicMs()),
              clientCertificates: clientCertificates?.map(buffer),
              clientKey: clientKey && buffer(clientKey),
            },
          };
        },
      },
    };
  });
}

/** A device; what its options leave out comes from the firmware's settings, a host from {@link createHost}. */
export class Device extends HostedDevice {
  static override createHost(): ModdableHost {
    return createHost();
  }
}

function view(bytes: Bytes): Uint8Array {
  return bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes as ArrayBuffer);
}

function buffer(bytes: Bytes): ArrayBuffer {
  return view(bytes).slice().buffer as ArrayBuffer;
}

function checked(der: Uint8Array): Uint8Array {
  try {
    checkAnchor(der);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new IotHubError("INVALID_OPTION", `A trust anchor cannot be used: ${reason}.`, error);
  }
  return der;
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
