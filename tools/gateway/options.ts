import type { CertificateKind, CertificateOptions, CertificateSet } from "./certificates.js";
import type { DevicesDescription } from "./devices.js";
import { GatewayError } from "./errors.js";
import type { Fault, RandomFaults } from "./faults.js";
import type { ReceivedRequest } from "./received.js";
import type { ResponseShape } from "./responses.js";

/** HTTPS. Everything has a default. */
export interface HttpsOptions {
  /** What the server shows: a kind to generate (`"chain"` by default) or a finished set. */
  readonly certificates?: CertificateKind | CertificateSet;
  /** Names, key types and time for generated certificates. */
  readonly certificateOptions?: CertificateOptions;
  readonly minVersion?: "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3";
  readonly maxVersion?: "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3";
  /** OpenSSL's cipher list. */
  readonly ciphers?: string;
  /** Curves for the key exchange, OpenSSL's names joined by colons. */
  readonly ecdhCurve?: string;
  /** Offer session resumption. @default true */
  readonly resumption?: boolean;
  /** Mutual TLS: ask clients for a certificate of this CA (PEM); `required` (default) refuses those without. */
  readonly clientCertificate?: { readonly ca: string; readonly required?: boolean };
}

export interface GatewayOptions {
  /** 0 (default) lets the system choose. */
  readonly port?: number;
  /** Address to listen on. @default 127.0.0.1 */
  readonly host?: string;
  /** HTTPS instead of HTTP. @default false */
  readonly https?: boolean | HttpsOptions;
  /** Products and devices, or the path of a JSON file with them. @default none */
  readonly devices?: DevicesDescription | string;
  /** How far a timestamp may be off in either direction, in seconds. @default 300 */
  readonly windowSeconds?: number;
  /** The clock, milliseconds since 1970. @default the system's */
  readonly now?: () => number;
  /** Added to the clock, in seconds: a gateway whose clock is wrong. */
  readonly clockSkewSeconds?: number;
  /** Shape of the responses. @default "response" */
  readonly responseShape?: ResponseShape;
  /** ResponseContent business errors with statuses of the 400s; false (default): with 200. */
  readonly mapStatus?: boolean;
  /** The host that clients must have signed; by default the one in their Host header, lower case, without port. */
  readonly signedHost?: string;
  /** Limit of a payload in decoded bytes. @default 16384 */
  readonly maxPayloadBytes?: number;
  /** Limit of a request's body in bytes. @default 65536 */
  readonly maxBodyBytes?: number;
  /** Messages a second and device. @default no limit */
  readonly rateLimit?: number;
  /** How many nonces are remembered. @default 100000 */
  readonly maxNonces?: number;
  /** How many requests are kept for inspection. @default 1000 */
  readonly maxReceived?: number;
  /** How many wrong signatures are diagnosed within a second. @default 10 */
  readonly diagnosesPerSecond?: number;
  /** How long an idle connection is kept, in milliseconds. @default 60000 */
  readonly keepAliveTimeoutMs?: number;
  /** A fault that is always on. */
  readonly fault?: Fault;
  readonly randomFaults?: RandomFaults;
  /** Let a request choose its own fault by this header, e.g. `X-Mock-Fault: hang:body`. @default off */
  readonly faultHeader?: string;
  /** Called once for each request when its response was sent or its connection ended. */
  readonly onRequest?: (request: ReceivedRequest) => void;
}

/** @throws GatewayError INVALID_OPTION */
export function checkOptions(options: GatewayOptions): void {
  const whole = (name: keyof GatewayOptions, min: number, max: number): void => {
    const value = options[name];
    if (value === undefined) return;
    if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
      throw new GatewayError("INVALID_OPTION", `${name} must be a whole number from ${min} to ${max}.`);
    }
  };
  whole("port", 0, 65535);
  whole("windowSeconds", 0, 1e12);
  whole("maxPayloadBytes", 1, 2 ** 28);
  whole("maxBodyBytes", 1, 2 ** 28);
  whole("rateLimit", 1, 1e6);
  whole("maxNonces", 1, 1e7);
  whole("maxReceived", 0, 1e6);
  whole("diagnosesPerSecond", 0, 1000);
  whole("keepAliveTimeoutMs", 1, 2 ** 31 - 1);
  const { faultHeader } = options;
  if (faultHeader !== undefined && !/^[A-Za-z0-9-]+$/.test(faultHeader)) {
    throw new GatewayError("INVALID_OPTION", "faultHeader must be the name of a header.");
  }
}
