/** Makes texts to copy from a request: for a shell, and as a test. */

/** @import { Bytes, RequestDetail } from "./types.js" */

import { bytesOf, identity } from "./format.js";

/** A terminal that reads whole lines takes at most 4096 bytes of one. */
const MAX_LINE_BYTES = 2000;
const BASE64_LINE = 76;

/**
 * Quotes a text for a POSIX shell. What is not printable ASCII goes through `printf`: pasted as it is, a control character
 * would do something in the terminal instead of arriving in the command. Neither a header nor a URL ends with a line feed,
 * which the shell would take off.
 *
 * @param {string} text
 * @param {"utf8" | "latin1"} [encoding] `latin1` for what came in a header or a request line, where a character is a byte
 */
export function quote(text, encoding = "utf8") {
  if (/^[\x20-\x7e]*$/.test(text)) return `'${text.replaceAll("'", "'\\''")}'`;
  const bytes =
    encoding === "latin1"
      ? [...text].map((character) => character.charCodeAt(0) & 0xff)
      : new TextEncoder().encode(text);
  let format = "";
  for (const byte of bytes) {
    const character = String.fromCharCode(byte);
    if (character === "%") format += "%%";
    else if (character === "\\" || character === "'" || byte < 0x20 || byte > 0x7e) {
      format += `\\${byte.toString(8).padStart(3, "0")}`;
    } else format += character;
  }
  return `"$(printf '${format}')"`;
}

/** Headers that curl makes itself, or that say something about the connection. */
const OWN_HEADERS = new Set(["host", "content-length", "connection", "transfer-encoding", "keep-alive", "expect"]);

/**
 * The request as a curl command that sends the same bytes. The gateway has its nonce already, so it refuses the copy as a
 * replay.
 *
 * @param {RequestDetail} request
 * @param {string} gatewayUrl
 */
export function curlCommand({ method, url, headers, body }, gatewayUrl) {
  const { protocol, host } = new URL(gatewayUrl);
  const isPath = url.startsWith("/");
  const lines = [`curl -sS -g --path-as-is -X ${quote(method)} ${quote(gatewayUrl + (isPath ? url : "/"), "latin1")}`];
  if (!isPath) lines.push(`--request-target ${quote(url, "latin1")}`);
  if (protocol === "https:") lines.push("--cacert ca.pem");
  if (headers.host !== undefined && headers.host !== host) lines.push(`-H ${quote(`Host: ${headers.host}`, "latin1")}`);
  for (const [name, value] of Object.entries(headers)) {
    if (OWN_HEADERS.has(name)) continue;
    lines.push(`-H ${quote(value === "" ? `${name};` : `${name}: ${value}`, "latin1")}`);
  }
  // What curl would add by itself.
  for (const name of ["accept", "user-agent", "content-type"]) {
    if (headers[name] === undefined) lines.push(`-H '${name}:'`);
  }
  const { option, before, document } = bodyOf(body);
  if (option !== undefined) lines.push(option);
  return `${before}${lines.join(" \\\n  ")}${document}`;
}

/**
 * A body for curl. A here-document ends with a line feed, which the body may not have, so that `tr` takes it off; what
 * could not be pasted into a terminal is Base64.
 *
 * @param {Bytes} body
 * @returns {{ option?: string, before: string, document: string }}
 */
function bodyOf(body) {
  if (body.bytes === 0) return { option: "--data-binary ''", before: "", document: "" };
  const option = "--data-binary @-";
  if (isPlainLine(body.text)) {
    const document = hereDocument(body.text);
    return { option, before: `tr -d '\\n' ${document.begin} | `, document: document.rest };
  }
  const document = hereDocument(base64Lines(bytesOf(body)));
  return { option, before: `base64 -d ${document.begin} | `, document: document.rest };
}

/** @param {string | undefined} text @returns {text is string} */
function isPlainLine(text) {
  if (text === undefined || new TextEncoder().encode(text).length > MAX_LINE_BYTES) return false;
  // Unassigned characters may become anything in the next version of Unicode.
  return !/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u.test(text);
}

/** @param {string} text whole lines, without the last line feed */
function hereDocument(text) {
  const lines = new Set(text.split("\n"));
  let mark = "BODY";
  for (let i = 1; lines.has(mark); i++) mark = `BODY${i}`;
  return { begin: `<<'${mark}'`, rest: `\n${text}\n${mark}\n` };
}

/** @param {Uint8Array} bytes */
function base64Lines(bytes) {
  const base64 = base64Of(bytes);
  return (base64.match(new RegExp(`.{1,${BASE64_LINE}}`, "g")) ?? []).join("\n");
}

