/**
 * Servers of raw sockets that send responses which are not the request's own: earlier ones again, and some that nobody
 * asked for. On any host that runs under Node, no message may count as delivered that the server has not taken.
 */

import net from "node:net";
import tls from "node:tls";
import { expect, test } from "@jest/globals";
import { createMemoryStorage, Device, type DeviceOptions, type IotHubError } from "../../src/index.js";
import { type CertificateSet, makeCertificates } from "../../tools/gateway/index.js";
import { psk } from "../support/keys.js";
import { httpResponse } from "../support/servers.js";
import type { HostUnderTest } from "./matrix.js";

/** What the server does with one request. */
export type Deed =
  /** Takes it, and responds. */
  | { readonly does: "take" }
  /** Rejects it by a code that speaks of the message. */
  | { readonly does: "reject" }
  /** Sends the response of so many requests ago, at the request's first byte, and closes: the rest is never read. */
  | { readonly does: "repeat and cut"; readonly ago: number }
  /** Reads it, does not take it, and sends the response of so many requests ago. */
  | { readonly does: "repeat"; readonly ago: number }
  /**
   * Takes it, responds, and sends more: the same response again, or another one. The request that follows on the
   * connection is not read: what it would get as its response has been sent already.
   */
  | { readonly does: "take and add"; readonly what: "the same" | "another" | "no HTTP"; readonly afterMs: number }
  /** Takes it and responds; a while later sends a 408 and closes, as servers do with idle connections. */
  | { readonly does: "take and time out" };

export interface OwnResponseCase {
  readonly name: string;
  /** What the server does with the request of that number, from 0, counted over all connections. */
  readonly deed: (n: number) => Deed;
  readonly messages: number;
  /** True: each message is sent once the connection is closed on which the server has added something. */
  readonly unhurried?: boolean;
  /** Requests that it may take at most, and new connections after the first. */
  readonly requests: number;
  readonly connections: number;
  /** Why new connections were asked for, by the device's events. */
  readonly reasons: readonly string[];
  /** Numbers of the messages that the server rejects. */
  readonly rejected?: readonly number[];
}

const take: Deed = { does: "take" };
const once =
  (at: number, deed: Deed) =>
  (n: number): Deed =>
    n === at ? deed : take;

export const ownResponseCases: readonly OwnResponseCase[] = [
  ...[1, 2, 8].flatMap((ago): OwnResponseCase[] => [
    {
      name: `the response of ${ago} ago at the first byte of a request that is cut`,
      deed: once(10, { does: "repeat and cut", ago }),
      messages: 14,
      // After it, each of the others has a new connection.
      requests: 15,
      connections: 4,
      reasons: ["repeated"],
    },
    {
      name: `the response of ${ago} ago after the whole request`,
      deed: once(10, { does: "repeat", ago }),
      messages: 14,
      requests: 15,
      connections: 4,
      reasons: ["repeated"],
    },
  ]),
  {
    name: "the first response again for the second request",
    deed: once(1, { does: "repeat", ago: 1 }),
    messages: 3,
    requests: 4,
    connections: 2,
    reasons: ["repeated"],
  },
  {
    name: "a rejection again for the next request",
    deed: (n) => (n === 3 ? { does: "reject" } : n === 4 ? { does: "repeat", ago: 1 } : take),
    messages: 8,
    requests: 9,
    connections: 4,
    reasons: ["repeated"],
    rejected: [3],
  },
  {
    name: "the first rejection again for the second request, cut at its first byte",
    deed: (n) => (n === 0 ? { does: "reject" } : n === 1 ? { does: "repeat and cut", ago: 1 } : take),
    messages: 3,
    requests: 4,
    connections: 2,
    reasons: ["repeated"],
    rejected: [0],
  },
  ...(["the same", "another", "no HTTP"] as const).flatMap((what): OwnResponseCase[] => [
    {
      name: `${what} behind a response, in the same segment`,
      deed: once(2, { does: "take and add", what, afterMs: 0 }),
      messages: 6,
      requests: 6,
      connections: 3,
      reasons: ["surplus"],
    },
    {
      name: `${what} behind each response, in the same segment`,
      deed: () => ({ does: "take and add", what, afterMs: 0 }),
      messages: 6,
      requests: 6,
      connections: 5,
      reasons: ["surplus"],
    },
    ...[1, 5].flatMap((afterMs): OwnResponseCase[] => [
      {
        name: `${what} behind a response, ${afterMs} ms later and before the next request`,
        deed: once(2, { does: "take and add", what, afterMs }),
        messages: 6,
        unhurried: true,
        requests: 6,
        connections: 3,
        reasons: ["surplus"],
      },
      {
        name: `${what} behind each response, ${afterMs} ms later and before the next request`,
        deed: () => ({ does: "take and add", what, afterMs }),
        messages: 6,
        unhurried: true,
        requests: 6,
        connections: 5,
        reasons: ["surplus"],
      },
    ]),
  ]),
  ...[1, 5].map(
    (afterMs): OwnResponseCase => ({
      // Bytes that arrive after the next request was written can be recognized only by their RequestId.
      name: `the same behind each response, ${afterMs} ms later, whenever the next request comes`,
      deed: () => ({ does: "take and add", what: "the same", afterMs }),
      messages: 20,
      requests: 24,
      connections: 23,
      reasons: ["surplus or repeated"],
    }),
  ),
  {
    name: "a 408 on the idle connection, which is then closed",
    deed: once(2, { does: "take and time out" }),
    messages: 6,
    unhurried: true,
    requests: 6,
    connections: 1,
    reasons: [],
  },
  {
    name: "the same id in every response",
    // Its responses are those of requests that it has read, and takes all the same.
    deed: (n) => (n === 0 ? take : { does: "take and add", what: "the same", afterMs: -1 }),
    messages: 12,
    requests: 13,
    connections: 1,
    reasons: [],
  },
];

