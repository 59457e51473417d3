/**
 * A client that makes mistakes on purpose. It shares no code with the diagnosis that is to find them: each mistake is
 * made
 *here independently.
 */

import { createHash, createHmac } from "node:crypto";

/** What a client signs, step by step. */
export interface Plan {
  key: Buffer;
  mac: (hash: string, key: Buffer, text: string) => Buffer;
  macHash: string;
  method: string;
  host: string;
  path: string;
  query: string;
  algorithm: string;
  timestamp: string;
  nonce: string;
  hashed: Buffer;
  bodyHash: string;
  formOf: (hex: string, body: Buffer) => string;
  join: (lines: string[]) => string;
  write: (signature: Buffer) => string;
}

/** A right request, and what goes with it. */
export interface Sample {
  readonly psk: string;
  readonly productSecret: string;
  readonly hostHeader: string;
  readonly target: string;
  readonly algorithm: "hmacsha256" | "hmacsha1";
  readonly timestamp: string;
  readonly nonce: string;
  readonly body: Buffer;
  /** How the members stand in the body: comma, colon, indentation. */
  readonly style: Style;
  readonly members: Readonly<Record<string, string | number>>;
}

export interface Style {
  readonly comma: string;
  readonly colon: string;
  readonly indent: string;
}

export const styles: Readonly<Record<"compact" | "python" | "two" | "four" | "colons", Style>> = {
  compact: { comma: ",", colon: ":", indent: "" },
  python: { comma: ", ", colon: ": ", indent: "" },
  two: { comma: ",\n", colon: ": ", indent: "  " },
  four: { comma: ",\n", colon: ": ", indent: "    " },
  colons: { comma: ",", colon: ": ", indent: "" },
};

export function write(members: Sample["members"], { comma, colon, indent }: Style): string {
  const parts = Object.entries(members).map(([name, value]) => `${indent}"${name}"${colon}${JSON.stringify(value)}`);
  return indent === "" ? `{${parts.join(comma)}}` : `{\n${parts.join(comma)}\n}`;
}

export type Pick = <T>(items: readonly T[]) => T;

export interface Made {
  readonly id: string;
  /** Variants that are tried alone only are drawn alone only. */
  readonly make: (plan: Plan, sample: Sample, pick: Pick, isAlone: boolean) => void;
}

/** Members and style change together where two mistakes concern the JSON. */
interface Shape {
  members: Record<string, string | number>;
  style: Style;
}
const shapes = new WeakMap<Plan, Shape>();
function reshape(plan: Plan, sample: Sample, change: (shape: Shape) => void): void {
  const shape = shapes.get(plan) ?? { members: { ...sample.members }, style: sample.style };
  change(shape);
  shapes.set(plan, shape);
  plan.hashed = Buffer.from(write(shape.members, shape.style));
}

const number = ({ algorithm }: Sample): string => (algorithm === "hmacsha1" ? "1" : "256");

