/**
 * Everything that goes wrong in this library is an {@link IotHubError} with a stable `code`: programs decide by the
 * code or by its class, people read the message. A message is one sentence and never contains a secret or a key.
 *
 * What an error means stands here and nowhere else: {@link errorTable} gives each code its class, {@link gatewayCodes}
 * the class of what the gateway says, and {@link errorClasses} what follows from a class. `retryable`, the retries of a
 * request, the outbox, the log, the command line's exit code and the README's table are derived from these three.
 */

/** Where a failure leaves the command line: the group of its exit code. */
export type ExitGroup = "other" | "input" | "credential" | "network" | "rejected";

/** What follows from a class. */
interface ErrorClassRow {
  /** Whether the same request may succeed later without any change by the caller. */
  readonly retryable: boolean;
  /** Whether a request is sent again within one call, after a delay. */
  readonly transient: boolean;
  readonly exit: ExitGroup;
}

const row = (retryable: boolean, transient: boolean, exit: ExitGroup): ErrorClassRow =>
  Object.freeze({ retryable, transient, exit });

/** What an error means for the message that met it. All classes but `message` and `unknown` keep a stored message. */
export const errorClasses = Object.freeze({
  /** The caller's input or an option is wrong; nothing was sent. */
  input: row(false, false, "input"),
  /** This very message can never be accepted. */
  message: row(false, false, "input"),
  /** The gateway rejected it with a code that this version does not know, or a page with a status of the 400s came. */
  unknown: row(false, false, "rejected"),
  /** The gateway did not understand the form that every request of this library has. */
  protocol: row(false, false, "rejected"),
  /** What responded is not the gateway, or not in a form that can be read: a captive portal, a proxy. */
  unreadable: row(true, true, "rejected"),
  /** The path to the gateway is broken. */
  network: row(true, true, "network"),
  /** It took too long. */
  timeout: row(true, true, "network"),
  /** Too many requests: of this device, or for the gateway. */
  throttled: row(true, true, "rejected"),
  /** Temporary failure of the gateway. */
  server: row(true, true, "rejected"),
  /** The clock is not set, or the gateway found the timestamp too far from its own. */
  clock: row(true, false, "other"),
  /** The server's certificate was not accepted. */
  certificate: row(true, false, "network"),
  /** The signature, the key or the kind of credential was rejected. */
  credential: row(false, false, "credential"),
  /** The account cannot be used, for instance because it is in arrears. */
  account: row(true, false, "rejected"),
  /** The device does not exist, or was disabled. */
  device: row(true, false, "rejected"),
  /** Something must be changed in the console: the product, a topic's permission, a limit. */
  console: row(true, false, "rejected"),
  /** The storage failed, or has no room. */
  storage: row(true, false, "other"),
  /** A fault of this machine or a misuse of the API, for instance a signer that was used after `close()`. */
  state: row(false, false, "other"),
  /** The caller gave up, or the device was closed. */
  cancelled: row(false, false, "other"),
});

/** See {@link errorClasses}. */
export type ErrorClass = keyof typeof errorClasses;

// The comment above a code is its meaning in the README and in an editor; texts at run time would cost an app flash.

