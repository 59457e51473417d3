import { createHash, createHmac, createPrivateKey, sign } from "node:crypto";
import { type Agent as HttpAgent, request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { type Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Gateway } from "../../tools/gateway/index.js";
import { psk } from "./keys.js";

/** A client of the gateway with Node's modules, so that the gateway's tests do not depend on the library. */

export interface Signing {
  method?: string;
  host?: string;
  path?: string;
  query?: string;
  algorithm?: string;
  timestamp?: string;
  nonce?: string;
  bodyHash?: string;
}

export interface Call {
  path?: string;
  body?: string | Buffer;
  secret?: string | Buffer;
  privateKey?: string;
  algorithm?: "hmacsha256" | "hmacsha1" | "rsa-sha256";
  timestamp?: string;
  nonce?: string;
  /** Fields that are signed differently from what is sent. */
  signed?: Signing;
  /** Changes the string to sign as a whole. */
  layout?: (text: string) => string;
  /** Changes the signature as a whole. */
  write?: (signature: Buffer) => string;
  /** Replaces or, with undefined, removes headers. */
  headers?: Record<string, string | undefined>;
  agent?: HttpAgent | HttpsAgent;
  servername?: string;
  tls?: object;
}

export interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  json: unknown;
  /** `Response.Error.Code`. */
  code: string | undefined;
}

let counter = 1000;

export function message(members: Record<string, unknown> = {}): string {
  const whole = {
    ProductId: "P1",
    DeviceName: "dev1",
    TopicName: "P1/dev1/data",
    Payload: "hello",
    Qos: 1,
    ...members,
  };
  return JSON.stringify(whole);
}

export function signedHeaders(host: string, call: Call): Record<string, string> {
  const { algorithm = "hmacsha256", body = message(), path = "/device/publish", signed = {} } = call;
  const timestamp = call.timestamp ?? String(Math.floor(Date.now() / 1000));
  const nonce = call.nonce ?? String(counter++);
  const hash = algorithm === "hmacsha1" ? "sha1" : "sha256";
  const text = [
    signed.method ?? "POST",
    signed.host ?? host.replace(/:\d+$/, "").toLowerCase(),
    signed.path ?? path.split("?")[0],
    signed.query ?? "",
    signed.algorithm ?? algorithm,
    signed.timestamp ?? timestamp,
    signed.nonce ?? nonce,
    signed.bodyHash ?? createHash(hash).update(body).digest("hex"),
  ].join("\n");
  const laid = call.layout?.(text) ?? text;
  const signature = call.privateKey
    ? sign("sha256", Buffer.from(laid), createPrivateKey(call.privateKey))
    : createHmac(hash, call.secret ?? psk)
        .update(laid)
        .digest();
  return {
    "content-type": "application/json; charset=utf-8",
    "x-tc-algorithm": algorithm,
    "x-tc-timestamp": timestamp,
    "x-tc-nonce": nonce,
    "x-tc-signature": call.write?.(signature) ?? signature.toString("base64"),
  };
}

export function send(gateway: Gateway, call: Call = {}): Promise<Reply> {
  const { path = "/device/publish", body = message() } = call;
  const url = new URL(gateway.url);
  const headers: Record<string, string | undefined> = { host: url.host, ...signedHeaders(url.host, call) };
  headers["content-length"] = String(Buffer.byteLength(body));
  for (const [name, value] of Object.entries(call.headers ?? {})) {
    if (value === undefined) delete headers[name];
    else headers[name] = value;
  }
  return new Promise((resolve, reject) => {
    const secure = url.protocol === "https:";
    const options = {
      method: "POST",
      host: url.hostname,
      port: url.port,
      path,
      headers: headers as Record<string, string>,
      agent: call.agent ?? false,
      ...(secure ? { ca: gateway.ca, servername: call.servername ?? "localhost", ...call.tls } : {}),
    };
    const request = (secure ? httpsRequest : httpRequest)(options, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part) => parts.push(part));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(parts).toString();
        let json: { Response?: { Error?: { Code?: string } } } | undefined;
        try {
          json = JSON.parse(text);
        } catch {}
        const code = json?.Response?.Error?.Code;
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json, code });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}
