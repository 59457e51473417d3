/** OpenSSL as a TLS 1.2 server that modifies the bytes of a flight, for jest and the simulator. */

import net from "node:net";
import { Duplex } from "node:stream";
import { createServer } from "node:tls";
import { makeCertificates } from "../../tools/gateway/index.js";
import { certificates, extension, join, newSessionTicket, record } from "./tls-wire.js";

const NO_EXTENDED_MASTER_SECRET = 1;

const CHANGE_CIPHER_SPEC = 20;
const ALERT = 21;
const HANDSHAKE = 22;
const APPLICATION_DATA = 23;
const SERVER_HELLO = 2;
const NEW_SESSION_TICKET = 4;
const EXTENDED_MASTER_SECRET = 23;
const SESSION_TICKET = 35;

/** Maps the records of a flight, including headers, to the segments that are sent instead. */
type Change = (flight: readonly Buffer[]) => readonly Uint8Array[];

export interface Misbehavior {
  readonly name: string;
  /** Modified flights: all, those of the first connection, or those of the second, which resumes a session. */
  readonly to: "all" | "first" | "second";
  readonly change: Change;
  readonly withoutExtendedMasterSecret?: boolean;
  /** Alert that the client sends before its own ChangeCipherSpec. */
  readonly alert?: number;
}

/** Whether OpenSSL resumed the session of each connection that it has completed, for three requests of one client. */
export function expectedResumptions({ to }: Misbehavior): readonly boolean[] {
  // A modification of the first may be detected after the request, which is then resent.
  return to === "all" ? [false, true, true] : to === "first" ? [false, false, true, true] : [false, false, true];
}

const ECDSA_SUITE = 0x2b;
const RSA_SUITE = 0x2f;

/** The extensions of a ServerHello in a separate record, changed. */
function withExtensions(flight: readonly Buffer[], change: (extensions: Uint8Array[]) => Uint8Array[]): Uint8Array[] {
  const [first, ...others] = flight;
  const at = 5 + 4 + 34 + 1 + first[43] + 3;
  const list: Uint8Array[] = [];
  for (let from = at + 2; from < first.length; ) {
    const to = from + 4 + first.readUInt16BE(from + 2);
    list.push(first.subarray(from, to));
    from = to;
  }
  const extensions = join(...change(list));
  const body = join(first.subarray(9, at), [extensions.length >> 8, extensions.length], extensions);
  return [record(HANDSHAKE, [SERVER_HELLO, 0, body.length >> 8, body.length], body), ...others];
}

const announced = (flight: readonly Buffer[]) =>
  withExtensions(flight, (list) => [...list.filter((one) => one[1] !== SESSION_TICKET), extension(SESSION_TICKET)]);

/** Puts records behind the ServerHello. */
const amid =
  (...inserted: Uint8Array[]): Change =>
  ([first, ...others]) => [join(first, ...inserted, ...others)];

const announcedAmid =
  (...inserted: Uint8Array[]): Change =>
  (flight) => {
    const [first, ...others] = announced(flight);
    return [join(first, ...inserted, ...others)];
  };

const ticket = record(HANDSHAKE, newSessionTicket(300, new Uint8Array(160).fill(7)));
const longTicket = newSessionTicket(300, new Uint8Array(160).fill(7));
longTicket[9]++;
const hugeTicket = newSessionTicket(300, new Uint8Array(16375));

const isHandshake = (one: Uint8Array) => one[0] === HANDSHAKE;

/** The same messages in records of a given size, one per segment. */
const split =
  (bytes: number): Change =>
  (flight) => {
    const cut = cutUnencrypted(flight, bytes);
    const whole = Buffer.concat(cut);
    const segments: Buffer[] = [];
    for (let at = 0; at < whole.length; at += bytes) segments.push(whole.subarray(at, at + bytes));
    return segments;
  };

/** Splits handshake records up to ChangeCipherSpec. */
function cutUnencrypted(flight: readonly Buffer[], bytes: number): Uint8Array[] {
  const end = flight.findIndex((one) => !isHandshake(one));
  const plain = Buffer.concat(flight.slice(0, end < 0 ? undefined : end).map((one) => one.subarray(5)));
  const records: Uint8Array[] = [];
  for (let at = 0; at < plain.length; at += bytes) records.push(record(HANDSHAKE, plain.subarray(at, at + bytes)));
  return [...records, ...(end < 0 ? [] : flight.slice(end))];
}

const isTicket = (one: Uint8Array) => one[0] === HANDSHAKE && one[5] === NEW_SESSION_TICKET;

