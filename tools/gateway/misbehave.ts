import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { type Connection, reset } from "./connections.js";
import type { Fault } from "./faults.js";
import type { ResponseContent } from "./responses.js";

/** A response to be sent. */
export interface Delivery {
  readonly response: ServerResponse;
  readonly connection: Connection;
  readonly content: ResponseContent;
  /** Value of the Date header. */
  readonly date: string;
  /** Body of the previous response. */
  readonly earlier: string;
  /** Runs an action after a delay, unless the gateway is closed before. */
  readonly later: (ms: number, action: () => void) => void;
  /** Called with the status before the headers are sent, so that it is recorded when a client has the response. */
  readonly onHead: (status: number) => void;
}

const resetDelayMs = 10;
const json = "application/json; charset=utf-8";

/** Sends a correct response. */
export function sendResponse(delivery: Delivery, more: Record<string, string> = {}): void {
  send(delivery, delivery.content.status, Buffer.from(delivery.content.body), more);
}

/**
 * Sends the response with a fault. Connection and read faults are handled earlier.
 *
 * A response has no socket until the previous one on the same connection has finished. Over TLS, this is often after
 * the client's next request: the client may have read all bytes before the server's write callback. So a missing socket
 * means "not yet", never "closed".
 */
export function sendFaultyResponse(delivery: Delivery, fault: Fault): void {
  const { response } = delivery;
  if (response.socket === null) response.once("socket", (socket: Socket) => misbehave(delivery, fault, socket));
  else misbehave(delivery, fault, response.socket);
}

function misbehave(delivery: Delivery, fault: Fault, socket: Socket): void {
  const { response, connection, content, later } = delivery;
  if (socket.destroyed) return;
  const body = Buffer.from(content.body);
  const half = body.subarray(0, Math.floor(body.length / 2));
  switch (fault.kind) {
    case "delay":
      if (fault.phase !== "body") {
        later(fault.ms, () => sendResponse(delivery));
        return;
      }
      head(delivery, content.status, body.length);
      response.flushHeaders();
      later(fault.ms, () => response.end(body));
      return;
    case "hang":
      if (fault.phase !== "body") return;
      head(delivery, content.status, body.length);
      response.flushHeaders();
      return;
    case "reset":
      if (fault.phase === "headers") {
        reset(connection);
        return;
      }
      head(delivery, content.status, body.length);
      // Delayed: many clients report RST as a normal end while they still have bytes to read.
      response.write(half, () => later(resetDelayMs, () => setImmediate(() => reset(connection))));
      return;
    case "close":
      if (fault.phase === "headers") {
        socket.destroySoon();
        return;
      }
      head(delivery, content.status, body.length);
      response.write(half, () => socket.destroySoon());
      return;
    case "truncated":
      head(delivery, content.status, body.length);
      response.write(half, () => socket.destroySoon());
      return;
    case "status": {
      const retryAfter: Record<string, string> =
        fault.retryAfter === undefined ? {} : { "retry-after": String(fault.retryAfter) };
      send(delivery, fault.status, body, retryAfter);
      return;
    }
    case "html": {
      const page = `<html>\r\n<head><title>Bad Gateway</title></head>\r\n<body>\r\n<h1>Bad Gateway</h1>\r\n</body>\r\n</html>\r\n`;
      send(delivery, fault.status ?? 502, Buffer.from(page), { "content-type": "text/html" });
      return;
    }
    case "empty":
      send(delivery, fault.status ?? 200, Buffer.alloc(0));
      return;
    case "malformed-json":
      send(delivery, content.status, half);
      return;
    case "content-type":
      send(delivery, content.status, body, { "content-type": fault.contentType ?? "text/plain" });
      return;
    case "too-large": {
      const padding = Buffer.alloc(Math.max(0, (fault.bytes ?? 1_048_576) - body.length), " ");
      send(delivery, content.status, Buffer.concat([body, padding]));
      return;
    }
    case "slow-drip": {
      const { bytes: step = 1, intervalMs = 20 } = fault;
      head(delivery, content.status, body.length);
      response.flushHeaders();
      let sent = 0;
      const drip = (): void => {
        if (socket.destroyed) return;
        response.write(body.subarray(sent, sent + step));
        sent += step;
        if (sent >= body.length) response.end();
        else later(intervalMs, drip);
      };
      later(intervalMs, drip);
      return;
    }
    case "wrong-length":
      sendWrongLength(delivery, fault.length, body, socket);
      return;
    case "bad-chunk":
      socket.write(rawHead(delivery, ["Transfer-Encoding: chunked"]));
      socket.write(`zz\r\n${content.body}\r\n0\r\n\r\n`, () => socket.destroySoon());
      return;
    case "garbage":
      socket.write(Buffer.from("\0\xff\x16not HTTP at all\r\n\r\n", "latin1"), () => socket.destroySoon());
      return;
    case "interim":
      socket.write("HTTP/1.1 103 Early Hints\r\nLink: </>; rel=preload\r\n\r\n");
      sendResponse(delivery);
      return;
    case "other-response":
      send(delivery, 200, Buffer.from(delivery.earlier));
      return;
    case "two-responses": {
      const second = Buffer.from(delivery.earlier);
      socket.cork();
      sendResponse(delivery);
      socket.write(rawHead(delivery, [`Content-Length: ${second.length}`]));
      socket.write(second);
      socket.uncork();
      return;
    }
    case "early":
      send(delivery, fault.status ?? content.status, body, fault.keepOpen ? {} : { connection: "close" });
      return;
    case "half-open":
      if (fault.afterwards === "close") {
        response.on("finish", () => socket.end());
      } else {
        connection.silent = fault.afterwards;
        // Otherwise the HTTP server would close the idle connection after its timeout.
        response.on("close", () => socket.setTimeout(0));
      }
      sendResponse(delivery);
      return;
    default:
      sendResponse(delivery);
      return;
  }
}

function sendWrongLength(
  delivery: Delivery,
  length: "less" | "more" | "negative" | "text" | "twice",
  body: Buffer,
  socket: Socket,
): void {
  const { response } = delivery;
  if (length === "less" || length === "more") {
    head(delivery, delivery.content.status, body.length + (length === "less" ? -10 : 10));
    response.end(body);
    return;
  }
  const lines = {
    negative: ["Content-Length: -1"],
    text: ["Content-Length: many"],
    twice: [`Content-Length: ${body.length}`, `Content-Length: ${body.length - 10}`],
  };
  socket.write(rawHead(delivery, lines[length]));
  socket.write(body, () => socket.destroySoon());
}

function send(delivery: Delivery, status: number, body: Buffer, more: Record<string, string> = {}): void {
  head(delivery, status, body.length, more);
  delivery.response.end(body);
}

function head(delivery: Delivery, status: number, length: number, more: Record<string, string> = {}): void {
  // A disconnected client gets nothing.
  if (!delivery.response.destroyed) delivery.onHead(status);
  delivery.response.writeHead(status, {
    date: delivery.date,
    "content-type": json,
    "content-length": length,
    ...more,
  });
}

/** Builds a response head that Node's HTTP server would refuse to write. */
function rawHead(delivery: Delivery, lines: readonly string[]): string {
  return [`HTTP/1.1 200 OK`, `Date: ${delivery.date}`, `Content-Type: ${json}`, ...lines, "", ""].join("\r\n");
}