/** Every code with its class. For `GATEWAY_REJECTED` and `HTTP_STATUS` it is the class where nothing more is known. */
export const errorTable = Object.freeze({
  /** ProductId is not letters, digits, underscores */
  INVALID_PRODUCT_ID: "input",
  /** DeviceName is not 1 to 48 of letters, digits, `:`, `_`, `-` */
  INVALID_DEVICE_NAME: "input",
  /** topic is empty, not text, or contains NUL */
  INVALID_TOPIC: "message",
  /** topic has more than 255 bytes */
  TOPIC_TOO_LONG: "message",
  /** topic contains `+` or `#` */
  TOPIC_WILDCARD: "message",
  /** payload is neither text, bytes nor an object that JSON can express */
  INVALID_PAYLOAD: "message",
  /** payload exceeds `maxPayloadBytes`, or what the outbox can hold */
  PAYLOAD_TOO_LARGE: "message",
  /** encoding is neither `"Base64"` nor left out */
  INVALID_ENCODING: "message",
  /** QoS is neither 0 nor 1 */
  INVALID_QOS: "message",
  /** identifier of a thing model is not 1 to 64 letters, digits, `_`, `-` */
  INVALID_IDENTIFIER: "message",
  /** type of an event is none of `info`, `alert`, `fault` */
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
  /** credential is neither a secret nor a private key, or the psk is not as the console shows it */
  INVALID_CREDENTIAL: "credential",
  /** ProductSecret is not 16 to 256 printable ASCII characters */
  INVALID_PRODUCT_SECRET: "credential",
  /** level of a log line is none of `debug`, `info`, `warn`, `error` */
  INVALID_LOG_LEVEL: "input",
  /** an option is unknown, of another type, or out of its range */
  INVALID_OPTION: "input",
  /** text is not Base64 with padding */
  INVALID_BASE64: "input",
  /** text is not hexadecimal */
  INVALID_HEX: "input",
  /** bytes are not UTF-8 */
  INVALID_UTF8: "input",
  /** private key is encrypted */
  KEY_ENCRYPTED: "credential",
  /** private key is of another kind than RSA */
  KEY_NOT_RSA: "credential",
  /** public key or certificate in place of a private key */
  KEY_NOT_PRIVATE: "credential",
  /** private key is damaged or truncated */
  KEY_MALFORMED: "credential",
  /** RSA key has less than 2048 or more than 4096 bits */
  KEY_SIZE: "credential",
  /** numbers of the RSA key contradict each other */
  KEY_INCONSISTENT: "credential",
  /** registration response could not be decrypted: wrong ProductSecret, or damaged */
  WRONG_PRODUCT_SECRET: "credential",
  /** registration response is not as long as it says */
  REGISTRATION_LENGTH: "protocol",
  /** registration response has an unknown `encryptionType` */
  REGISTRATION_TYPE: "protocol",
  /** registration response lacks a psk, certificate or key */
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
  /** too many requests are waiting for the one under way */
  QUEUE_FULL: "throttled",
  /** the gateway asked for a pause, or the rate limit leaves no time: `retryAfterSeconds` says how long */
  THROTTLED: "throttled",
  /** the outbox is full, and its policy is to reject what is new */
  OUTBOX_FULL: "storage",
  /** storage could not be read or written */
  STORAGE_FAILED: "storage",
  /** storage has no room for the value */
  STORAGE_FULL: "storage",
  /** storage takes no more writes in this life: restart the board; what is stored is safe */
  STORAGE_STOPPED: "storage",
  /** another process owns the storage */
  STORAGE_IN_USE: "storage",
  /** no credential is stored, and there is no ProductSecret to register with */
  NOT_PROVISIONED: "credential",
  /** stored credential does not match its checksum, and there is no ProductSecret to register with */
  STORED_CREDENTIAL_DAMAGED: "credential",
  /** stored credential belongs to another device */
  STORED_CREDENTIAL_OTHER: "credential",

  /** gateway's name did not resolve */
  NAME_RESOLUTION: "network",
  /** nothing listens, or no route */
  CONNECTION_REFUSED: "network",
  /** connection ended before the response was whole */
  CONNECTION_RESET: "network",
  /** proxy refused the request, or could not reach the gateway */
  PROXY_FAILED: "network",
  /** server's certificate was not accepted */
  CERTIFICATE_REJECTED: "certificate",
  /** TLS handshake failed otherwise */
  TLS_FAILED: "network",
  /** a limit passed; `phase` says where */
  TIMEOUT: "timeout",
  /** response exceeds `maxResponseBytes` */
  RESPONSE_TOO_LARGE: "unreadable",
  /** response is not HTTP */
  RESPONSE_MALFORMED: "unreadable",
  /** response without a length broke off: TLS was not ended in order, and the body is not whole JSON */
  RESPONSE_TRUNCATED: "unreadable",
  /** other network error */
  NETWORK_FAILED: "network",

  /** gateway rejected the request; `gatewayCode` says why, `errorClass` what it means */
  GATEWAY_REJECTED: "unknown",
  /** HTTP error without a response of the gateway */
  HTTP_STATUS: "unreadable",
  /** response has no body */
  RESPONSE_EMPTY: "unreadable",
  /** response is not JSON, for instance a captive portal's page */
  RESPONSE_NOT_JSON: "unreadable",
  /** response is JSON of an unknown shape */
  RESPONSE_UNEXPECTED: "unreadable",
  /** response carries the RequestId of an earlier one */
  RESPONSE_REPEATED: "server",
  /** response says success, and came before the request was written whole */
  RESPONSE_EARLY: "server",
} satisfies Record<string, ErrorClass>);

/** Stable code of an error: a key of {@link errorTable}. */
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
 * Codes that Tencent Cloud publishes for the API of the same product (iotcloud, version 2021-04-08) and for all of its
 * API 3.0; for the device gateway no list is published. The first row that fits counts: `X.*` is X and all that begins
 * with it, `*.X` all that ends with it. Whatever fits no row is `unknown` and keeps its message.
 */
