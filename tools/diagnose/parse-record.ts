import { DiagnoseError } from "./errors.js";
import type { SentRequest } from "./request.js";

const fail = (reason: string): never => {
  throw new DiagnoseError("INVALID_RECORD", `This is not a recording of a gateway: ${reason}.`);
};

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Reads a recording of the local gateway, JSON lines: the last request with a wrong signature, else the last signed one.
 *
 * @param index number of the request (`#7` in the gateway's log) @default the last one, as above
 * @throws {DiagnoseError} INVALID_RECORD
 */
export function parseRecord(text: string, index?: number): SentRequest {
  const requests = text
    .split("\n")
    .map(requestOf)
    .filter((request) => request !== undefined);
  const signed = requests.filter(({ headers }) => isObject(headers) && headers["x-tc-signature"] !== undefined);
  const refused = signed.filter(({ error }) => isObject(error) && error.code === "AuthFailure.SignatureFailure");
  const chosen =
    index === undefined
      ? (refused.at(-1) ?? signed.at(-1))
      : signed.filter((request) => request.index === index).at(-1);
  if (chosen === undefined) {
    return fail(index === undefined ? "no request in it is signed" : `no signed request in it has the number ${index}`);
  }
  const { method, url, headers, bodyBase64, receivedAtMs } = chosen;
  if (typeof method !== "string" || typeof url !== "string") return fail("the request has no method or no url");
  const plain = Object.fromEntries(
    Object.entries(headers as Json).map(([name, value]) => [name.toLowerCase(), String(value)]),
  );
  return {
    method,
    target: url,
    host: plain.host ?? "",
    headers: plain,
    body: Buffer.from(typeof bodyBase64 === "string" ? bodyBase64 : "", "base64"),
    ...(typeof receivedAtMs === "number" ? { sentAtMs: receivedAtMs } : {}),
  };
}

/** Other lines are other events; one that a crash cut off is none. */
function requestOf(line: string): Json | undefined {
  try {
    const value = JSON.parse(line);
    return isObject(value) && value.type === "request" && isObject(value.request) ? value.request : undefined;
  } catch {
    return undefined;
  }
}