/** In the order in which a client makes them. */
export const made: readonly Made[] = [
  {
    id: "psk-decoded",
    make: (plan) => {
      plan.key = Buffer.from(plan.key.toString(), "base64");
    },
  },
  {
    id: "psk-padding",
    make: (plan) => {
      plan.key = Buffer.from(plan.key.toString().replace(/=+$/, ""));
    },
  },
  {
    id: "product-secret",
    make: (plan, { productSecret }) => {
      plan.key = Buffer.from(productSecret);
    },
  },
  {
    id: "psk-letter-case",
    make: (plan) => {
      plan.key = Buffer.from(plan.key.toString().toLowerCase());
    },
  },
  {
    id: "psk-encoded",
    make: (plan) => {
      plan.key = Buffer.from(plan.key.toString("base64"));
    },
  },
  {
    id: "psk-quoted",
    make: (plan) => {
      plan.key = Buffer.from(`"${plan.key}"`);
    },
  },
  {
    id: "psk-line-end",
    make: (plan, _, pick) => {
      plan.key = Buffer.concat([plan.key, Buffer.from(pick(["\n", "\r\n"]))]);
    },
  },
  {
    id: "psk-space",
    make: (plan) => {
      plan.key = Buffer.concat([plan.key, Buffer.from(" ")]);
    },
  },
  {
    id: "hmac-misused",
    make: (plan, _, pick, isAlone) => {
      const plain = (...parts: (string | Buffer)[]): Buffer => Buffer.concat(parts.map((part) => Buffer.from(part)));
      plan.mac = pick([
        (hash, key, text) => createHmac(hash, text).update(key).digest(),
        ...(isAlone
          ? [
              (hash: string, key: Buffer, text: string) => createHash(hash).update(plain(key, text)).digest(),
              (hash: string, key: Buffer, text: string) => createHash(hash).update(plain(text, key)).digest(),
            ]
          : []),
      ]);
    },
  },
  {
    id: "method",
    make: (plan) => {
      plan.method = "post";
    },
  },
  {
    id: "host-letter-case",
    make: (plan, { hostHeader }) => {
      plan.host = hostHeader.split(":")[0];
    },
  },
  {
    id: "host-port",
    make: (plan, { hostHeader }, pick) => {
      plan.host += `:${hostHeader.split(":")[1] ?? pick(["80", "443"])}`;
    },
  },
  {
    id: "host-scheme",
    make: (plan, _, pick) => {
      plan.host = pick([`https://${plan.host}`, `${plan.host}/`]);
    },
  },
  {
    id: "host-upper-case",
    make: (plan) => {
      plan.host = plan.host.toUpperCase();
    },
  },
  {
    id: "path-slash",
    make: (plan, _, pick) => {
      plan.path = pick([`${plan.path}/`, plan.path.slice(1)]);
    },
  },
  {
    id: "path-query",
    make: (plan, { target }) => {
      plan.path += target.includes("?") ? `?${target.split("?")[1]}` : "";
    },
  },
  {
    id: "path-url",
    make: (plan, { hostHeader }) => {
      plan.path = `https://${hostHeader}${plan.path}`;
    },
  },
  {
    id: "query",
    make: (plan, { target }) => {
      plan.query = target.split("?")[1] ?? "";
    },
  },
  {
    id: "algorithm-spelling",
    make: (plan, sample, pick) => {
      const n = number(sample);
      plan.algorithm = pick([`HmacSha${n}`, `HmacSHA${n}`, `HMAC-SHA${n}`, `HMACSHA${n}`, `hmac-sha${n}`]);
    },
  },
  {
    id: "algorithm-other",
    make: (plan, { algorithm }) => {
      plan.algorithm = algorithm === "hmacsha1" ? "hmacsha256" : "hmacsha1";
    },
  },
  {
    id: "timestamp-local",
    make: (plan, _, pick, isAlone) => {
      const hours = pick(isAlone ? [8, -8, 5.5, -5, 9, 1, -3.5, 12, 5.75] : [8, -8]);
      plan.timestamp = String(Number(plan.timestamp) + hours * 3600);
    },
  },
  {
    id: "timestamp-read-twice",
    make: (plan, _, pick, isAlone) => {
      plan.timestamp = String(Number(plan.timestamp) + pick(isAlone ? [-1, 1, -2, 3, 200, -300] : [-1, 1]));
    },
  },
  {
    id: "timestamp-milliseconds",
    make: (plan, _, pick, isAlone) => {
      plan.timestamp += isAlone ? pick(["000", "007", "042", "345", "999"]) : "000";
    },
  },
  {
    id: "nonce",
    make: (plan) => {
      plan.nonce = "";
    },
  },
  {
    id: "timestamp-nonce-swapped",
    make: (plan) => {
      [plan.timestamp, plan.nonce] = [plan.nonce, plan.timestamp];
    },
  },
  {
    id: "body-base64",
    make: (plan, sample) =>
      reshape(plan, sample, ({ members: all }) => {
        if (all.PayloadEncoding !== undefined) all.Payload = Buffer.from(String(all.Payload), "base64").toString();
      }),
  },
  {
    id: "body-topic",
    make: (plan, sample) =>
      reshape(plan, sample, ({ members: all }) => {
        all.TopicName = String(all.TopicName).split("/").at(-1) as string;
      }),
  },
  {
    id: "body-order",
    make: (plan, sample) =>
      reshape(plan, sample, (shape) => {
        shape.members = Object.fromEntries(Object.entries(shape.members).sort(([a], [b]) => (a < b ? -1 : 1)));
      }),
  },
  {
    id: "body-spacing",
    make: (plan, sample, pick) =>
      reshape(plan, sample, (shape) => {
        shape.style = pick(Object.values(styles));
      }),
  },
  {
    id: "body-escapes",
    make: (plan, _, pick) => {
      const text = plan.hashed.toString();
      const ascii = [...text]
        .flatMap((character) => character.split(""))
        .map((unit) => (unit > "~" ? `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}` : unit))
        .join("");
      plan.hashed = Buffer.from(pick([ascii, text.split("/").join("\\/")]));
    },
  },
  {
    id: "body-payload",
    make: (plan, sample) => {
      plan.hashed = Buffer.from(String(sample.members.Payload));
    },
  },
  {
    id: "body-white-space",
    make: (plan, _, pick) => {
      plan.hashed = Buffer.concat([plan.hashed, Buffer.from(pick(["\n", "\r\n", "\0"]))]);
    },
  },
  {
    id: "body-empty",
    make: (plan) => {
      plan.hashed = Buffer.alloc(0);
    },
  },
  {
    id: "body-hash-function",
    make: (plan, _, pick, isAlone) => {
      const other = plan.bodyHash === "sha1" ? "sha256" : "sha1";
      plan.bodyHash = pick(isAlone ? [other, "md5"] : [other]);
    },
  },
  {
    id: "body-hash-form",
    make: (plan, _, pick) => {
      plan.formOf = pick([
        (hex: string) => hex.toUpperCase(),
        (hex: string) => Buffer.from(hex, "hex").toString("base64"),
      ]);
    },
  },
  {
    id: "body-hash-missing",
    make: (plan, _, pick) => {
      plan.formOf = pick([() => "", (_hex: string, body: Buffer) => `${body}`]);
    },
  },
  {
    id: "layout-lines",
    make: (plan) => {
      plan.join = (lines) => [...lines.slice(0, 3), ...lines.slice(4)].join("\n");
    },
  },
  {
    id: "layout-line-end",
    make: (plan, _, pick) => {
      const { join } = plan;
      plan.join = pick([
        (lines: string[]) => `${join(lines)}\n`,
        (lines: string[]) => `${join(lines)}\0`,
        (lines: string[]) => join(lines).split("\n").join("\r\n"),
        (lines: string[]) => join(lines).split("\n").join("\\n"),
      ]);
    },
  },
  {
    id: "hmac-hash",
    make: (plan) => {
      plan.macHash = plan.macHash === "sha1" ? "sha256" : "sha1";
    },
  },
  {
    id: "signature-hex",
    make: (plan) => {
      plan.write = (bytes) => bytes.toString("hex");
    },
  },
  {
    id: "signature-base64-of-hex",
    make: (plan) => {
      plan.write = (bytes) => Buffer.from(bytes.toString("hex")).toString("base64");
    },
  },
  {
    id: "signature-unpadded",
    make: (plan) => {
      plan.write = (bytes) => bytes.toString("base64").split("=")[0];
    },
  },
  {
    id: "signature-url-alphabet",
    make: (plan) => {
      plan.write = (bytes) => bytes.toString("base64url");
    },
  },
  {
    id: "signature-percent-encoded",
    make: (plan) => {
      plan.write = (bytes) => encodeURIComponent(bytes.toString("base64"));
    },
  },
  {
    id: "signature-quoted",
    make: (plan) => {
      plan.write = (bytes) => `"${bytes.toString("base64")}"`;
    },
  },
  {
    id: "signature-prefixed",
    make: (plan) => {
      plan.write = (bytes) => `sha256=${bytes.toString("base64")}`;
    },
  },
  {
    id: "signature-plus-as-space",
    make: (plan) => {
      plan.write = (bytes) => bytes.toString("base64").split("+").join(" ").trim();
    },
  },
];

