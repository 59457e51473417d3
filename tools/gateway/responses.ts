/**
 * The gateway's responses and its error codes.
 *
 * Tencent publishes no list of codes for the device gateway, but the codes of the same product's API in the same format
 * (iotcloud, version 2021-04-08) and the common codes of all its APIs (API 3.0, "Common Error Codes"). This gateway
 * uses only those, except for {@link unpublishedCodes}. Which published code applies in which case is an assumption, so
 * a client must pass on every code, known or not.
 */

/** Documented formats of a response. */
export type ResponseShape =
  /** `{"Response":{"RequestId":…}}` and `{"Response":{"Error":{"Code","Message"},"RequestId":…}}`: current. */
  | "response"
  /** `{"code":1010,"message":…,"requestId":…}`: the retired HTTP API. */
  | "code"
  /** `{"returnCode":2000,"returnMessage":…}`: the retired registration. */
  | "returnCode";

interface Meaning {
  /** HTTP status if the gateway maps errors to statuses; otherwise 200. */
  readonly status: number;
  /** Numeric code in the retired formats; 1010 is documented, the others are invented. */
  readonly number: number;
}

/*
 * Unless noted, the API publishes the code with the same meaning. Choices:
 * - Content-Type other than JSON: InvalidParameter; member or header with a wrong value: InvalidParameterValue. Nothing
 *   more specific is published.
 * - missing member: ParamIncomplete ("a key field is missing"); missing header: MissingParameter
 * - topic without a policy: TopicPolicyNotExist; policy without publishing: PermissionDenied
 * - HMAC although the device has a certificate: ProductNotSupportPSK; RSA although it has a PSK: WrongProductAuthType;
 *   the wrong one of two HMAC algorithms: SignatureFailure
 * - too many or too long log lines: InvalidMsgLen
 * - product without dynamic registration: ProductIsForbidden ("the product has this function switched off")
 * - rejected repeated registration: ClientCertAlreadyGot, which is published for certificates; nothing is published for
 * a
 *   PSK
 * - certificate not signed by the product's CA: CACertNotMatch, published for the upload of a CA
 * - non-HTTP bytes: UnsupportedProtocol; unknown path or method: InvalidAction
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

/** Codes that this gateway sends without an injected fault. */
export type ResponseCode = keyof typeof meanings;

/** All codes that this gateway sends without an injected fault. */
export const responseCodes = Object.keys(meanings) as readonly ResponseCode[];

/** Unpublished codes, and why the gateway uses them. */
export const unpublishedCodes: Readonly<Partial<Record<ResponseCode, string>>> = {
  "AuthFailure.NonceReused":
    "It is unknown whether the service rejects a repeated nonce. A test of replayed requests needs a code that cannot be " +
    "mistaken for a wrong key or a wrong clock.",
};

/** A rejection, which becomes an error response. */
export class Refusal extends Error {
  readonly code: ResponseCode;

  constructor(code: ResponseCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** HTTP status and JSON text of a response. */
export interface ResponseContent {
  readonly status: number;
  readonly body: string;
}

export interface ResponseStyle {
  readonly shape: ResponseShape;
  /** True: 4xx and 5xx statuses for errors. False: 200, which the service is assumed to use. */
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
 * Creates an error response. @param code one of {@link ResponseCode}, or any other text, which has the number 1999
 * @param status overrides the HTTP status
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