export interface OwnResponseOutcome {
  /** Messages that counted as delivered when the server had not taken them, or as rejected when it had not said so. */
  readonly wrong: readonly string[];
  readonly requests: number;
  /** New connections after the first. */
  readonly connections: number;
  readonly reasons: readonly string[];
}

/** Publishes one message after another through a host. */
export async function runOwnResponses(
  { deed, messages, unhurried, rejected = [] }: OwnResponseCase,
  scheme: "http" | "https",
  host: HostUnderTest,
  certificates: CertificateSet,
): Promise<OwnResponseOutcome> {
  const server = await startServer(deed, scheme === "https" ? certificates : undefined);
  const created = host.create(certificates);
  const reasons: string[] = [];
  const options: DeviceOptions = {
    productId: "P",
    deviceName: "D",
    credential: { secret: psk },
    url: `${scheme}://127.0.0.1:${server.port}`,
    rateLimit: false,
    // What the requests should need are no retries.
    retry: { maxAttempts: 5, baseDelayMs: 1 },
    timeoutMs: 60_000,
    onEvent: (event) => event.type === "new-connections" && reasons.push(event.reason),
  };
  const device = new Device(options, { ...created, storage: createMemoryStorage() });
  const wrong: string[] = [];
  try {
    for (let n = 0; n < messages; n++) {
      const payload = `message ${n}`;
      try {
        await device.publish({ topic: "data", payload });
        if (!server.taken.includes(payload)) wrong.push(`${payload} counts as delivered and was not taken`);
      } catch (error) {
        const { gatewayCode, code } = error as IotHubError & { gatewayCode?: string };
        if (gatewayCode !== REJECTION || !rejected.includes(n)) wrong.push(`${payload} failed: ${gatewayCode ?? code}`);
      }
      if (unhurried) await server.added();
    }
    return { wrong, requests: server.requests, connections: server.connections - 1, reasons };
  } finally {
    device.close();
    created.http.close();
    await server.close();
  }
}

/** Runs all cases on a host, as tests. */
export function testOwnResponses(host: HostUnderTest): void {
  const certificates = makeCertificates("chain");
  for (const scheme of host.schemes) {
    test.each(ownResponseCases.map((one) => [one.name, one] as const))(
      `${host.name} over ${scheme}: %s`,
      async (_name, one) => {
        const { wrong, requests, connections, reasons } = await runOwnResponses(one, scheme, host, certificates);
        expect(wrong).toEqual([]);
        expect(requests).toBeLessThanOrEqual(one.requests);
        expect(connections).toBeLessThanOrEqual(one.connections);
        if (one.reasons[0] === "surplus or repeated") expect(reasons).toHaveLength(1);
        else expect(reasons).toEqual(one.reasons);
      },
    );
  }
}

