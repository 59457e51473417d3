/**
 * All errors of this library are {@link IotHubError}s with a stable `code`. Programs branch on the code or its class;
 * people read the message, which is one sentence without secrets or keys.
 *
 * Single source of what an error means: `errorTable` maps each code to its class, {@link gatewayCodes} maps the
 * gateway's codes to classes, and `errorClasses` defines how each class is handled. `retryable`, request retries,
 * the outbox, the log and the table of docs/errors.md are derived from these three.
 */

/** How errors of a class are handled. */
interface ErrorClassRow {
  /** Whether the same request may succeed later without any change by the caller. */
  readonly retryable: boolean;
  /** Whether a request is retried within one call, after a delay. */
  readonly transient: boolean;
}

const row = (retryable: boolean, transient: boolean): ErrorClassRow => Object.freeze({ retryable, transient });

/**
 * Classes of errors: what an error means for the message being sent. Only `message`, `unknown` and `unreadable` can
 * remove a message from the outbox, and only on evidence.
 */
export const errorClasses = Object.freeze({
  /** The caller's input or an option is wrong; nothing was sent. */
  input: row(false, false),
  /** This message can never be accepted. */
  message: row(false, false),
  /**
   * The gateway rejected it with a code that this version does not know, or a non-JSON response with a 4xx status came.
   */
  unknown: row(false, false),
  /** The gateway did not understand the request format that this library always uses. */
  protocol: row(false, false),
  /** The response is not from the gateway or cannot be parsed: a captive portal, a proxy. */
  unreadable: row(true, true),
  /** The gateway could not be reached, or the connection failed. */
  network: row(true, true),
  /** A time limit was exceeded. */
  timeout: row(true, true),
  /** Too many requests, according to the device's own limit or the gateway's. */
  throttled: row(true, true),
  /** Temporary failure of the gateway. */
  server: row(true, true),
  /** The clock is not set, or the gateway rejected the timestamp as too far from its own clock. */
  clock: row(true, false),
  /** The server's certificate was not accepted. */
  certificate: row(true, false),
  /** The signature, the key or the kind of credential was rejected. */
  credential: row(false, false),
  /** The account cannot be used, for instance because it is in arrears. */
  account: row(true, false),
  /** The device does not exist, or was disabled. */
  device: row(true, false),
  /** A setting in the console must be changed: the product, a topic permission, a limit. */
  console: row(true, false),
  /** The storage failed, or is full. */
  storage: row(true, false),
  /** A hardware fault or a misuse of the API, for instance a signer used after `close()`. */
  state: row(false, false),
  /** The caller aborted the request, or the device was closed. */
  cancelled: row(false, false),
});

/** What an error means for the message being sent: a key of `errorClasses`. */
export type ErrorClass = keyof typeof errorClasses;

// The comment above each code is its meaning in docs/errors.md and in editors; strings at run time would cost flash.

/**
 * Every code with its class. For `GATEWAY_REJECTED` and `HTTP_STATUS` this is the default, see {@link ResponseError}.
 */
