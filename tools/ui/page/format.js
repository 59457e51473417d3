/** @import { Bytes, Entry, Fault, RequestView } from "./types.js" */

const two = (/** @type {number} */ value) => String(value).padStart(2, "0");

/** @param {number} ms milliseconds since 1970 @returns {string} local time with milliseconds */
export function clockTime(ms) {
  const date = new Date(ms);
  const seconds = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${seconds}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** @param {number} ms @returns {string} date and time with the offset from UTC */
export function fullTime(ms) {
  const date = new Date(ms);
  const offset = -date.getTimezoneOffset();
  const zone = `${offset < 0 ? "-" : "+"}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clockTime(ms)} ${zone}`;
}

/** @param {number} ms age in milliseconds @returns {string} */
export function ago(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 2) return "now";
  if (seconds < 100) return `${seconds} s ago`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min ago`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h ago` : `${Math.round(hours / 24)} d ago`;
}

/** @param {number} ms @returns {string} */
export function duration(ms) {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** @param {number} bytes @returns {string} */
export function size(bytes) {
  return bytes < 10_000 ? `${bytes} B` : `${(bytes / 1024).toFixed(1)} KB`;
}

/** @param {number} value @returns {string} a short text for an axis or a legend */
export function number(value) {
  if (value === 0) return "0";
  const magnitude = Math.abs(value);
  if (magnitude >= 1e6 || magnitude < 1e-4) return value.toExponential(2).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(6)));
}

/**
 * Returns the text with a sign for every invisible character: controls, marks that change the direction or have no width,
 * and spaces other than the usual one.
 *
 * @param {string} text
 */
export function visible(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]|(?! )\p{Zs}/gu, (character) => {
    const code = /** @type {number} */ (character.codePointAt(0));
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    return code === 0x7f ? "␡" : `\\u{${code.toString(16)}}`;
  });
}

/** As `visible`, but line feeds and tabs stay, for a block of text. @param {string} text */
export function visibleBlock(text) {
  return text
    .split("\n")
    .map((line) =>
      line
        .split("\t")
        .map((part) => visible(part))
        .join("\t"),
    )
    .join("\n");
}

