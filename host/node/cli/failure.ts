/** How a failure is told: one line with a stable code, what is wrong and what helps, and an exit code for its class. */

import { AnswerError, type ErrorCode, IotHubError, NetworkError } from "../../../src/errors.js";
import { duration } from "./io.js";

/** What the process ends with. */
export const exitCodes = Object.freeze({
  ok: 0,
  other: 1,
  input: 2,
  credential: 3,
  network: 4,
  refused: 5,
});

export type CliErrorCode =
  | "USAGE"
  | "FILE_UNREADABLE"
  | "FILE_TOO_LARGE"
  | "FILE_EXISTS"
  | "FILE_UNWRITABLE"
  | "INVALID_PROFILE"
  | "INVALID_CA"
  | "INVALID_UTF8"
  | "PAYLOAD_TOO_LARGE"
  | "DEMO_FAILED";

/** A failure that the command line itself found. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly code: CliErrorCode;
  readonly exitCode: number;
  readonly hint: string | undefined;

  constructor(
    code: CliErrorCode,
    message: string,
    options: { exitCode?: number; hint?: string; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.exitCode = options.exitCode ?? exitCodes.input;
    this.hint = options.hint;
  }
}

/** A failure, ready to be told. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly exitCode: number;
  /** For `--json`: what the gateway said. */
  readonly details?: Readonly<Record<string, unknown>>;
}

const hints: Partial<Record<ErrorCode, string>> = {
  INVALID_PRODUCT_SECRET: "It stands in the console with the product's settings, where dynamic registration is on.",
  WRONG_PRODUCT_SECRET: "Copy the ProductSecret again from the console, all of it.",
  REGISTRATION_INCOMPLETE: "A product with a CA of its own needs --client-cert and --client-key.",
  INVALID_TOPIC: 'Give a name such as "data", or a whole topic such as "PRODUCT/DEVICE/data".',
  TOPIC_WILDCARD: "Publish to one topic at a time.",
  INVALID_REGION: "Known regions are ap-guangzhou, us-east, europe and ap-bangkok.",
  INVALID_URL: "For example --url http://127.0.0.1:8080.",
  INVALID_TIMESTAMP: "Seconds have ten digits in this century; `date +%s` prints them.",
  PAYLOAD_TOO_LARGE: "Split the message, or send only what has changed.",
  KEY_ENCRYPTED: "The command is: openssl pkcs8 -topk8 -nocrypt -in key.pem -out plain.pem",
  KEY_NOT_RSA: "The platform signs with RSA keys only; take the private key that came with the device's certificate.",
  KEY_NOT_PRIVATE: "Take the private key that came with the device's certificate.",
  KEY_MALFORMED: "The file may be cut off; download the key again.",
  NAME_RESOLUTION: "Check the region or the url, and the name server of this machine.",
  CONNECTION_REFUSED: "Is the gateway running, and is this its port? `tencent-iothub gateway` starts a local one.",
  CONNECTION_RESET: "Try again; if it stays so, something between here and the gateway ends the connection.",
  PROXY_FAILED: "Check HTTPS_PROXY, with its user and password, or name the gateway in NO_PROXY.",
  CERTIFICATE_REJECTED:
    "Give the CA that the gateway's certificate comes from with --ca, and check this machine's date.",
  TLS_FAILED: "Does the port speak TLS? A url with http:// is for plain HTTP.",
  TIMEOUT: "Check the network, or allow more time with --timeout-ms.",
  RESPONSE_MALFORMED: "Is this the gateway's port? What answered does not speak HTTP; https:// is for TLS.",
  HTTP_STATUS: "Something other than the device gateway may have answered, a proxy for example.",
  ANSWER_NOT_JSON: "Something other than the device gateway may have answered, a proxy for example.",
  ANSWER_UNKNOWN: "Something other than the device gateway may have answered.",
};

const gatewayHints: Readonly<Record<string, string>> = {
  PORT_IN_USE: "Choose another with --port, or --port 0 for any that is free.",
  PORT_FORBIDDEN: "Choose a port above 1023 with --port.",
};