/** @param {Uint8Array} bytes */
function base64Of(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

/**
 * A command that signs the body anew and prints a curl command, which the gateway accepts.
 *
 * @param {RequestDetail} request
 * @param {string} gatewayUrl
 * @returns {string}
 */
export function signCommand(request, gatewayUrl) {
  const { url, headers, body, algorithm } = request;
  const path = url.startsWith("/") ? url.split("?")[0] : new URL(url, gatewayUrl).pathname;
  const name = identity(request).deviceName ?? "device";
  const { host, protocol } = new URL(gatewayUrl);
  const target = `${protocol}//${headers.host ?? host}${path}`;
  const words = ["tencent-iothub sign", `--url ${quote(target, "latin1")}`];
  if (algorithm === "rsa-sha256") words.push(`--key-file ${quote(`${name}.key`)}`);
  else {
    if (algorithm !== undefined && algorithm !== "hmacsha256") words.push(`--algorithm ${quote(algorithm)}`);
    words.push(
      path.endsWith("/register") ? "--product-secret-file product.secret" : `--psk-file ${quote(`${name}.psk`)}`,
    );
  }
  const option = "--curl";
  if (body.bytes === 0) return [...words, option, "--body ''"].join(" \\\n  ");
  if (isPlainLine(body.text)) return [...words, option, `--body ${quotePlain(body.text)}`].join(" \\\n  ");
  const document = hereDocument(base64Lines(bytesOf(body)));
  const sign = [...words, option, "--body-file body.json"].join(" \\\n  ");
  return `base64 -d > body.json ${document.begin} &&${document.rest}${sign}`;
}

/** A line that `isPlainLine` takes can be pasted, in any script. @param {string} text */
const quotePlain = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A string of JavaScript; what cannot be seen is escaped. @param {string} text */
function literal(text) {
  return JSON.stringify(text).replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, (character) =>
    [...Array(character.length).keys()]
      .map((index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, "0")}`)
      .join(""),
  );
}

/**
 * A test for `node --test`: the same request, to a gateway with the clock of that moment, has the same result. It needs the
 * key in an environment variable, as the page does not know it.
 *
 * @param {RequestDetail} request
 * @returns {string}
 */
export function testCode(request) {
  const { method, url, headers, body, receivedAtMs, error, fault, status } = request;
  const { productId, deviceName = "", topic } = identity(request);
  const isRegistration = url.split("?")[0].endsWith("/device/register");
  const isRsa = request.algorithm === "rsa-sha256";
  const variable = isRegistration
    ? "TENCENT_IOTHUB_PRODUCT_SECRET"
    : isRsa
      ? "TENCENT_IOTHUB_PUBLIC_KEY"
      : "TENCENT_IOTHUB_PSK";
  const credential = isRsa && !isRegistration ? "{ publicKey: key }" : "{ psk: key }";
  const product = isRegistration
    ? "{ productSecret: key, registration: { open: true } }"
    : `{ devices: { ${literal(deviceName)}: ${credential} } }`;
  const sent = Object.entries(headers).filter(([name]) => name.startsWith("x-tc-") || name === "content-type");
  const bodyText =
    body.text === undefined
      ? `Buffer.from(${literal(base64Of(bytesOf(body)))}, "base64")`
      : `Buffer.from(${literal(body.text)})`;
  const signedHost = (headers.host ?? "").replace(/:\d*$/, "").toLowerCase();
  const path = url.startsWith("/") ? url : "/device/publish";
  const isReplay = error?.code === "AuthFailure.NonceReused";
  const title = `${deviceName || "device"}: ${topic ?? path} ${error === undefined ? "is accepted" : `is refused: ${error.code}`}`;
  const lines = [
    'import assert from "node:assert/strict";',
    'import { request } from "node:http";',
    'import { test } from "node:test";',
    'import { startGateway } from "tencent-iothub-cli/gateway";',
    "",
    `// Run it with ${variable} set.`,
    `test(${literal(title)}, async () => {`,
    `  const key = process.env.${variable};`,
    `  assert.ok(key, "${variable} is not set");`,
    "  const gateway = await startGateway({",
    `    now: () => ${receivedAtMs},`,
    `    signedHost: ${literal(signedHost)},`,
    `    devices: { products: {${productId === undefined ? "" : ` ${literal(productId)}: ${product} `}} },`,
    "  });",
    "  try {",
    ...(fault === undefined ? [] : [`    gateway.faults.next(${literalOf(fault)});`]),
    ...(isReplay ? ["    await send(gateway.port);"] : []),
    ...(fault !== undefined && status === undefined
      ? ["    await assert.rejects(send(gateway.port));"]
      : [
          "    const { status, body } = await send(gateway.port);",
          `    assert.equal(status, ${status ?? 200});`,
          ...(fault === undefined
            ? [
                `    assert.equal(JSON.parse(body).Response.Error?.Code, ${error === undefined ? "undefined" : literal(error.code)});`,
              ]
            : []),
        ]),
    ...(error === undefined && request.topic !== undefined && fault === undefined
      ? [`    assert.equal(gateway.received[0].topic, ${literal(request.topic)});`]
      : []),
    "  } finally {",
    "    await gateway.close();",
    "  }",
    "});",
    "",
    "function send(port) {",
    "  const options = {",
    "    port,",
    '    host: "127.0.0.1",',
    `    method: ${literal(method)},`,
    `    path: ${literal(path)},`,
    "    timeout: 30_000,",
    "    headers: {",
    ...sent.map(([name, value]) => `      ${literal(name)}: ${literal(value)},`),
    "    },",
    "  };",
    `  const payload = ${bodyText};`,
    "  return new Promise((resolve, reject) => {",
    "    const sent = request(options, (response) => {",
    '      let body = "";',
    '      response.setEncoding("utf8").on("data", (part) => (body += part)).on("error", reject);',
    '      response.on("end", () => resolve({ status: response.statusCode, body }));',
    "    });",
    '    sent.on("timeout", () => sent.destroy(new Error("no response"))).on("error", reject).end(payload);',
    "  });",
    "}",
    "",
  ];
  return lines.join("\n");
}

/** @param {object} value of plain members */
function literalOf(value) {
  const members = Object.entries(value).map(
    ([name, member]) => `${literal(name)}: ${typeof member === "string" ? literal(member) : String(member)}`,
  );
  return `{ ${members.join(", ")} }`;
}