/** The signature that a client with these mistakes sends. */
export function signWith(sample: Sample, mistakes: readonly Made[], pick: Pick): string {
  const hash = sample.algorithm === "hmacsha1" ? "sha1" : "sha256";
  const plan: Plan = {
    key: Buffer.from(sample.psk),
    mac: (name, key, text) => createHmac(name, key).update(text).digest(),
    macHash: hash,
    method: "POST",
    host: sample.hostHeader.split(":")[0].toLowerCase(),
    path: sample.target.split("?")[0],
    query: "",
    algorithm: sample.algorithm,
    timestamp: sample.timestamp,
    nonce: sample.nonce,
    hashed: sample.body,
    bodyHash: hash,
    formOf: (hex) => hex,
    join: (lines) => lines.join("\n"),
    write: (signature) => signature.toString("base64"),
  };
  for (const { make } of mistakes) make(plan, sample, pick, mistakes.length === 1);
  const { method, host, path, query, algorithm, timestamp, nonce } = plan;
  const bodyHash = plan.formOf(createHash(plan.bodyHash).update(plan.hashed).digest("hex"), plan.hashed);
  const text = plan.join([method, host, path, query, algorithm, timestamp, nonce, bodyHash]);
  return plan.write(plan.mac(plan.macHash, plan.key, text));
}