export const errorTable = Object.freeze({
  /** ProductId has characters other than letters, digits and underscores */
  INVALID_PRODUCT_ID: "input",
  /** DeviceName is not 1 to 48 characters of letters, digits, `:`, `_`, `-` */
  INVALID_DEVICE_NAME: "input",
  /** topic is empty, not a string, or contains NUL */
  INVALID_TOPIC: "message",
  /** topic has more than 255 bytes */
  TOPIC_TOO_LONG: "message",
  /** topic contains `+` or `#` */
  TOPIC_WILDCARD: "message",
  /** payload is neither text, bytes nor an object that JSON can represent */
  INVALID_PAYLOAD: "message",
  /** payload exceeds `maxPayloadBytes`, or what the outbox can hold */
  PAYLOAD_TOO_LARGE: "message",
  /** encoding is neither `"Base64"` nor absent */
  INVALID_ENCODING: "message",
  /** QoS is neither 0 nor 1 */
  INVALID_QOS: "message",
  /** identifier of a thing model is not 1 to 64 letters, digits, `_`, `-` */
  INVALID_IDENTIFIER: "message",
  /** event type is not `info`, `alert` or `fault` */
  INVALID_EVENT_TYPE: "message",
  /** shadow has more than 5 levels or 20 attributes */
  SHADOW_LIMIT: "message",
  /** invalid region name */
  INVALID_REGION: "input",
  /** url is not `http(s)://host[:port]` */
  INVALID_URL: "input",
  /** host to be signed is not a hostname or IP address */
  INVALID_HOST: "input",
  /** path to be signed has no leading slash, or a query */
  INVALID_PATH: "input",
  /** body to be signed is neither text nor bytes */
  INVALID_BODY: "input",
  /** timestamp is not a whole number of seconds */
  INVALID_TIMESTAMP: "input",
  /** nonce is not a non-negative integer */
  INVALID_NONCE: "input",
  /** credential is neither a secret nor a private key, or the PSK differs from what the console shows */
  INVALID_CREDENTIAL: "credential",
  /** ProductSecret is not 16 to 256 printable ASCII characters */
  INVALID_PRODUCT_SECRET: "credential",
  /** log level is not `debug`, `info`, `warn` or `error` */
  INVALID_LOG_LEVEL: "input",
  /** option is unknown, has the wrong type, or is out of range */
  INVALID_OPTION: "input",
  /** text is not valid Base64 with padding */
  INVALID_BASE64: "input",
  /** text is not hexadecimal */
  INVALID_HEX: "input",
  /** bytes are not UTF-8 */
  INVALID_UTF8: "input",
  /** private key is encrypted */
  KEY_ENCRYPTED: "credential",
  /** private key is not an RSA key */
  KEY_NOT_RSA: "credential",
  /** public key or certificate instead of a private key */
  KEY_NOT_PRIVATE: "credential",
  /** private key is corrupt or truncated */
  KEY_MALFORMED: "credential",
  /** RSA key has less than 2048 or more than 4096 bits */
  KEY_SIZE: "credential",
  /** parameters of the RSA key do not match */
  KEY_INCONSISTENT: "credential",
  /** registration response could not be decrypted: wrong ProductSecret, or corrupt */
  WRONG_PRODUCT_SECRET: "credential",
  /** registration response does not have its announced length */
  REGISTRATION_LENGTH: "protocol",
  /** registration response has an unknown `encryptionType` */
  REGISTRATION_TYPE: "protocol",
  /** registration response lacks a PSK, certificate or key */
  REGISTRATION_INCOMPLETE: "protocol",
  /** signer was used after `close()` */
  SIGNER_CLOSED: "state",
  /** RSA signature did not verify and was withheld */
  SIGNING_FAULT: "state",
  /** device was closed before or during the request */
  DEVICE_CLOSED: "cancelled",
  /** the caller's signal was aborted */
  CANCELLED: "cancelled",
  /** no time server responded, so nothing can be signed yet */
  CLOCK_NOT_SET: "clock",
  /** too many requests or messages are queued */
  QUEUE_FULL: "throttled",
  /**
   * the gateway requested a pause, or the rate limit leaves no time for the request; retry after `retryAfterSeconds`
   */
  THROTTLED: "throttled",
  /** outbox is full, and its policy rejects new messages */
  OUTBOX_FULL: "storage",
  /** storage could not be read or written */
  STORAGE_FAILED: "storage",
  /** storage is full */
  STORAGE_FULL: "storage",
  /** storage accepts no more writes until a restart; stored messages are safe */
  STORAGE_STOPPED: "storage",
  /** another process uses the storage */
  STORAGE_IN_USE: "storage",
  /** no credential is stored, and there is no ProductSecret to register with */
  NOT_PROVISIONED: "credential",
  /** stored credential does not match its checksum, and there is no ProductSecret to register with */
  STORED_CREDENTIAL_DAMAGED: "credential",
  /** stored credential belongs to another device */
  STORED_CREDENTIAL_OTHER: "credential",

  /** gateway's hostname could not be resolved */
  NAME_RESOLUTION: "network",
  /** connection refused, or no route to the gateway */
  CONNECTION_REFUSED: "network",
  /** connection closed before the response was complete */
  CONNECTION_RESET: "network",
  /** proxy rejected the request, or could not reach the gateway */
  PROXY_FAILED: "network",
  /** server's certificate was not accepted */
  CERTIFICATE_REJECTED: "certificate",
  /** TLS handshake failed for another reason */
  TLS_FAILED: "network",
  /** time limit exceeded; `phase` is the phase of the request */
  TIMEOUT: "timeout",
  /** response exceeds `maxResponseBytes` */
  RESPONSE_TOO_LARGE: "unreadable",
  /** response is not valid HTTP */
  RESPONSE_MALFORMED: "unreadable",
  /** response of unknown length was cut off: no TLS close_notify, and the body is not complete JSON */
  RESPONSE_TRUNCATED: "unreadable",
  /** other network error */
  NETWORK_FAILED: "network",

  /** gateway rejected the request; `gatewayCode` is the gateway's code, `errorClass` its meaning */
  GATEWAY_REJECTED: "unknown",
  /** HTTP error status without a response from the gateway */
  HTTP_STATUS: "unreadable",
  /** response has no body */
  RESPONSE_EMPTY: "unreadable",
  /** response is not JSON, for instance a captive portal's page */
  RESPONSE_NOT_JSON: "unreadable",
  /** response is JSON of an unknown shape */
  RESPONSE_UNEXPECTED: "unreadable",
  /** response carries the RequestId of an earlier one */
  RESPONSE_REPEATED: "server",
  /** success response came before the request was written completely */
  RESPONSE_EARLY: "server",
} satisfies Record<string, ErrorClass>);

