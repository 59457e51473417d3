/**
 * Finds out why the signature of a request is wrong. Takes the request as it was sent (a curl command, raw HTTP, an
 * entry of a HAR file, or a trace of `onEvent`) and the key, and reports the mistake that reproduces the signature, if
 * one does. Start with {@link diagnose}. It uses `node:crypto` and shares no code with the library, so that a bug in
 * one is not repeated in the other.
 */

export {
  type Deviation,
  type DiagnoseOptions,
  type Diagnosis,
  type DiagnosisKey,
  diagnose,
  MAX_HASHES,
} from "./diagnose.js";
export { DiagnoseError, type DiagnoseErrorCode } from "./errors.js";
export { type SignedFieldName, type SignedFields, signedFieldNames, stringToSign, visible } from "./fields.js";
export type { OtherKey, Where } from "./mistakes.js";
export { detectFormat, parseRequest, type RequestFormat, requestFormats } from "./parse.js";
export { parseCurl } from "./parse-curl.js";
export { parseHar } from "./parse-har.js";
export { parseHttp } from "./parse-http.js";
export { parseRecord } from "./parse-record.js";
export { parseTrace } from "./parse-trace.js";
export { describeDiagnosis } from "./report.js";
export { expectedFields, type FormProblem, type SentRequest } from "./request.js";