/** A clock that is off by less is not what a signature expires from. */
const NOTABLE_SKEW_SECONDS = 60;

export function explain(error: unknown, nowMs: number = Date.now()): Failure {
  if (error instanceof CliError) {
    return { code: error.code, message: error.message, hint: error.hint, exitCode: error.exitCode };
  }
  if (error instanceof AnswerError) {
    const { status, gatewayCode, gatewayMessage, requestId, excerpt } = error;
    return {
      code: error.code,
      message: error.message,
      hint: answerHint(error, nowMs),
      exitCode: exitCodes.refused,
      details: { status, gatewayCode, gatewayMessage, requestId, excerpt },
    };
  }
  if (error instanceof IotHubError) {
    const exitCode =
      error instanceof NetworkError
        ? exitCodes.network
        : /^(KEY_|INVALID_CREDENTIAL$|(INVALID|WRONG)_PRODUCT_SECRET$|SIGNING_FAULT$)/.test(error.code)
          ? exitCodes.credential
          : /^REGISTRATION_/.test(error.code)
            ? exitCodes.refused
            : /^(INVALID_|TOPIC_|PAYLOAD_)/.test(error.code)
              ? exitCodes.input
              : exitCodes.other;
    return { code: error.code, message: error.message, hint: hints[error.code], exitCode };
  }
  // The gateway is loaded by its own command alone, so its errors are known by their name here.
  if (error instanceof Error && error.name === "GatewayError") {
    const code = String((error as Error & { code?: unknown }).code);
    const network = ["PORT_IN_USE", "PORT_FORBIDDEN", "LISTEN_FAILED"].includes(code);
    const exitCode = network ? exitCodes.network : exitCodes.input;
    return { code, message: error.message, hint: gatewayHints[code], exitCode };
  }
  return {
    code: "UNEXPECTED",
    message: error instanceof Error ? error.message : String(error),
    hint: "This should not happen; --debug shows where it did.",
    exitCode: exitCodes.other,
  };
}

/** The platform's list of codes is not published, so what they mean is told by the words in them. */
function answerHint(error: AnswerError, nowMs: number): string | undefined {
  if (error.code !== "GATEWAY_REJECTED") return hints[error.code];
  const said = `${error.gatewayCode} ${error.gatewayMessage ?? ""}`;
  const about = (pattern: RegExp) => pattern.test(said);
  const skew = error.dateMs === undefined ? undefined : (nowMs - error.dateMs) / 1000;
  const off = skew !== undefined && Math.abs(skew) >= NOTABLE_SKEW_SECONDS;
  const clock = off
    ? `This machine's clock is ${duration(skew)} ${skew < 0 ? "behind" : "ahead of"} the gateway's; set it right.`
    : undefined;
  if (about(/expire|timestamp/i)) return clock ?? "Compare this machine's clock with the gateway's.";
  if (about(/algorithm/i)) return "A device with a psk takes --psk-file, one with a certificate takes --key-file.";
  if (about(/signature|AuthFailure/i)) {
    return (
      clock ??
      "The psk, private key or ProductSecret is not the right one: copy it again from the console, a psk with the = at its end."
    );
  }
  if (about(/ResourceNotFound|no device|not exist/i)) return "Check --product-id, --device-name and the region.";
  if (about(/Unauthorized|topic|permission/i)) {
    return "The device needs the permission to publish to this topic; by default it has it for event and data.";
  }
  if (about(/LimitExceeded|frequen/i)) return "Wait a little, and publish less often.";
  return clock;
}

/** A stack trace with all its causes, for `--debug`. */
export function trace(error: unknown): string {
  const parts: string[] = [];
  for (let e = error; e !== undefined && parts.length < 10; e = e instanceof Error ? e.cause : undefined) {
    parts.push(e instanceof Error ? (e.stack ?? String(e)) : String(e));
  }
  return parts.join("\ncaused by ");
}