/** Stable code of an error: a key of `errorTable`. */
export type ErrorCode = keyof typeof errorTable;
/** Codes of a {@link NetworkError}. */
export type NetworkErrorCode = Extract<
  ErrorCode,
  | "NAME_RESOLUTION"
  | "PROXY_FAILED"
  | "CERTIFICATE_REJECTED"
  | "TLS_FAILED"
  | "TIMEOUT"
  | "NETWORK_FAILED"
  | "RESPONSE_TOO_LARGE"
  | "RESPONSE_MALFORMED"
  | "RESPONSE_TRUNCATED"
  | `CONNECTION_${string}`
>;
/** Codes of a {@link ResponseError}. */
export type ResponseErrorCode = Exclude<
  Extract<ErrorCode, "GATEWAY_REJECTED" | "HTTP_STATUS" | `RESPONSE_${string}`>,
  NetworkErrorCode
>;

/**
 * Gateway codes and their classes. Tencent Cloud publishes them for the API of the same product (iotcloud, version
 * 2021-04-08) and for its API 3.0 in general; there is no published list for the device gateway. The first match
 * applies: `X.*` matches X and codes that begin with `X.`, `*.X` codes that end with `.X`. A code without a match is
 * `unknown`.
 */
export const gatewayCodes: Readonly<Record<string, ErrorClass>> = Object.freeze({
  // Only these are about the message itself.
  "*.PayloadOverLimit": "message",
  "*.InvalidMsgLen": "message",
  "*.InvalidTopicName": "message",
  "*.InvalidJSON": "message",
  "InvalidParameterValue.TopicName": "message",
  "InvalidParameterValue.Payload": "message",
  "InvalidParameterValue.PayloadEncoding": "message",
  "InvalidParameterValue.Qos": "message",
  RequestSizeLimitExceeded: "message",

  "AuthFailure.SignatureExpire": "clock",
  "*.Timestamp": "clock",
  "*.InvalidTimestamp": "clock",
  // The next attempt has another nonce.
  "*.NonceReused": "server",
  "*.Nonce": "server",
  "AuthFailure.*": "credential",
  // "Check signature failed" of the retired API.
  "1010": "credential",
  "*.ProductNotSupportPSK": "credential",
  "*.WrongProductAuthType": "credential",
  "*.AlgorithmMismatch": "credential",

  "*.AccountIsolated": "account",
  "*.AccountNotExist": "account",
  "*.DeviceAlreadyDisabled": "device",
  "*.DeviceIsNotEnabled": "device",
  "*.DeviceHasBeenDisabled": "device",
  "*.DeviceNotExist": "device",
  "*.ProductOrDeviceNotExist": "device",
  "ResourceNotFound.Device": "device",
  "ResourceNotFound.*": "console",
  "UnauthorizedOperation.*": "console",
  "UnsupportedOperation.*": "console",
  "LimitExceeded.DeviceExceedLimit": "console",

  "RequestLimitExceeded.*": "throttled",
  "LimitExceeded.*": "throttled",
  "InternalError.*": "server",
  "ResourceUnavailable.*": "server",
  "ServiceUnavailable.*": "server",
  "ResourceInsufficient.*": "server",
  "FailedOperation.RequestTimeout": "server",

  "InvalidParameter.*": "protocol",
  "InvalidParameterValue.*": "protocol",
  "MissingParameter.*": "protocol",
  "UnknownParameter.*": "protocol",
  "*.ParamIncomplete": "protocol",
  "InvalidAction.*": "protocol",
});

