/**
 * Decides when a rejection is final. A single rejection proves nothing, since a gateway, an account or a proxy may
 * reject everything for a while. One round of evidence: a message is rejected, another one is acknowledged at the same
 * endpoint, and the first is rejected again for the same reason.
 */

import { type ErrorClass, type IotHubError, ResponseError } from "../errors.js";

/** Rounds for a code that is about the message. */
const ROUNDS_MESSAGE = 1;
/**
 * Rounds for a code that may be about anything. If a gateway rejects half of all requests at random, one round drops
 * one valid message in eight; three rounds drop less than one in a hundred.
 */
const ROUNDS_UNKNOWN = 3;

/** A rejected message, or rejected log lines. */
export interface Suspect {
  /** Reason of the last rejection; empty at first. */
  reason: string;
  rounds: number;
  /** Whether another message has been acknowledged since. */
  due: boolean;
}

/**
 * Returns the rounds of evidence after which a rejection is final: 0 for a message that cannot be sent at all;
 * undefined for an error that is not about the message.
 */
export function roundsNeeded(error: IotHubError, errorClass: ErrorClass): number | undefined {
  const isResponse = error instanceof ResponseError;
  if (errorClass === "message") return isResponse ? ROUNDS_MESSAGE : 0;
  return errorClass === "unreadable" || (isResponse && errorClass === "unknown") ? ROUNDS_UNKNOWN : undefined;
}

/** Gateway codes about the payload. For a batch, the cause may be one reading, the array itself, or its size. */
const PAYLOAD_CODES = Object.freeze([".InvalidJSON", "InvalidParameterValue.Payload"]);
const SIZE_CODES = Object.freeze([".PayloadOverLimit", ".InvalidMsgLen", "RequestSizeLimitExceeded"]);

/**
 * Returns whether a rejection is about the size or the content of the payload, or neither. Intermediaries use 413 and
 * 422 for it (RFC 9110 sections 15.5.14 and 15.5.21).
 */
export function payloadFault(error: IotHubError): "size" | "content" | undefined {
  if (!(error instanceof ResponseError)) return undefined;
  const { code, status } = error;
  if (code !== "GATEWAY_REJECTED" && code !== "HTTP_STATUS") return undefined;
  const gatewayCode = String(error.gatewayCode);
  const isOne = (suffix: string) => gatewayCode.endsWith(suffix);
  if (status === 413 || SIZE_CODES.some(isOne)) return "size";
  return status === 422 || PAYLOAD_CODES.some(isOne) ? "content" : undefined;
}

/** Counts a rejection. @returns rounds of evidence */
export function countRejection(suspect: Suspect, error: IotHubError): number {
  const reason = reasonOf(error);
  if (suspect.reason !== reason) {
    suspect.reason = reason;
    suspect.rounds = 0;
  } else if (suspect.due) {
    suspect.rounds++;
  }
  suspect.due = false;
  return suspect.rounds;
}

/** Returns what identifies a rejection: the gateway's code, or the status and the beginning of the page. */
function reasonOf(error: IotHubError): string {
  const { code, status, gatewayCode, excerpt = "" } = error as ResponseError;
  return code === "GATEWAY_REJECTED" ? `${code} ${gatewayCode}` : `${code} ${status} ${excerpt}`;
}
