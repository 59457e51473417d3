/** Reports failures: one line with a stable code, a message and a hint, and an exit status by class. */

import { type ErrorClass, type ErrorCode, IotHubError, ResponseError } from "tencent-iothub-xs";
import { duration } from "./io.js";

/** Group of an exit status. */
type ExitGroup = "other" | "input" | "credential" | "network" | "rejected";

/** Exit statuses: 0, or the number of the group of the failure's class. */
export const exitCodes: Readonly<Record<"ok" | ExitGroup, number>> = Object.freeze({
  ok: 0,
  other: 1,
  input: 2,
  credential: 3,
  network: 4,
  rejected: 5,
});

/** Meanings of the exit statuses, for `--help`. */
export const exitMeanings: Readonly<Record<keyof typeof exitCodes, string>> = Object.freeze({
  ok: "done",
  other: "something unexpected, the clock, or the storage",
  input: "wrong usage, or invalid input",
  credential: "a credential or private key is missing, invalid, or was rejected by the gateway",
  network: "network, TLS, timeout, or a port that cannot be bound",
  rejected: "the gateway rejected the request, or its response could not be read",
});

/** Group of each class of the library's errors. */
export const exitGroups = {
  input: "input",
  message: "input",
  unknown: "rejected",
  protocol: "rejected",
  unreadable: "rejected",
  network: "network",
  timeout: "network",
  throttled: "rejected",
  server: "rejected",
  clock: "other",
  certificate: "network",
  credential: "credential",
  account: "rejected",
  device: "rejected",
  console: "rejected",
  storage: "other",
  state: "other",
  cancelled: "other",
} as const satisfies Record<ErrorClass, ExitGroup>;

export type CliErrorCode =
  | "USAGE"
  | "FILE_UNREADABLE"
  | "FILE_TOO_LARGE"
  | "FILE_EXISTS"
  | "FILE_UNWRITABLE"
  | "CREDENTIAL_LOST"
  | "INVALID_PROFILE"
  | "INVALID_MODEL"
  | "INVALID_TRUST_ANCHORS"
  | "INVALID_UTF8"
  | "PAYLOAD_TOO_LARGE"
  | "DEMO_FAILED"
  | "DOCTOR_FAILED"
  | "FOLDER_NOT_EMPTY"
  | "PACKAGE_MISSING"
  | "PROJECT_MISSING"
  | "SDK_MISSING"
  | "SDK_NOT_BUILT"
  | "IDF_MISSING"
  | "SERIAL_PORT_MISSING"
  | "ADDRESS_MISSING"
  | "DISPLAY_MISSING"
  | "INVALID_SETTINGS"
  | "BUILD_FAILED"
  | "APP_ABORTED";

/** A failure detected by the CLI itself. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly code: CliErrorCode;
  readonly exitCode: number;
  readonly hint: string | undefined;
  readonly details: Failure["details"];

  constructor(
    code: CliErrorCode,
    message: string,
    options: { exitCode?: number; hint?: string; details?: Failure["details"]; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.exitCode = options.exitCode ?? exitCodes.input;
    this.hint = options.hint;
    this.details = options.details;
  }
}

/** A failure with the texts to print. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly exitCode: number;
  /** For `--json`: details of the response, or where a credential is. */
  readonly details?: Readonly<Record<string, unknown>>;
}

const hints: Partial<Record<ErrorCode, string>> = {
  INVALID_PRODUCT_SECRET: "The console shows it in the product's settings if dynamic registration is enabled.",
  WRONG_PRODUCT_SECRET: "Copy the complete ProductSecret from the console again.",
  REGISTRATION_INCOMPLETE: "A product with a private CA needs --client-certificate and --client-key.",
  INVALID_TOPIC: 'Use a name such as "data", or a full topic such as "PRODUCT/DEVICE/data".',
  TOPIC_WILDCARD: "Publish to one topic at a time.",
  INVALID_REGION: "Known regions are ap-guangzhou, us-east, europe and ap-bangkok.",
  INVALID_URL: "For example --url http://127.0.0.1:8080.",
  INVALID_TIMESTAMP: "Seconds have ten digits in this century; `date +%s` prints them.",
  PAYLOAD_TOO_LARGE: "Split the message, or send only what has changed.",
  KEY_ENCRYPTED: "The command is: openssl pkcs8 -topk8 -nocrypt -in key.pem -out plain.pem",
  KEY_NOT_RSA: "The platform supports only RSA keys; use the private key that came with the device's certificate.",
  KEY_NOT_PRIVATE: "Use the private key that came with the device's certificate.",
  KEY_MALFORMED: "The file may be truncated; download the key again.",
  NAME_RESOLUTION: "Check the region or the url, and this machine's DNS server.",
  CONNECTION_REFUSED: "Is the gateway running, and is this its port? `tencent-iothub gateway` starts a local one.",
  CONNECTION_RESET: "Try again; if it persists, something between this machine and the gateway closes the connection.",
  PROXY_FAILED: "Check HTTPS_PROXY, with its user and password, or name the gateway in NO_PROXY.",
  CERTIFICATE_REJECTED: "Pass the CA of the gateway's certificate with --trust-anchors, and check this machine's date.",
  TLS_FAILED: "Does the port speak TLS? A url with http:// is for plain HTTP.",
  TIMEOUT: "Check the network, or allow more time with --timeout-ms.",
  RESPONSE_MALFORMED: "Is this the gateway's port? What responded does not speak HTTP; https:// is for TLS.",
  HTTP_STATUS: "Something other than the device gateway may have responded, a proxy for example.",
  RESPONSE_NOT_JSON: "Something other than the device gateway may have responded, a proxy for example.",
  RESPONSE_UNEXPECTED: "Something other than the device gateway may have responded.",
};