/** Options of an {@link IotHubError}. */
export interface IotHubErrorOptions {
  /** Underlying error of the host or the engine, for debugging. */
  readonly cause?: unknown;
}

/** Options of a {@link NetworkError}. */
export interface NetworkErrorOptions extends IotHubErrorOptions {
  /** See {@link NetworkError.stale}. @default false */
  readonly stale?: boolean;
}

const noOptions: NetworkErrorOptions = Object.freeze({});

/** Base class of every error that this library throws or rejects with. */
export class IotHubError extends Error {
  /** Stable code, for programs to branch on. */
  readonly code: ErrorCode;
  /** What the error means for the message being sent. */
  readonly errorClass: ErrorClass;

  /**
   * @param code stable code, from the table in docs/errors.md
   * @param message one clear sentence without secrets
   */
  constructor(code: ErrorCode, message: string, { cause }: IotHubErrorOptions = noOptions) {
    super(message);
    // The `cause` option is ES2022, but XS 13.3 ignores it in subclasses of Error; defining the property works on every
    // engine.
    if (cause !== undefined) Object.defineProperty(this, "cause", { value: cause, configurable: true, writable: true });
    this.code = code;
    this.errorClass = errorTable[code];
  }

  /** Whether the same request may succeed later without any change by the caller. */
  get retryable(): boolean {
    return errorClasses[this.errorClass].retryable;
  }

  override get name(): string {
    return "IotHubError";
  }
}

/** Where a request was when it failed. `connect` includes name resolution. */
export type RequestPhase = ConnectionPhase | "total";

/** Phases of a request on a connection, in this order. On a keep-alive connection it begins with `write`. */
export type ConnectionPhase = "connect" | "tls" | "write" | "first-byte" | "read";

/** The request may not have reached the gateway, or no complete response came back. */
export class NetworkError extends IotHubError {
  declare readonly code: NetworkErrorCode;
  readonly phase: RequestPhase;
  /**
   * True if a keep-alive connection was found closed before the first byte of the response, or a new one failed for a
   * reason that does not apply to the next. The request may have arrived. The core then signs it again, with a new
   * nonce, and resends it once: a repeated nonce would be rejected if the first request did arrive.
   */
  readonly stale: boolean;

  constructor(code: NetworkErrorCode, phase: RequestPhase, message: string, options: NetworkErrorOptions = noOptions) {
    super(code, message, options);
    this.phase = phase;
    this.stale = options.stale === true;
  }

  override get name(): string {
    return "NetworkError";
  }
}

/** Nothing was sent: the gateway requested a pause, or the rate limit leaves no time for the request. */
export class ThrottledError extends IotHubError {
  declare readonly code: "THROTTLED";
  /** Seconds after which to try again, rounded up. */
  readonly retryAfterSeconds: number;

