import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { type Connection, reset } from "./connections.js";
import type { Fault } from "./faults.js";
import type { ResponseContent } from "./responses.js";

/** A response on its way out. */
export interface Delivery {
  readonly response: ServerResponse;
  readonly connection: Connection;
  readonly content: ResponseContent;
  /** Value of the Date header. */
  readonly date: string;
  /** Body of the response before this one. */
  readonly earlier: string;
  /** Runs later unless the gateway is closed before. */
  readonly later: (ms: number, action: () => void) => void;
  /** Called with the status before the headers are sent, so that whoever has the response finds it recorded. */
  readonly onHead: (status: number) => void;
}

const resetDelayMs = 10;
const json = "application/json; charset=utf-8";

/** Sends a correct response. */
export function sendResponse(delivery: Delivery, more: Record<string, string> = {}): void {
  send(delivery, delivery.content.status, Buffer.from(delivery.content.body), more);
}

/**
 * Sends the response in the way of a fault. Faults that concern the connection or the reading are dealt with before.
 *
 * A response has no socket until the one before it on the same connection is finished. Over TLS that regularly comes
 * after the client's next request: the client may have read every byte while the server still waits for the signal that
 * they are written. So a missing socket means "not yet", never "gone".
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
      // Not at once: many clients report RST as a mere end while they still have bytes to read.
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
        // The HTTP server would close an idle connection after a while, which is a sign of life.
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
  // A client that has gone got nothing.
  if (!delivery.response.destroyed) delivery.onHead(status);
  delivery.response.writeHead(status, {
    date: delivery.date,
    "content-type": json,
    "content-length": length,
    ...more,
  });
}

/** For what an HTTP server would refuse to write. */
function rawHead(delivery: Delivery, lines: readonly string[]): string {
  return [`HTTP/1.1 200 OK`, `Date: ${delivery.date}`, `Content-Type: ${json}`, ...lines, "", ""].join("\r\n");
}
