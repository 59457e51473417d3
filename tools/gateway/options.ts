import { checkUiOptions, type UiOptions } from "../ui/options.js";
import type { CertificateKind, CertificateOptions, CertificateSet } from "./certificates.js";
import type { DevicesDescription } from "./devices.js";
import { GatewayError } from "./errors.js";
import type { Fault, RandomFaults } from "./faults.js";
import type { ReceivedRequest } from "./received.js";
import type { ResponseShape } from "./responses.js";

/** Options of HTTPS. */
export interface HttpsOptions {
  /** The server's certificates: a kind to generate, or an existing set. @default "chain" */
  readonly certificates?: CertificateKind | CertificateSet;
  /** Names, key types and time for generated certificates. */
  readonly certificateOptions?: CertificateOptions;
  readonly minVersion?: "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3";
  readonly maxVersion?: "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3";
  /** OpenSSL's cipher list. */
  readonly ciphers?: string;
  /** Curves for the key exchange, OpenSSL's names joined by colons. */
  readonly ecdhCurve?: string;
  /** Whether to offer session resumption. @default true */
  readonly resumption?: boolean;
  /**
   * Mutual TLS: requests client certificates of this CA (PEM); `required` rejects clients without one. @default
   * required true
   */
  readonly clientCertificate?: { readonly ca: string; readonly required?: boolean };
}

export interface GatewayOptions {
  /** Port; 0 lets the system choose. @default 0 */
  readonly port?: number;
  /**
   * Address to listen on, or several. Of several, those that this machine no longer has are left out. @default
   * 127.0.0.1
   */
  readonly host?: string | readonly string[];
  /**
   * DNS names by which clients reach the gateway, for its certificate, besides localhost and the addresses. @default none
   */
  readonly names?: readonly string[];
  /**
   * Folder that keeps the CA of HTTPS, a sample device, and registered devices over restarts. The CA is used unless
   * `https.certificates` is given, and the sample device unless `devices` is. @default none: nothing is kept
   */
  readonly state?: string;
  /** HTTPS instead of HTTP. @default false */
  readonly https?: boolean | HttpsOptions;
  /** Products and devices, or the path of a JSON file with them. @default none */
  readonly devices?: DevicesDescription | string;
  /** Tolerance of timestamps in either direction, in seconds. @default 300 */
  readonly windowSeconds?: number;
  /** Clock, returns milliseconds since 1970. @default the system's */
  readonly now?: () => number;
  /** Offset of the gateway's clock in seconds. @default 0 */
  readonly clockSkewSeconds?: number;
  /** Format of the responses. @default "response" */
  readonly responseShape?: ResponseShape;
  /** Whether gateway errors have 4xx statuses instead of 200. @default false */
  readonly mapStatus?: boolean;
  /** Host that clients must sign. @default the host of their Host header, in lower case and without port */
  readonly signedHost?: string;
  /** Maximum payload in decoded bytes. @default 16384 */
  readonly maxPayloadBytes?: number;
  /** Maximum request body in bytes. @default 65536 */
  readonly maxBodyBytes?: number;
  /** Maximum messages per second and device. @default no limit */
  readonly rateLimit?: number;
  /** Number of nonces remembered. @default 100000 */
  readonly maxNonces?: number;
  /** Number of requests kept for inspection. @default 1000 */
  readonly maxReceived?: number;
  /** Maximum number of wrong signatures diagnosed per second. @default 10 */
  readonly diagnosesPerSecond?: number;
  /** Maximum number of devices that registrations may reach, of all products together. @default 10000 */
  readonly maxDevices?: number;
  /** Maximum number of open connections; more are reset. @default 1000 */
  readonly maxConnections?: number;
  /**
   * Maximum time of a TLS handshake, of the head of a request and of its body, for each, in milliseconds, however the
   * bytes trickle in; then the connection is ended. @default 30000
   */
  readonly requestTimeoutMs?: number;
  /** Keep-alive time of idle connections in milliseconds. @default 60000 */
  readonly keepAliveTimeoutMs?: number;
  /** Permanent fault. */
  readonly fault?: Fault;
  readonly randomFaults?: RandomFaults;
  /** Name of a header with which requests can select a fault, as in `X-Mock-Fault: hang:body`. @default none */
  readonly faultHeader?: string;
  /**
   * Whether to start offline: `hang` accepts connections and never reads them, `reset` resets them. @default false
   */
  readonly offline?: false | "hang" | "reset";
  /**
   * Whether to serve a page that shows what the gateway receives and switches faults, with an API for tests in other
   * languages. It has a separate listener, HTTP on 127.0.0.1. @default false
   */
  readonly ui?: boolean | UiOptions;
  /** Called once for each request, when its response was sent or its connection closed. */
  readonly onRequest?: (request: ReceivedRequest) => void;
}

/** Validates options. @throws {GatewayError} INVALID_OPTION if one is invalid */
export function checkOptions(options: GatewayOptions): void {
  const whole = (name: keyof GatewayOptions, min: number, max: number): void => {
    const value = options[name];
    if (value === undefined) return;
    if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
      throw new GatewayError("INVALID_OPTION", `${name} must be an integer from ${min} to ${max}.`);
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
  whole("maxDevices", 0, 1e6);
  whole("maxConnections", 1, 1e6);
  whole("requestTimeoutMs", 1, 2 ** 31 - 1);
  whole("keepAliveTimeoutMs", 1, 2 ** 31 - 1);
  checkOffline(options.offline);
  checkUiOptions(options.ui);
  if (typeof options.host === "object" && options.host.length === 0) {
    throw new GatewayError("INVALID_OPTION", "host must name at least one address.");
  }
  const { faultHeader } = options;
  if (faultHeader !== undefined && !/^[A-Za-z0-9-]+$/.test(faultHeader)) {
    throw new GatewayError("INVALID_OPTION", "faultHeader must be a valid header name.");
  }
}

/** @throws {GatewayError} INVALID_OPTION */
export function checkOffline(offline: unknown): void {
  if (offline !== undefined && offline !== false && offline !== "hang" && offline !== "reset") {
    throw new GatewayError("INVALID_OPTION", 'offline must be false, "hang" or "reset".');
  }
}
