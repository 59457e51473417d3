/**
 * The gateway's responses and its error codes.
 *
 * Tencent publishes no list of codes for the device gateway. It does publish the codes of the same product's API, in the
 * same shape (iotcloud, version 2021-04-08), and those that all of its APIs share (API 3.0, "Common Error Codes"). This
 * gateway gives those and no others, except for {@link unpublishedCodes}. Which published code a rule gives is this
 * gateway's own choice, so a client must pass on every code, known or not.
 */

/** Which of the three documented shapes a response has. */
export type ResponseShape =
  /** `{"Response":{"RequestId":…}}` and `{"Response":{"Error":{"Code","Message"},"RequestId":…}}`: today's. */
  | "response"
  /** `{"code":1010,"message":…,"requestId":…}`: the retired HTTP API. */
  | "code"
  /** `{"returnCode":2000,"returnMessage":…}`: the retired registration. */
  | "returnCode";

interface Meaning {
  /** HTTP status where the gateway is set to map errors to statuses; 200 otherwise. */
  readonly status: number;
  /** Number in the retired shapes; 1010 is documented, the others are made up. */
  readonly number: number;
}

/*
 * Unless noted, the API publishes the code with the meaning that the rule has. Choices:
 * - a Content-Type other than JSON gives the bare InvalidParameter, a member or header with a wrong value the bare
 *   InvalidParameterValue: nothing narrower is published
 * - a member that is missing gives ParamIncomplete ("a key field is missing"), a header that is missing MissingParameter
 * - a topic without a policy gives TopicPolicyNotExist, one whose policy does not include publishing PermissionDenied
 * - HMAC where the device has a certificate gives ProductNotSupportPSK, RSA where it has a psk WrongProductAuthType;
 *   the wrong one of two HMAC algorithms gives SignatureFailure
 * - log lines that are too many or too long give InvalidMsgLen
 * - a product without dynamic registration gives ProductIsForbidden ("the product has this function switched off")
 * - a second registration, where it is refused, gives ClientCertAlreadyGot, which is published for certificates; for a
 *   psk nothing is published
 * - a certificate that the product's CA did not sign gives CACertNotMatch, published for the CA's own upload
 * - bytes that are not HTTP give UnsupportedProtocol, a path or method that does not exist InvalidAction
 */
const meanings = {
  "AuthFailure.SignatureFailure": { status: 401, number: 1010 },
  "AuthFailure.SignatureExpire": { status: 401, number: 1011 },
  "AuthFailure.NonceReused": { status: 401, number: 1012 },
  InvalidAction: { status: 404, number: 1000 },
  MissingParameter: { status: 400, number: 1001 },
  InvalidParameter: { status: 415, number: 1002 },
  UnsupportedProtocol: { status: 400, number: 1004 },
  InvalidParameterValue: { status: 400, number: 1020 },
  "InvalidParameterValue.InvalidJSON": { status: 400, number: 1003 },
  "InvalidParameterValue.ParamIncomplete": { status: 400, number: 1005 },
  "InvalidParameterValue.PayloadOverLimit": { status: 413, number: 1025 },
  "InvalidParameterValue.CACertNotMatch": { status: 400, number: 1031 },
  "FailedOperation.InvalidTopicName": { status: 400, number: 1022 },
  "FailedOperation.InvalidMsgLen": { status: 400, number: 1027 },
  "FailedOperation.AccountIsolated": { status: 403, number: 1080 },
  "FailedOperation.DeviceAlreadyDisabled": { status: 403, number: 1081 },
  RequestSizeLimitExceeded: { status: 413, number: 1040 },
  "ResourceNotFound.ProductNotExist": { status: 404, number: 1050 },
  "ResourceNotFound.DeviceNotExist": { status: 404, number: 1051 },
  "ResourceNotFound.TopicPolicyNotExist": { status: 404, number: 1052 },
  "UnauthorizedOperation.PermissionDenied": { status: 403, number: 1060 },
  "UnauthorizedOperation.ProductIsForbidden": { status: 403, number: 1061 },
  "UnauthorizedOperation.DeviceIsNotEnabled": { status: 403, number: 1062 },
  "UnauthorizedOperation.ProductNotSupportPSK": { status: 403, number: 1063 },
  "UnsupportedOperation.ClientCertAlreadyGot": { status: 403, number: 1064 },
  "UnsupportedOperation.WrongProductAuthType": { status: 403, number: 1065 },
  "LimitExceeded.DeviceExceedLimit": { status: 403, number: 1071 },
  RequestLimitExceeded: { status: 429, number: 1070 },
  InternalError: { status: 500, number: 2000 },
} as const satisfies Record<string, Meaning>;

/** The codes that this gateway sends without a fault. */
export type ResponseCode = keyof typeof meanings;

/** All of them. */
export const responseCodes = Object.keys(meanings) as readonly ResponseCode[];

/** The codes that are published nowhere, and why the gateway gives them all the same. */
export const unpublishedCodes: Readonly<Partial<Record<ResponseCode, string>>> = {
  "AuthFailure.NonceReused":
    "Whether the service refuses a nonce that was used before is not known. A test of replayed requests needs a code " +
    "that cannot be mistaken for a wrong key or a wrong clock.",
};

/** A refusal on its way to becoming a response. */
export class Refusal extends Error {
  readonly code: ResponseCode;

  constructor(code: ResponseCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** HTTP status and JSON text of one response. */
export interface ResponseContent {
  readonly status: number;
  readonly body: string;
}

export interface ResponseStyle {
  readonly shape: ResponseShape;
  /** True: a status of the 400s or 500s for an error. False: 200, as the service is understood to do. */
  readonly mapStatus: boolean;
}

export function successResponse(
  style: ResponseStyle,
  requestId: string,
  members: Record<string, unknown> = {},
): ResponseContent {
  const body =
    style.shape === "response"
      ? { Response: { ...members, RequestId: requestId } }
      : style.shape === "code"
        ? { code: 0, message: "", requestId, ...lowerCaseNames(members) }
        : { returnCode: 0, returnMessage: "success", ...lowerCaseNames(members) };
  return { status: 200, body: JSON.stringify(body) };
}

/**
 * @param code one of {@link ResponseCode}, or any other text, which then has the number 1999
 * @param status HTTP status in place of the style's
 */
export function errorResponse(
  style: ResponseStyle,
  requestId: string,
  code: string,
  message: string,
  status?: number,
): ResponseContent {
  const meaning: Meaning = meanings[code as ResponseCode] ?? { status: 400, number: 1999 };
  const body =
    style.shape === "response"
      ? { Response: { Error: { Code: code, Message: message }, RequestId: requestId } }
      : style.shape === "code"
        ? { code: meaning.number, message, requestId }
        : { returnCode: meaning.number, returnMessage: message };
  return { status: status ?? (style.mapStatus ? meaning.status : 200), body: JSON.stringify(body) };
}

// The retired registration names its members in camel case: `payload`, `len`.
function lowerCaseNames(members: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(members).map(([name, value]) => [name[0].toLowerCase() + name.slice(1), value]),
  );
}