/** @param {string} base64 @returns {Uint8Array<ArrayBuffer>} */
export function bytesOfBase64(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** @param {Bytes} bytes @returns {Uint8Array<ArrayBuffer>} */
export function bytesOf({ text, base64 }) {
  return base64 === undefined ? new TextEncoder().encode(text) : bytesOfBase64(base64);
}

/**
 * Lines of 16 bytes: offset, hexadecimal, ASCII.
 *
 * @param {Uint8Array} bytes
 * @param {number} [limit] of bytes
 */
export function hexDump(bytes, limit = 4096) {
  const lines = [];
  const end = Math.min(bytes.length, limit);
  for (let at = 0; at < end; at += 16) {
    const part = [...bytes.subarray(at, Math.min(at + 16, end))];
    const hex = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const ascii = part.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(4, "0")}  ${hex.padEnd(47)}  ${ascii}`);
  }
  if (bytes.length > end) lines.push(`… ${bytes.length - end} more bytes`);
  return lines.join("\n");
}

/**
 * Breaks JSON over lines without touching its tokens: numbers stay as they were sent, whatever their precision, and so do
 * the order of members, members that come twice, and escapes.
 *
 * @param {string} json valid JSON
 */
export function prettyJson(json) {
  let out = "";
  let depth = 0;
  const tokens = json.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    if (token === "{" || token === "[") {
      const inside = token === "[" ? plainList(tokens, i, depth) : undefined;
      if (inside !== undefined) {
        out += inside.text;
        i = inside.end;
      } else if (tokens[i + 1] === "}" || tokens[i + 1] === "]") {
        out += token + tokens[++i];
      } else {
        depth++;
        out += `${token}\n${indent(depth)}`;
      }
    } else if (token === "}" || token === "]") {
      depth--;
      out += `\n${indent(depth)}${token}`;
    } else if (token === ",") out += `,\n${indent(depth)}`;
    else if (token === ":") out += ": ";
    else out += token;
  }
  return out;
}

/** Deeper levels look alike, so that a payload of brackets cannot grow with the square of its size. */
const indent = (/** @type {number} */ depth) => "  ".repeat(Math.min(depth, 40));

const LINE = 42;

/**
 * A list without lists and objects, such as the columns of a batch: as many on a line as fit.
 *
 * @param {string[]} tokens
 * @param {number} start
 * @param {number} depth
 */
function plainList(tokens, start, depth) {
  const end = tokens.indexOf("]", start);
  const inside = tokens.slice(start + 1, end);
  if (inside.some((token) => token === "{" || token === "[")) return undefined;
  const items = inside.filter((token) => token !== ",");
  const whole = `[${items.join(", ")}]`;
  if (whole.length <= LINE) return { text: whole, end };
  const lines = [""];
  items.forEach((item, index) => {
    const text = index < items.length - 1 ? `${item},` : item;
    const line = lines[lines.length - 1];
    if (line !== "" && line.length + text.length >= LINE) lines.push(text);
    else lines[lines.length - 1] = line === "" ? text : `${line} ${text}`;
  });
  const inner = `\n${indent(depth + 1)}`;
  return { text: `[${inner}${lines.join(inner)}\n${indent(depth)}]`, end };
}

/** @param {string} text @returns {{ json: unknown } | undefined} */
export function parseJson(text) {
  try {
    return { json: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

/** @param {Fault} fault @returns {string} */
export function describeFault({ kind, ...rest }) {
  const values = Object.entries(rest).map(([name, value]) => {
    if (name === "ms") return `${value} ms`;
    if (name === "seconds") return `${value} s`;
    if (name === "retryAfter") return `Retry-After ${value}`;
    return String(value);
  });
  return [kind, ...values].join(" ");
}

/** @param {number} seconds @returns {string} such as `2 h ahead` */
export function describeSkew(seconds) {
  const size = Math.abs(seconds);
  const units = /** @type {const} */ ([
    [86_400, "d"],
    [3600, "h"],
    [60, "min"],
  ]);
  const [factor, unit] = units.find(([factor]) => size >= factor && size % factor === 0) ?? [1, "s"];
  return `${size / factor} ${unit} ${seconds < 0 ? "behind" : "ahead"}`;
}

/** @param {string} url @returns {string} what the request is for: publish, register, log, or its path */
export function purpose(url) {
  const path = url.split("?")[0];
  if (path.endsWith("/device/register")) return "register";
  if (path.endsWith("/device/reportlog")) return "log";
  return path;
}

/**
 * Whom a request is from and its topic: as the gateway read them, or, where it refused the request before that, as the body
 * names them.
 *
 * @param {RequestView} view
 */
export function identity({ productId, deviceName, topic, named }) {
  return {
    productId: productId ?? named?.productId,
    deviceName: deviceName ?? named?.deviceName,
    topic: topic ?? named?.topic,
  };
}

/** A short text for the list. @param {Entry} entry @returns {{ what: string, text: string }} */
export function summary({ type, view }) {
  if (type === "tlsError") return { what: "TLS handshake failed", text: view.reason ?? view.code };
  if (type === "dropped") return { what: "connection dropped", text: view.reason };
  if (type === "fault") return { what: "faults changed", text: describeState(view) };
  const { payload, messages, url } = view;
  const { topic, productId, deviceName } = identity(view);
  const prefix = `${productId}/${deviceName}/`;
  const what = topic === undefined ? purpose(url) : topic.startsWith(prefix) ? topic.slice(prefix.length) : topic;
  let text = "";
  if (payload?.text !== undefined) text = payload.text;
  else if (payload !== undefined) text = `${payload.bytes} bytes, binary`;
  else if (messages !== undefined) text = messages.join(" ⏎ ");
  else if (view.registrationState !== undefined) text = view.registrationState === 0 ? "new device" : "known device";
  else if (view.error !== undefined) text = view.diagnosis?.message ?? view.error.message;
  return { what, text };
}

/** @param {{ always: Fault | null, pending: number, offline: string | false, clockSkewSeconds: number }} state */
export function describeState({ always, pending, offline, clockSkewSeconds }) {
  const parts = [];
  if (offline !== false)
    parts.push(offline === "hang" ? "offline: connections hang" : "offline: connections are reset");
  if (always !== null) parts.push(describeFault(always));
  if (pending > 0) parts.push(`${pending} queued`);
  if (clockSkewSeconds !== 0) parts.push(`clock ${describeSkew(clockSkewSeconds)}`);
  return parts.join(" · ") || "none";
}