const gatewayHints: Readonly<Record<string, string>> = {
  PORT_IN_USE: "Choose another port with --port, or use --port 0 for any free port.",
  PORT_FORBIDDEN: "Choose a port above 1023 with --port.",
  FILE_EXISTS: "Choose another folder with --moddable, and include its manifest.json in the app's.",
  STATE_UNUSABLE: "Choose another folder with --state, or keep nothing with --no-state.",
};

const diagnoseHints: Readonly<Record<string, string>> = {
  UNKNOWN_FORMAT: "Set the format with --format; tencent-iothub diagnose --help lists the formats.",
  INVALID_CURL: "Copy the command as it was run, from curl to its last argument.",
  INVALID_RECORD: "tencent-iothub gateway --record FILE writes one.",
  INVALID_HAR: "Export the request from the browser or proxy as HAR, including its body.",
  INVALID_TRACE:
    'Write each event with JSON.stringify: new Device({ onEvent: (event) => trace(JSON.stringify(event) + "\\n") }).',
};

/** Smaller clock errors do not make a signature expire. */
const NOTABLE_SKEW_SECONDS = 60;

export function explain(error: unknown, nowMs: number = Date.now()): Failure {
  if (error instanceof CliError) {
    const { code, message, hint, exitCode, details } = error;
    return { code, message, hint, exitCode, details };
  }
  if (error instanceof IotHubError) {
    const { code, message, errorClass } = error;
    const exit = exitGroups[errorClass];
    const known = { code, message, exitCode: exitCodes[exit] };
    if (!(error instanceof ResponseError)) return { ...known, hint: hints[code] ?? classHints[errorClass] };
    const { status, gatewayCode, gatewayMessage, requestId, excerpt } = error;
    return {
      ...known,
      hint: responseHint(error, nowMs),
      // For a response, "other" only means that it was not a success.
      exitCode: exitCodes[exit === "other" ? "rejected" : exit],
      details: { status, gatewayCode, gatewayMessage, requestId, excerpt },
    };
  }
  // Only the gateway command loads that module, so its errors are recognized by name.
  if (error instanceof Error && error.name === "GatewayError") {
    const code = String((error as Error & { code?: unknown }).code);
    const network = ["PORT_IN_USE", "PORT_FORBIDDEN", "LISTEN_FAILED"].includes(code);
    const exitCode = network ? exitCodes.network : exitCodes.input;
    return { code, message: error.message, hint: gatewayHints[code], exitCode };
  }
  if (error instanceof Error && error.name === "DiagnoseError") {
    const code = String((error as Error & { code?: unknown }).code);
    const exitCode = code === "INVALID_KEY" ? exitCodes.credential : exitCodes.input;
    return { code, message: error.message, hint: diagnoseHints[code], exitCode };
  }
  return {
    code: "UNEXPECTED",
    message: error instanceof Error ? error.message : String(error),
    hint: "This is a bug; --debug shows the stack trace.",
    exitCode: exitCodes.other,
  };
}

const NAMES_HINT = "Check --product-id, --device-name and the region.";
const KEY_HINT =
  "Wrong PSK, private key or ProductSecret: copy it again from the console, a PSK including its trailing =.";
const AUTHENTICATION_HINT = "Use --psk-file for a device with a PSK, --key-file for one with a certificate.";
const CLOCK_HINT = "Compare this machine's clock with the gateway's.";
const ENABLE_HINT = "Enable the device in the console, or find out why it was disabled.";
const FORM_HINT = "The gateway does not accept this request format; check the url, and for a newer version.";
const SIZE_HINT = "Split the message, or send only what has changed.";
const SERVICE_HINT = "The service has a temporary failure; try again later.";

/**
 * Hints for gateway codes. There is no published list for the device gateway; these are the codes of the same product's
 * API (iotcloud 2021-04-08), of API 3.0 in general, and of the retired device API.
 */