  constructor(message: string, retryAfterSeconds: number) {
    super("THROTTLED", message);
    this.retryAfterSeconds = retryAfterSeconds;
  }

  override get name(): string {
    return "ThrottledError";
  }
}

/** Details of a response that is not a success. */
export interface ResponseDetails {
  /** HTTP status. */
  readonly status: number;
  /** `Error.Code`, `code` or `returnCode` of the response, unchanged. */
  readonly gatewayCode?: string | number;
  /** `Error.Message`, `message` or `returnMessage` of the response. */
  readonly gatewayMessage?: string;
  readonly requestId?: string;
  /** Beginning of a response that could not be parsed, at most 200 characters. */
  readonly excerpt?: string;
  /** Seconds to wait, from a Retry-After header. */
  readonly retryAfterSeconds?: number;
  /** The gateway's time from its Date header, in milliseconds since 1970. */
  readonly dateMs?: number;
  /** True if it came before the request was written completely: it is not evidence against the message. */
  readonly early?: boolean;
}

/** A response came, and it is not a success. */
export class ResponseError extends IotHubError implements ResponseDetails {
  declare readonly code: ResponseErrorCode;
  readonly status: number;
  readonly gatewayCode?: string | number;
  readonly gatewayMessage?: string;
  readonly requestId?: string;
  readonly excerpt?: string;
  readonly retryAfterSeconds?: number;
  readonly dateMs?: number;
  readonly early?: boolean;

  constructor(code: ResponseErrorCode, message: string, details: ResponseDetails) {
    super(code, message);
    // Derived, not passed in: the class of a rejection follows from `gatewayCode` and `status`.
    (this as { -readonly [K in "errorClass"]: ErrorClass }).errorClass = classOfResponse(code, details);
    this.status = details.status;
    Object.assign(this, details);
  }

  override get name(): string {
    return "ResponseError";
  }
}

/** Returns the class of an error of a request. Errors that are not from this library came from the host. */
export function classifyError(error: unknown): ErrorClass {
  return error instanceof IotHubError ? error.errorClass : "network";
}

/** Whether errors of this class are retried within one call. */
export function isTransient(errorClass: ErrorClass): boolean {
  return errorClasses[errorClass].transient;
}

function classOfResponse(code: ResponseErrorCode, { status, gatewayCode, requestId }: ResponseDetails): ErrorClass {
  // The response is, or may be, that of another request.
  if (code === "RESPONSE_REPEATED" || code === "RESPONSE_EARLY") return errorTable[code];
  // RFC 6585 section 4, RFC 9110 sections 15.5.9 and 15.6: with these statuses the same request may succeed later.
  if (status === 429) return "throttled";
  if (status === 408) return "timeout";
  if (status >= 500) return "server";
  if (code === "GATEWAY_REJECTED") {
    const found = classOfGatewayCode(String(gatewayCode));
    // Without a RequestId it may be the response to another request.
    if (found === "message" && requestId === undefined) return "unknown";
    if (found === "unknown" && (status === 401 || status === 407)) return "credential";
    return found;
  }
  if (status === 401 || status === 407) return "credential";
  // These statuses are about the request; others may be temporary, from a proxy or a captive portal.
  if (code === "HTTP_STATUS" && [400, 413, 414, 415, 422, 431].includes(status)) return "unknown";
  return errorTable[code];
}

/** Returns the class of a gateway code; `unknown` if {@link gatewayCodes} has no match. */
export function classOfGatewayCode(code: string): ErrorClass {
  for (const pattern of Object.keys(gatewayCodes)) {
    const fits = pattern.startsWith("*")
      ? code.endsWith(pattern.slice(1))
      : pattern.endsWith(".*")
        ? code === pattern.slice(0, -2) || code.startsWith(pattern.slice(0, -1))
        : code === pattern;
    if (fits) return gatewayCodes[pattern];
  }
  return "unknown";
}
