import { createHash } from "node:crypto";
import { DiagnoseError } from "./errors.js";
import type { SignedFields } from "./fields.js";

export type SignatureAlgorithm = "hmacsha256" | "hmacsha1" | "rsa-sha256";

/** A request as it was sent, or as a trace describes it. */
export interface SentRequest {
  readonly method: string;
  /** Request target: path and query, or an absolute URL. */
  readonly target: string;
  /** Host header, including a port. */
  readonly host: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Bytes that were sent; undefined if only their hash is known. */
  readonly body?: Uint8Array;
  /** Signed hash of the body, from a trace. */
  readonly bodyHash?: string;
  /** Whether the signature is truncated, as in a trace. @default false */
  readonly isPrefix?: boolean;
  /** Time when it was sent in milliseconds since 1970; undefined if unknown. */
  readonly sentAtMs?: number;
  /** Other bytes that may have been hashed, such as a file before `curl -d` removed its line breaks. */
  readonly originals?: readonly { readonly what: string; readonly bytes: Uint8Array }[];
}

/** A fault of a header, independent of the signature. */
export interface FormProblem {
  readonly message: string;
  readonly mend: string;
}

const algorithms: readonly SignatureAlgorithm[] = ["hmacsha256", "hmacsha1", "rsa-sha256"];

/** Signature headers and their faults. */
export interface SignatureParts {
  readonly algorithm: SignatureAlgorithm;
  /** The algorithm as written in the header. */
  readonly spelledAlgorithm: string;
  readonly timestamp: string;
  readonly nonce: string;
  readonly signature: string;
  readonly problems: readonly FormProblem[];
}

/** Reads the signature headers. @throws {DiagnoseError} INVALID_REQUEST if there is no signature */
export function readSignatureParts(request: SentRequest): SignatureParts {
  const problems: FormProblem[] = [];
  const header = (name: string): string => {
    const value = request.headers[name.toLowerCase()];
    if (value === undefined || value === "") {
      problems.push({ message: `the header ${name} is missing`, mend: `Send ${name}.` });
    }
    return value ?? "";
  };
  const signature = header("X-TC-Signature");
  if (signature === "") {
    throw new DiagnoseError(
      "INVALID_REQUEST",
      "The request has no X-TC-Signature header, so there is nothing to check.",
    );
  }
  const spelledAlgorithm = header("X-TC-Algorithm");
  const timestamp = header("X-TC-Timestamp");
  const nonce = header("X-TC-Nonce");
  const plain = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]/g, "");
  const known = algorithms.find((name) => plain(name) === plain(spelledAlgorithm));
  const algorithm = known ?? algorithmOfLength(signature);
  if (spelledAlgorithm !== "" && spelledAlgorithm !== algorithm) {
    problems.push({
      message: `X-TC-Algorithm is ${JSON.stringify(spelledAlgorithm.slice(0, 40))}, which the gateway does not support`,
      mend: `Write ${known ?? algorithms.join(", ")} in lower case, in the header and in the string to sign.`,
    });
  }
  if (/^[0-9]{12,14}$/.test(timestamp)) {
    problems.push({
      message: "X-TC-Timestamp counts milliseconds",
      mend: "Send seconds since 1970: Math.floor(Date.now() / 1000).",
    });
  } else if (/^[0-9]+$/.test(timestamp) && Number(timestamp) < 1_000_000_000) {
    problems.push({
      message: "X-TC-Timestamp seems to count from the start of the device",
      mend: "Set the clock (SNTP) before signing: seconds since 1970 are expected.",
    });
  } else if (timestamp !== "" && !/^[0-9]{10,11}$/.test(timestamp)) {
    problems.push({
      message: "X-TC-Timestamp is not a decimal number of seconds",
      mend: "Send seconds since 1970 as decimal digits without a fraction.",
    });
  }
  if (nonce !== "" && !/^(0|[1-9][0-9]{0,18})$/.test(nonce)) {
    problems.push({
      message: "X-TC-Nonce is not a decimal integer",
      mend: "Send decimal digits without leading zeros.",
    });
  }
  const type = request.headers["content-type"];
  if (request.bodyHash === undefined && !/^application\/json\b/i.test(type ?? "")) {
    problems.push({
      message: type === undefined ? "the header Content-Type is missing" : "Content-Type is not application/json",
      mend: "Send Content-Type: application/json; charset=utf-8.",
    });
  }
  if (request.method !== "POST") {
    problems.push({ message: `the method is ${request.method.slice(0, 20)}`, mend: "The gateway accepts only POST." });
  }
  const late = clockProblem(timestamp, request.sentAtMs);
  if (late !== undefined) problems.push(late);
  return { algorithm, spelledAlgorithm, timestamp, nonce, signature, problems };
}

/** Validity of a signature in seconds. */
const VALID_SECONDS = 300;

function clockProblem(timestamp: string, sentAtMs: number | undefined): FormProblem | undefined {
  if (sentAtMs === undefined || !/^[0-9]{10}$/.test(timestamp)) return undefined;
  const ahead = Number(timestamp) - sentAtMs / 1000;
  if (Math.abs(ahead) <= VALID_SECONDS) return undefined;
  const quarters = Math.round(ahead / 900);
  const isZone = quarters !== 0 && Math.abs(quarters) <= 14 * 4 && Math.abs(ahead - quarters * 900) <= 60;
  const hours = Math.abs(quarters) / 4;
  const by = `${Math.abs(Math.round(ahead))} s ${ahead > 0 ? "ahead of" : "behind"} the time of the request`;
  return isZone
    ? {
        message: `X-TC-Timestamp is ${hours} h ${ahead > 0 ? "ahead of" : "behind"} the time of the request, as local time would be`,
        mend: "Send seconds since 1970 in UTC, without the time zone.",
      }
    : { message: `X-TC-Timestamp is ${by}`, mend: "Set the clock, and sign right before sending." };
}

function algorithmOfLength(signature: string): SignatureAlgorithm {
  const { length } = signature;
  if (length > 90) return "rsa-sha256";
  return length === 27 || length === 28 || length === 40 ? "hmacsha1" : "hmacsha256";
}

/** Returns target and host of a request; of an absolute URL, its parts (RFC 9112 section 3.2.2). */
export function originOf(request: SentRequest): { readonly target: string; readonly host: string } {
  const absolute = /^https?:\/\/([^/?#@\s]+)([^#\s]*)$/i.exec(request.target);
  if (absolute === null) return { target: request.target, host: request.host };
  const [, host, rest] = absolute;
  return { target: rest.startsWith("/") ? rest : `/${rest}`, host };
}

export function hostWithoutPort(host: string): string {
  return host.replace(/:\d*$/, "");
}

/** The name of the hash function that an algorithm hashes the body with. */
export function bodyHashName(algorithm: string): "sha1" | "sha256" {
  return algorithm === "hmacsha1" ? "sha1" : "sha256";
}

/** The fields that a correct client signs for this request. */
export function expectedFields(request: SentRequest, parts: SignatureParts): SignedFields {
  const { target, host } = originOf(request);
  const { body } = request;
  return {
    method: "POST",
    host: hostWithoutPort(host).toLowerCase().replace(/\.$/, ""),
    path: target.split("?")[0],
    query: "",
    algorithm: parts.algorithm,
    timestamp: parts.timestamp,
    nonce: parts.nonce,
    bodyHash:
      body === undefined
        ? (request.bodyHash ?? "")
        : createHash(bodyHashName(parts.algorithm)).update(body).digest("hex"),
  };
}