const REJECTION = "InvalidParameterValue.PayloadOverLimit";
const TIMEOUT = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

interface RawGateway {
  readonly port: number;
  /** Payloads of the messages that it took. */
  readonly taken: readonly string[];
  /** Requests of which a byte came. */
  readonly requests: number;
  readonly connections: number;
  /** Resolves when each connection is closed on which something is added to a response. */
  added(): Promise<void>;
  close(): Promise<void>;
}

async function startServer(
  deed: OwnResponseCase["deed"],
  certificates: CertificateSet | undefined,
): Promise<RawGateway> {
  const sockets = new Set<net.Socket>();
  const taken: string[] = [];
  /** By the number of the request. */
  const responses: string[] = [];
  const pending = new Set<Promise<void>>();
  let requests = 0;
  let connections = 0;

  /** Resolves when the bytes have been handed to the system. */
  const write = (socket: net.Socket, text: string) =>
    new Promise<void>((resolve) => {
      if (socket.destroyed) resolve();
      else socket.write(text, () => resolve());
    });

  const onConnection = (socket: net.Socket) => {
    connections++;
    sockets.add(socket);
    // Else the system would keep what is added until the client has confirmed the response.
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    let text = "";
    /** Number of the request that is being read. */
    let current: number | undefined;
    let isOver = false;
    socket.on("data", (chunk: Buffer) => {
      if (isOver) return;
      text += chunk.toString("latin1");
      current ??= requests++;
      const does = deed(current);
      if (does.does === "repeat and cut") {
        isOver = true;
        responses[current] = responses[current - does.ago];
        write(socket, responses[current]).then(() => socket.destroySoon());
        return;
      }
      const head = text.indexOf("\r\n\r\n");
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (head < 0 || text.length < head + 4 + length) return;
      const body = text.slice(head + 4, head + 4 + length);
      text = text.slice(head + 4 + length);
      const n = current;
      current = undefined;
      respond(socket, n, does, JSON.parse(body).Payload, () => {
        isOver = true;
      });
    });
  };

  const respond = (socket: net.Socket, n: number, does: Deed, payload: string, stop: () => void) => {
    const own = (content: object = {}) =>
      httpResponse(JSON.stringify({ Response: { ...content, RequestId: `request-${n}` } }));
    if (does.does === "repeat") responses[n] = responses[n - (does as { ago: number }).ago];
    else if (does.does === "reject") responses[n] = own({ Error: { Code: REJECTION, Message: "no" } });
    else {
      taken.push(payload);
      responses[n] = own();
    }
    if (does.does === "take and add" && does.afterMs < 0) responses[n] = responses[0];
    if (does.does === "take and add" && does.afterMs >= 0) {
      const another = httpResponse(`{"Response":{"RequestId":"another-${n}"}}`);
      const added = does.what === "the same" ? responses[n] : does.what === "another" ? another : "\0not HTTP\r\n\r\n";
      stop();
      if (does.afterMs === 0) {
        write(socket, responses[n] + added);
        return;
      }
      write(socket, responses[n]);
      later(socket, does.afterMs, () => write(socket, added));
      return;
    }
    write(socket, responses[n]);
    if (does.does === "take and time out") {
      later(socket, 5, () => write(socket, TIMEOUT).then(() => void socket.end()));
    }
  };

  const later = (socket: net.Socket, ms: number, send: () => Promise<void>) => {
    const done = new Promise<void>((resolve) => {
      socket.on("close", () => resolve());
      setTimeout(send, ms);
    });
    pending.add(done);
    done.then(() => pending.delete(done));
  };

  const server =
    certificates === undefined
      ? net.createServer(onConnection)
      : tls.createServer({ key: certificates.key, cert: certificates.chain }, onConnection);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    taken,
    get requests() {
      return requests;
    },
    get connections() {
      return connections;
    },
    added: async () => {
      await Promise.all(pending);
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
