import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Answer } from "./answers.js";
import { type Connection, reset } from "./connections.js";
import type { Fault } from "./faults.js";

/** An answer on its way out. */
export interface Delivery {
  readonly response: ServerResponse;
  readonly connection: Connection;
  readonly answer: Answer;
  /** Value of the Date header. */
  readonly date: string;
  /** Body of the answer before this one. */
  readonly earlier: string;
  /** Runs later unless the gateway is closed before. */
  readonly later: (ms: number, action: () => void) => void;
  /** Called with the status before the headers are sent, so that whoever has the response finds it recorded. */
  readonly onHead: (status: number) => void;
}

const resetDelayMs = 10;
const json = "application/json; charset=utf-8";

/** Sends an answer as it should be. */
export function answerWell(delivery: Delivery, more: Record<string, string> = {}): void {
  send(delivery, delivery.answer.status, Buffer.from(delivery.answer.body), more);
}

/**
 * Sends the answer in the way of a fault. Faults that concern the connection or the reading are dealt with before.
 *
 * A response has no socket until the one before it on the same connection is finished. Over TLS that regularly comes
 * after the client's next request: the client may have read every byte while the server still waits to be told that
 * they are written. So a missing socket means "not yet", never "gone".
 */
export function answerBadly(delivery: Delivery, fault: Fault): void {
  const { response } = delivery;
  if (response.socket === null) response.once("socket", (socket: Socket) => misbehave(delivery, fault, socket));
  else misbehave(delivery, fault, response.socket);
}

function misbehave(delivery: Delivery, fault: Fault, socket: Socket): void {
  const { response, connection, answer, later } = delivery;
  if (socket.destroyed) return;
  const body = Buffer.from(answer.body);
  const half = body.subarray(0, Math.floor(body.length / 2));
  switch (fault.kind) {
    case "delay":
      if (fault.phase !== "body") {
        later(fault.ms, () => answerWell(delivery));
        return;
      }
      head(delivery, answer.status, body.length);
      response.flushHeaders();
      later(fault.ms, () => response.end(body));
      return;
    case "hang":
      if (fault.phase !== "body") return;
      head(delivery, answer.status, body.length);
      response.flushHeaders();
      return;
    case "reset":
      if (fault.phase === "headers") {
        reset(connection);
        return;
      }
      head(delivery, answer.status, body.length);
      // Not at once: many clients report RST as a mere end while they still have bytes to read.
      response.write(half, () => later(resetDelayMs, () => setImmediate(() => reset(connection))));
      return;
    case "close":
      if (fault.phase === "headers") {
        socket.destroySoon();
        return;
      }
      head(delivery, answer.status, body.length);
      response.write(half, () => socket.destroySoon());
      return;
    case "truncated":
      head(delivery, answer.status, body.length);
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
      send(delivery, answer.status, half);
      return;
    case "content-type":
      send(delivery, answer.status, body, { "content-type": fault.contentType ?? "text/plain" });
      return;
    case "too-large": {
      const padding = Buffer.alloc(Math.max(0, (fault.bytes ?? 1_048_576) - body.length), " ");
      send(delivery, answer.status, Buffer.concat([body, padding]));
      return;
    }
    case "slow-drip": {
      const { bytes: step = 1, intervalMs = 20 } = fault;
      head(delivery, answer.status, body.length);
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
      answerWithWrongLength(delivery, fault.length, body, socket);
      return;
    case "bad-chunk":
      socket.write(rawHead(delivery, ["Transfer-Encoding: chunked"]));
      socket.write(`zz\r\n${answer.body}\r\n0\r\n\r\n`, () => socket.destroySoon());
      return;
    case "garbage":
      socket.write(Buffer.from("\0\xff\x16not HTTP at all\r\n\r\n", "latin1"), () => socket.destroySoon());
      return;
    case "interim":
      socket.write("HTTP/1.1 103 Early Hints\r\nLink: </>; rel=preload\r\n\r\n");
      answerWell(delivery);
      return;
    case "other-answer":
      send(delivery, 200, Buffer.from(delivery.earlier));
      return;
    case "two-answers": {
      const second = Buffer.from(delivery.earlier);
      socket.cork();
      answerWell(delivery);
      socket.write(rawHead(delivery, [`Content-Length: ${second.length}`]));
      socket.write(second);
      socket.uncork();
      return;
    }
    case "early":
      send(delivery, fault.status ?? answer.status, body, fault.keepOpen ? {} : { connection: "close" });
      return;
    case "half-open":
      if (fault.afterwards === "close") {
        response.on("finish", () => socket.end());
      } else {
        connection.silent = fault.afterwards;
        // The HTTP server would close an idle connection after a while, which is a sign of life.
        response.on("close", () => socket.setTimeout(0));
      }
      answerWell(delivery);
      return;
    default:
      answerWell(delivery);
      return;
  }
}

function answerWithWrongLength(
  delivery: Delivery,
  length: "less" | "more" | "negative" | "text" | "twice",
  body: Buffer,
  socket: Socket,
): void {
  const { response } = delivery;
  if (length === "less" || length === "more") {
    head(delivery, delivery.answer.status, body.length + (length === "less" ? -10 : 10));
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
