/**
 * The gateway's answers.
 *
 * The list of error codes of the real service is not public. Those below follow the style of Tencent Cloud's API 3.0
 * (`Group.Detail`) and are **this mock's own choice**: a client must pass codes through that it does not know.
 */

/** Which of the three documented shapes an answer has. */
export type AnswerShape =
  /** `{"Response":{"RequestId":…}}` and `{"Response":{"Error":{"Code","Message"},"RequestId":…}}`: today's. */
  | "response"
  /** `{"code":1010,"message":…,"requestId":…}`: the retired HTTP API. */
  | "code"
  /** `{"returnCode":2000,"returnMessage":…}`: the retired registration. */
  | "returnCode";

interface Meaning {
  /** HTTP status where the gateway is told to map errors to statuses; 200 otherwise. */
  readonly status: number;
  /** Number in the retired shapes; 1010 is documented, the others are made up. */
  readonly number: number;
}

const meanings = {
  "AuthFailure.SignatureFailure": { status: 401, number: 1010 },
  "AuthFailure.SignatureExpire": { status: 401, number: 1011 },
  "AuthFailure.NonceReused": { status: 401, number: 1012 },
  "AuthFailure.AlgorithmMismatch": { status: 401, number: 1013 },
  InvalidAction: { status: 404, number: 1000 },
  MissingParameter: { status: 400, number: 1001 },
  "InvalidParameter.ContentType": { status: 415, number: 1002 },
  "InvalidParameter.Json": { status: 400, number: 1003 },
  "InvalidParameterValue.ProductId": { status: 400, number: 1020 },
  "InvalidParameterValue.DeviceName": { status: 400, number: 1021 },
  "InvalidParameterValue.TopicName": { status: 400, number: 1022 },
  "InvalidParameterValue.Payload": { status: 400, number: 1023 },
  "InvalidParameterValue.PayloadEncoding": { status: 400, number: 1024 },
  "InvalidParameterValue.PayloadTooLarge": { status: 413, number: 1025 },
  "InvalidParameterValue.Qos": { status: 400, number: 1026 },
  "InvalidParameterValue.Message": { status: 400, number: 1027 },
  "InvalidParameterValue.Algorithm": { status: 400, number: 1028 },
  "InvalidParameterValue.Timestamp": { status: 400, number: 1029 },
  "InvalidParameterValue.Nonce": { status: 400, number: 1030 },
  "InvalidParameterValue.ClientCert": { status: 400, number: 1031 },
  RequestSizeLimitExceeded: { status: 413, number: 1040 },
  "ResourceNotFound.Product": { status: 404, number: 1050 },
  "ResourceNotFound.Device": { status: 404, number: 1051 },
  UnauthorizedOperation: { status: 403, number: 1060 },
  "UnauthorizedOperation.Registration": { status: 403, number: 1061 },
  RequestLimitExceeded: { status: 429, number: 1070 },
  InternalError: { status: 500, number: 2000 },
} as const satisfies Record<string, Meaning>;

/** The codes that this gateway gives of its own accord. */
export type AnswerCode = keyof typeof meanings;

/** A refusal on its way to becoming an answer. */
export class Refusal extends Error {
  readonly code: AnswerCode;

  constructor(code: AnswerCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** HTTP status and JSON text of one answer. */
export interface Answer {
  readonly status: number;
  readonly body: string;
}

export interface AnswerStyle {
  readonly shape: AnswerShape;
  /** True: a status of the 400s or 500s for an error. False: 200, as the service is understood to answer. */
  readonly mapStatus: boolean;
}

export function successAnswer(style: AnswerStyle, requestId: string, members: Record<string, unknown> = {}): Answer {
  const body =
    style.shape === "response"
      ? { Response: { ...members, RequestId: requestId } }
      : style.shape === "code"
        ? { code: 0, message: "", requestId, ...lowerCaseNames(members) }
        : { returnCode: 0, returnMessage: "success", ...lowerCaseNames(members) };
  return { status: 200, body: JSON.stringify(body) };
}

/** @param code one of {@link AnswerCode}, or any other text, which then has no number of its own */
export function errorAnswer(style: AnswerStyle, requestId: string, code: string, message: string): Answer {
  const meaning: Meaning = meanings[code as AnswerCode] ?? { status: 400, number: 1999 };
  const body =
    style.shape === "response"
      ? { Response: { Error: { Code: code, Message: message }, RequestId: requestId } }
      : style.shape === "code"
        ? { code: meaning.number, message, requestId }
        : { returnCode: meaning.number, returnMessage: message };
  return { status: style.mapStatus ? meaning.status : 200, body: JSON.stringify(body) };
}

// The retired registration names its members in camel case: `payload`, `len`.
function lowerCaseNames(members: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(members).map(([name, value]) => [name[0].toLowerCase() + name.slice(1), value]),
  );
}