export const misbehaviors: readonly Misbehavior[] = [
  { name: "messages merged into one record", to: "all", change: (flight) => [join(...cutUnencrypted(flight, 16000))] },
  { name: "records and segments of 512 bytes", to: "all", change: split(512) },
  { name: "records and segments of 100 bytes", to: "all", change: split(100) },
  {
    name: "another suite",
    to: "second",
    alert: 47,
    change: ([first, ...others]) => {
      const changed = Buffer.from(first);
      const at = 5 + 4 + 34 + 1 + first[43] + 1;
      changed[at] = first[at] === ECDSA_SUITE ? RSA_SUITE : ECDSA_SUITE;
      return [changed, ...others];
    },
  },
  {
    name: "no extended master secret any more",
    to: "second",
    alert: 40,
    change: (flight) => withExtensions(flight, (list) => list.filter((one) => one[1] !== EXTENDED_MASTER_SECRET)),
  },
  {
    name: "an extended master secret of late",
    to: "second",
    withoutExtendedMasterSecret: true,
    alert: 40,
    change: (flight) => withExtensions(flight, (list) => [...list, extension(EXTENDED_MASTER_SECRET)]),
  },
  { name: "a ticket that was not announced", to: "second", alert: 10, change: amid(ticket) },
  { name: "an announced ticket that does not come", to: "second", alert: 10, change: announced },
  { name: "a ticket twice", to: "second", alert: 10, change: announcedAmid(ticket, ticket) },
  {
    name: "a ticket after ChangeCipherSpec",
    to: "second",
    alert: 10,
    change: (flight) => {
      const [first, change, ...others] = announced(flight);
      return [join(first, change, ticket, ...others)];
    },
  },
  {
    name: "a ticket that is longer than its message",
    to: "second",
    alert: 50,
    change: announcedAmid(record(HANDSHAKE, longTicket)),
  },
  {
    name: "a ticket of 16 KB",
    to: "second",
    alert: 50,
    change: announcedAmid(
      record(HANDSHAKE, hugeTicket.subarray(0, 9000)),
      record(HANDSHAKE, hugeTicket.subarray(9000)),
    ),
  },
  {
    name: "a certificate in a resumed handshake",
    to: "second",
    alert: 10,
    change: amid(record(HANDSHAKE, certificates(new Uint8Array(100)))),
  },
  {
    name: "an echo of the identifier without the secret",
    to: "second",
    alert: 20,
    change: ([first, change]) => [join(first, change, record(HANDSHAKE, new Uint8Array(40)))],
  },
  {
    name: "data instead of ChangeCipherSpec",
    to: "second",
    alert: 10,
    change: ([first]) => [join(first, record(APPLICATION_DATA, [0]))],
  },
  {
    // The server's Finished covers its ticket, the client's does not.
    name: "a wrong Finished after False Start",
    to: "first",
    change: (flight) =>
      flight.map((one) => {
        if (!isTicket(one)) return one;
        const changed = Buffer.from(one);
        changed[one.length - 1] ^= 1;
        return changed;
      }),
  },
  {
    name: "a response before Finished",
    to: "first",
    change: (flight) =>
      flight.flatMap((one) =>
        one[0] === CHANGE_CIPHER_SPEC ? [record(APPLICATION_DATA, new Uint8Array(60)), one] : [one],
      ),
  },
];

export interface MisbehavingServer {
  readonly port: number;
  readonly rootDer: Buffer;
  readonly seen: { readonly resumed: boolean[]; readonly alerts: number[]; requests: number };
  close(): Promise<void>;
}

/** Starts it on a free port; each response ends its connection. */
export async function startMisbehaving(
  { to, change, withoutExtendedMasterSecret }: Misbehavior,
  keyType: "ecdsa" | "rsa",
): Promise<MisbehavingServer> {
  const { key, chain, rootDer } = makeCertificates("chain", { keyType });
  const seen = { resumed: [] as boolean[], alerts: [] as number[], requests: 0 };
  const secureOptions = withoutExtendedMasterSecret ? NO_EXTENDED_MASTER_SECRET : 0;
  const tls = createServer({ key, cert: chain, maxVersion: "TLSv1.2", secureOptions }, (socket) => {
    seen.resumed.push(socket.isSessionReused());
    socket.on("error", () => {});
    let request = "";
    socket.on("data", (bytes) => {
      request += bytes.toString("latin1");
      const length = Number(/content-length: (\d+)/i.exec(request)?.[1]);
      const head = request.indexOf("\r\n\r\n");
      if (head < 0 || request.length < head + 4 + length) return;
      request = "";
      const body = JSON.stringify({ Response: { RequestId: `request-${++seen.requests}` } });
      socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    });
  });
  tls.on("tlsClientError", () => {});
  let connections = 0;
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ noDelay: true }, (raw) => {
    const index = connections++;
    const isChanged = to === "all" || index === (to === "first" ? 0 : 1);
    sockets.add(raw.on("error", () => {}).on("close", () => sockets.delete(raw)));
    tls.emit("connection", wire(raw, seen.alerts, isChanged ? change : undefined));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    rootDer,
    seen,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

/** Stream for TLS instead of the socket; changes only unencrypted bytes. */
function wire(raw: net.Socket, alerts: number[], change: Change | undefined): Duplex {
  let isOver = false;
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      const flight = recordsOf(chunk);
      const isHandshakeFlight = !isOver && flight[0]?.[0] !== ALERT && flight[0]?.[0] !== APPLICATION_DATA;
      if (flight.some((one) => one[0] === CHANGE_CIPHER_SPEC)) isOver = true;
      const segments = change && isHandshakeFlight ? change(flight) : [chunk];
      for (const segment of segments) raw.write(segment);
      done();
    },
    final(done) {
      raw.end(() => done());
    },
  });
  raw.on("data", (chunk: Buffer) => {
    if (chunk.length === 7 && chunk[0] === ALERT) alerts.push(chunk[6]);
    stream.push(chunk);
  });
  raw.on("end", () => stream.push(null));
  raw.on("close", () => stream.destroy());
  return stream;
}

function recordsOf(chunk: Buffer): Buffer[] {
  const records: Buffer[] = [];
  for (let at = 0; at < chunk.length; ) {
    const end = at + 5 + chunk.readUInt16BE(at + 3);
    records.push(chunk.subarray(at, end));
    at = end;
  }
  return records;
}
