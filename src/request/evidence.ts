/**
 * When a rejection is final. It alone is no evidence, since a gateway, an account or a proxy may reject everything for a
 * while. A round of evidence is: something is rejected, something else is acknowledged at the same endpoint, the first is
 * rejected again for the same reason.
 */

import { type ErrorClass, type IotHubError, ResponseError } from "../errors.js";

/** For a code that speaks of the message. */
const ROUNDS_MESSAGE = 1;
/**
 * For one that may speak of anything. With a gateway that rejects half of everything at random, one round costs one
 * innocent message in eight, three cost less than one in a hundred.
 */
const ROUNDS_UNKNOWN = 3;

/** What was rejected. */
export interface Suspect {
  /** What it was rejected with; empty at first. */
  reason: string;
  rounds: number;
  /** Whether something else was acknowledged since. */
  due: boolean;
}

/**
 * Rounds of evidence after which a rejection is final: 0 for what cannot even be sent; undefined for an error that says
 * nothing of what was sent.
 */
export function roundsNeeded(error: IotHubError, errorClass: ErrorClass): number | undefined {
  const isResponse = error instanceof ResponseError;
  if (errorClass === "message") return isResponse ? ROUNDS_MESSAGE : 0;
  return errorClass === "unreadable" || (isResponse && errorClass === "unknown") ? ROUNDS_UNKNOWN : undefined;
}

/** Codes that speak of the payload: of many readings together, perhaps of one of them alone, or of there being too many. */
const PAYLOAD_CODES = Object.freeze([".InvalidJSON", "InvalidParameterValue.Payload"]);
const SIZE_CODES = Object.freeze([".PayloadOverLimit", ".InvalidMsgLen", "RequestSizeLimitExceeded"]);

/**
 * What a rejection says of the payload: that it is too large, that something in it is wrong, or neither. An
 * intermediary may say so, too: 413 and 422 (RFC 9110 sections 15.5.14 and 15.5.21).
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

/** What makes two rejections the same: the gateway's code, or the status and the beginning of the page. */
function reasonOf(error: IotHubError): string {
  const { code, status, gatewayCode, excerpt = "" } = error as ResponseError;
  return code === "GATEWAY_REJECTED" ? `${code} ${gatewayCode}` : `${code} ${status} ${excerpt}`;
}
