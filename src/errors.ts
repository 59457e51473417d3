/**
 * Everything that goes wrong in this library is an {@link IotHubError} with a stable `code`: programs decide by the
 * code, people read the message. A message is one sentence and never contains a secret or a key.
 */

/** Input that the caller can mend. Nothing was sent. */
export type InputErrorCode =
  | "INVALID_PRODUCT_ID"
  | "INVALID_DEVICE_NAME"
  | "INVALID_TOPIC"
  | "TOPIC_TOO_LONG"
  | "TOPIC_WILDCARD"
  | "INVALID_PAYLOAD"
  | "PAYLOAD_TOO_LARGE"
  | "INVALID_ENCODING"
  | "INVALID_QOS"
  | "INVALID_REGION"
  | "INVALID_URL"
  | "INVALID_HOST"
  | "INVALID_PATH"
  | "INVALID_BODY"
  | "INVALID_TIMESTAMP"
  | "INVALID_NONCE"
  | "INVALID_CREDENTIAL"
  | "INVALID_PRODUCT_SECRET"
  | "INVALID_LOG_LEVEL"
  | "INVALID_OPTION"
  | "INVALID_BASE64"
  | "INVALID_HEX"
  | "INVALID_UTF8";

/** A private key that cannot be used, by what it is instead. */
export type KeyErrorCode =
  | "KEY_ENCRYPTED"
  | "KEY_NOT_RSA"
  | "KEY_NOT_PRIVATE"
  | "KEY_MALFORMED"
  | "KEY_SIZE"
  | "KEY_INCONSISTENT";

/** What the gateway answered to a registration cannot be used. */
export type RegistrationErrorCode =
  | "WRONG_PRODUCT_SECRET"
  | "REGISTRATION_LENGTH"
  | "REGISTRATION_TYPE"
  | "REGISTRATION_INCOMPLETE";

/** The library's own state. */
export type StateErrorCode =
  | "SIGNER_CLOSED"
  | "SIGNING_FAULT"
  | "DEVICE_CLOSED"
  | "CANCELLED"
  | "CLOCK_NOT_SET"
  | "QUEUE_FULL"
  | "OUTBOX_FULL"
  | "STORAGE_FAILED"
  | "NOT_PROVISIONED"
  | "STORED_CREDENTIAL_DAMAGED"
  | "STORED_CREDENTIAL_OTHER";

/** The way to the gateway and back. */
export type NetworkErrorCode =
  | "NAME_RESOLUTION"
  | "CONNECTION_REFUSED"
  | "CONNECTION_RESET"
  | "PROXY_FAILED"
  | "CERTIFICATE_REJECTED"
  | "TLS_FAILED"
  | "TIMEOUT"
  | "RESPONSE_TOO_LARGE"
  | "RESPONSE_MALFORMED"
  | "NETWORK_FAILED";

/** What the gateway answered. */
export type AnswerErrorCode =
  | "GATEWAY_REJECTED"
  | "HTTP_STATUS"
  | "ANSWER_EMPTY"
  | "ANSWER_NOT_JSON"
  | "ANSWER_UNKNOWN"
  | "ANSWER_REPEATED";

export type ErrorCode =
  | InputErrorCode
  | KeyErrorCode
  | RegistrationErrorCode
  | StateErrorCode
  | NetworkErrorCode
  | AnswerErrorCode;

/** The base of every error that this library throws or rejects with. */
export class IotHubError extends Error {
  /** Stable, for programs. */
  readonly code: ErrorCode;
  /** True if the same request may succeed later without any change by the caller. */
  readonly retryable: boolean;

  /**
   * @param code stable code, from the table in the README
   * @param message one clear sentence without secrets
   * @param cause what the host or the engine reported, kept for debugging
   */
  constructor(code: ErrorCode, message: string, cause?: unknown, retryable = false) {
    super(message);
    // `cause` in the constructor's options is ES2022, yet XS 13.3 takes it only from there on Error itself; an own
    // property is the same on every engine.
    if (cause !== undefined) Object.defineProperty(this, "cause", { value: cause, configurable: true, writable: true });
    this.code = code;
    this.retryable = retryable;
  }

  override get name(): string {
    return "IotHubError";
  }
}

/** Where a request was when it failed. `connect` includes name resolution. */
export type RequestPhase = "connect" | "tls" | "write" | "first-byte" | "read" | "total";

/** The request did not reach the gateway, or its answer did not come back whole. */
export class NetworkError extends IotHubError {
  declare readonly code: NetworkErrorCode;
  readonly phase: RequestPhase;
  /**
   * True if a connection kept from an earlier request turned out dead before any byte of this answer. The core then
   * signs the request anew and sends it once more: the same nonce again would be refused if the first did arrive.
   */
  readonly stale: boolean;

  constructor(code: NetworkErrorCode, phase: RequestPhase, message: string, cause?: unknown, stale = false) {
    // A certificate that was refused, or an answer over the limit, will be the same a minute later.
    super(code, message, cause, code !== "CERTIFICATE_REJECTED" && code !== "RESPONSE_TOO_LARGE");
    this.phase = phase;
    this.stale = stale;
  }

  override get name(): string {
    return "NetworkError";
  }
}

/** What is known of an answer that is not a success. */
export interface AnswerDetails {
  /** HTTP status. */
  readonly status: number;
  /** `Error.Code`, `code` or `returnCode` of the answer, exactly as it came. */
  readonly gatewayCode?: string | number;
  /** `Error.Message`, `message` or `returnMessage` of the answer. */
  readonly gatewayMessage?: string;
  readonly requestId?: string;
  /** The beginning of an answer that could not be understood, at most 200 characters. */
  readonly excerpt?: string;
  /** Seconds to wait, from a Retry-After header. */
  readonly retryAfterSeconds?: number;
  /** The gateway's own clock, from its Date header, in milliseconds since 1970. */
  readonly dateMs?: number;
}

/** The gateway answered, and the answer is not a success. */
export class AnswerError extends IotHubError implements AnswerDetails {
  declare readonly code: AnswerErrorCode;
  readonly status: number;
  readonly gatewayCode?: string | number;
  readonly gatewayMessage?: string;
  readonly requestId?: string;
  readonly excerpt?: string;
  readonly retryAfterSeconds?: number;
  readonly dateMs?: number;

  constructor(code: AnswerErrorCode, message: string, details: AnswerDetails, retryable: boolean) {
    super(code, message, undefined, retryable);
    this.status = details.status;
    Object.assign(this, details);
  }

  override get name(): string {
    return "AnswerError";
  }
}