export const gatewayCodeHints: Readonly<Record<string, string>> = {
  "1010": KEY_HINT,
  "AuthFailure.InvalidAuthorization": KEY_HINT,
  "AuthFailure.SignatureFailure": KEY_HINT,
  "AuthFailure.SignatureExpire": CLOCK_HINT,
  "FailedOperation.AccountIsolated":
    "The account is in arrears: top it up in the console, then send the message again.",
  "FailedOperation.DeviceAlreadyDisabled": ENABLE_HINT,
  "FailedOperation.InvalidMsgLen": SIZE_HINT,
  "FailedOperation.InvalidTopicName": hints.INVALID_TOPIC as string,
  InternalError: SERVICE_HINT,
  "InternalError.DBOperationError": SERVICE_HINT,
  InvalidAction: "The gateway does not know this path or method; check the url and the region.",
  InvalidParameter: FORM_HINT,
  InvalidParameterValue: FORM_HINT,
  "InvalidParameterValue.InvalidJSON": FORM_HINT,
  "InvalidParameterValue.ParamIncomplete": FORM_HINT,
  "InvalidParameterValue.PayloadOverLimit": SIZE_HINT,
  "LimitExceeded.DeviceExceedLimit":
    "The product has reached its device limit: delete devices, or have the limit raised. Retrying does not help.",
  MissingParameter: FORM_HINT,
  RequestLimitExceeded: "Wait, and publish less often.",
  RequestSizeLimitExceeded: SIZE_HINT,
  "ResourceNotFound.DeviceNotExist": NAMES_HINT,
  "ResourceNotFound.ProductNotExist": NAMES_HINT,
  "ResourceNotFound.ProductOrDeviceNotExist": NAMES_HINT,
  "ResourceNotFound.TopicPolicyNotExist":
    "Add the topic with the permission to publish to the product in the console; event and data exist by default.",
  ServiceUnavailable: SERVICE_HINT,
  "UnauthorizedOperation.DeviceIsNotEnabled": ENABLE_HINT,
  "UnauthorizedOperation.PermissionDenied":
    "The device needs the permission to publish to this topic; by default it has it for event and data.",
  "UnauthorizedOperation.ProductIsForbidden":
    "Enable the product in the console; to register devices, enable its dynamic registration.",
  "UnauthorizedOperation.ProductNotSupportPSK": AUTHENTICATION_HINT,
  UnknownParameter: FORM_HINT,
  "UnsupportedOperation.ClientCertAlreadyGot":
    "The credential was already issued and is issued only once: use the stored one, or recreate the device.",
  "UnsupportedOperation.WrongProductAuthType": AUTHENTICATION_HINT,
};

/** Hints by class, for codes that have none. */
export const classHints: Partial<Record<ErrorClass, string>> = {
  network: "Check the network, the url, and this machine's DNS server.",
  timeout: hints.TIMEOUT,
  certificate: hints.CERTIFICATE_REJECTED,
  unreadable: hints.RESPONSE_UNEXPECTED,
  clock: CLOCK_HINT,
  credential: KEY_HINT,
  account: gatewayCodeHints["FailedOperation.AccountIsolated"],
  device: ENABLE_HINT,
  console: "Check the product's settings, topics and limits in the console.",
  throttled: gatewayCodeHints.RequestLimitExceeded,
  server: SERVICE_HINT,
  protocol: FORM_HINT,
};

/** Codes caused by a wrong clock, and classes that it may cause if the code is unknown. */
const CLOCK_CODES = ["AuthFailure.SignatureExpire", "AuthFailure.SignatureFailure"];
const CLOCK_CLASSES: readonly ErrorClass[] = ["clock", "credential", "unknown"];

function responseHint(error: ResponseError, nowMs: number): string | undefined {
  if (error.code !== "GATEWAY_REJECTED") return hints[error.code] ?? classHints[error.errorClass];
  const code = String(error.gatewayCode);
  const known = Object.hasOwn(gatewayCodeHints, code) ? gatewayCodeHints[code] : undefined;
  const { errorClass } = error;
  const mayBeClock = known === undefined ? CLOCK_CLASSES.includes(errorClass) : CLOCK_CODES.includes(code);
  const hint = known ?? classHints[errorClass];
  if (!mayBeClock) return hint;
  const skew = error.dateMs === undefined ? undefined : (nowMs - error.dateMs) / 1000;
  if (skew === undefined || Math.abs(skew) < NOTABLE_SKEW_SECONDS) return hint;
  return `This machine's clock is ${duration(skew)} ${skew < 0 ? "behind" : "ahead of"} the gateway's; correct it.`;
}

/** Returns a stack trace with all causes, for `--debug`. */
export function trace(error: unknown): string {
  const parts: string[] = [];
  for (let e = error; e !== undefined && parts.length < 10; e = e instanceof Error ? e.cause : undefined) {
    parts.push(e instanceof Error ? (e.stack ?? String(e)) : String(e));
  }
  return parts.join("\ncaused by ");
}