export const gatewayCodes: Readonly<Record<string, ErrorClass>> = Object.freeze({
  // Only these speak of the message itself.
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
  /** What the host or the engine reported, kept for debugging. */
  readonly cause?: unknown;
}

/** Options of a {@link NetworkError}. */
export interface NetworkErrorOptions extends IotHubErrorOptions {
  /** See {@link NetworkError.stale}. @default false */
  readonly stale?: boolean;
}

const noOptions: NetworkErrorOptions = Object.freeze({});

/** The base of every error that this library throws or rejects with. */
export class IotHubError extends Error {
  /** Stable, for programs. */
  readonly code: ErrorCode;
  /** What the error means for the message that met it. */
  readonly errorClass: ErrorClass;

  /**
   * @param code stable code, from the table in the README
   * @param message one clear sentence without secrets
   */
  constructor(code: ErrorCode, message: string, { cause }: IotHubErrorOptions = noOptions) {
    super(message);
    // `cause` in the constructor's options is ES2022, yet XS 13.3 takes it only from there on Error itself; an own
    // property is the same on every engine.
    if (cause !== undefined) Object.defineProperty(this, "cause", { value: cause, configurable: true, writable: true });
    this.code = code;
    this.errorClass = errorTable[code];
  }

  /** True if the same request may succeed later without any change by the caller. */
  get retryable(): boolean {
    return errorClasses[this.errorClass].retryable;
  }

  override get name(): string {
    return "IotHubError";
  }
}

/** Where a request was when it failed. `connect` includes name resolution. */
export type RequestPhase = ConnectionPhase | "total";

/** What a connection does for a request, in this order. On a kept connection it begins with `write`. */
export type ConnectionPhase = "connect" | "tls" | "write" | "first-byte" | "read";

/** The request did not reach the gateway, or its response did not come back whole. */
export class NetworkError extends IotHubError {
  declare readonly code: NetworkErrorCode;
  readonly phase: RequestPhase;
  /**
   * True if a connection kept from an earlier request turned out dead before any byte of this response, or a new one
   * failed for a reason that another one will not have. The request may have arrived. The core then signs it anew and
   * sends it once more: the same nonce again would be rejected if the first did arrive.
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

/** Nothing was sent: the gateway has asked for a pause, or the rate limit leaves no time for the request. */
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

/** What is known of a response that is not a success. */
export interface ResponseDetails {
  /** HTTP status. */
  readonly status: number;
  /** `Error.Code`, `code` or `returnCode` of the response, exactly as it came. */
  readonly gatewayCode?: string | number;
  /** `Error.Message`, `message` or `returnMessage` of the response. */
  readonly gatewayMessage?: string;
  readonly requestId?: string;
  /** The beginning of a response that could not be understood, at most 200 characters. */
  readonly excerpt?: string;
  /** Seconds to wait, from a Retry-After header. */
  readonly retryAfterSeconds?: number;
  /** The gateway's own clock, from its Date header, in milliseconds since 1970. */
  readonly dateMs?: number;
  /** True if it came before the request was written whole: it does not count as evidence against the message. */
  readonly early?: boolean;
}

/** The gateway responded, and the response is not a success. */
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
    // Derived and not passed: what a rejection means follows from `gatewayCode` and `status`.
    (this as { -readonly [K in "errorClass"]: ErrorClass }).errorClass = classOfResponse(code, details);
    this.status = details.status;
    Object.assign(this, details);
  }

  override get name(): string {
    return "ResponseError";
  }
}

/** The class of anything that a request rejects with. What is not of this library came from the host. */
export function classifyError(error: unknown): ErrorClass {
  return error instanceof IotHubError ? error.errorClass : "network";
}

/** Whether the same request is sent again after a while within one call. */
export function isTransient(errorClass: ErrorClass): boolean {
  return errorClasses[errorClass].transient;
}

function classOfResponse(code: ResponseErrorCode, { status, gatewayCode, requestId }: ResponseDetails): ErrorClass {
  // Whatever it says, it says it of another request, or may do so.
  if (code === "RESPONSE_REPEATED" || code === "RESPONSE_EARLY") return errorTable[code];
  // RFC 6585 section 4, RFC 9110 sections 15.5.9 and 15.6: the status says that the same request may succeed later.
  if (status === 429) return "throttled";
  if (status === 408) return "timeout";
  if (status >= 500) return "server";
  if (code === "GATEWAY_REJECTED") {
    const found = classOfGatewayCode(String(gatewayCode));
    // Without the id of a request it may be the verdict on another one.
    if (found === "message" && requestId === undefined) return "unknown";
    if (found === "unknown" && (status === 401 || status === 407)) return "credential";
    return found;
  }
  if (status === 401 || status === 407) return "credential";
  // These speak of the request; others may come from a proxy or a captive portal, and pass.
  if (code === "HTTP_STATUS" && [400, 413, 414, 415, 422, 431].includes(status)) return "unknown";
  return errorTable[code];
}

/** The class of a code of the gateway; `unknown` for one that is in no row of {@link gatewayCodes}. */
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
