/**
 * The stand-in for the SDK's session sends what it sent when OpenSSL took it; `npm run test:sim` has the SDK's send the
 * same. `RECORD_TLS=1` records the handshakes anew.
 */

import { createPrivateKey } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { Duplex } from "node:stream";
import { createServer, TLSSocket, type TlsOptions } from "node:tls";
import { afterAll, expect, test } from "@jest/globals";
import { removeGlobals } from "../../mocks/moddable/index.js";
import { makeCertificates, makeClientCertificate } from "../../tools/gateway/index.js";
import { type Replay, ReplayClient, replay } from "../support/tls-replay.js";

const file = new URL("../vectors/tls-replays.json", import.meta.url);

const NO_TICKET = 1 << 14;
const NO_EXTENDED_MASTER_SECRET = 1;
const RESPONSE = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
/** For the server to say all that it has to say; only where it is recorded. */
const QUIET_MS = 200;

interface Recording extends TlsOptions {
  readonly keyType?: "ecdsa" | "rsa";
  readonly fragment?: number;
  readonly resumes?: boolean;
  readonly client?: boolean;
}

const recordings: readonly (readonly [string, Recording])[] = [
  ["ECDSA, extended master secret", {}],
  ["RSA, records of 512 bytes", { keyType: "rsa", fragment: 512 }],
  ["without the extended master secret", { secureOptions: NO_TICKET | NO_EXTENDED_MASTER_SECRET }],
  ["resumed", { resumes: true }],
  [
    "resumed, without the extended master secret",
    { resumes: true, secureOptions: NO_TICKET | NO_EXTENDED_MASTER_SECRET },
  ],
  ["a ticket", { secureOptions: 0 }],
  ["resumed by a ticket", { resumes: true, secureOptions: 0 }],
  ["a client certificate", { client: true }],
  ["a client certificate that is asked for, and missing", { requestCert: true, rejectUnauthorized: false }],
];

async function recordAll(): Promise<Replay[]> {
  const replays: Replay[] = [];
  for (const [name, { keyType = "ecdsa", fragment, resumes, client, ...options }] of recordings) {
    const { key, chain, rootDer } = makeCertificates("chain", { keyType });
    const shown = client ? makeClientCertificate({ keyType: "rsa" }) : undefined;
    const sessions = new Map<string, Buffer>();
    const settings: TlsOptions = {
      key,
      cert: chain,
      maxVersion: "TLSv1.2",
      secureOptions: NO_TICKET,
      ...(shown && { requestCert: true, rejectUnauthorized: true, ca: shown.root }),
      ...options,
    };
    const server = createServer(settings);
    server.on("newSession", (id: Buffer, data: Buffer, done: () => void) => {
      sessions.set(id.toString("hex"), data);
      done();
    });
    server.on("resumeSession", (id: Buffer, done: (error: null, data: Buffer | null) => void) => {
      done(null, sessions.get(id.toString("hex")) ?? null);
    });
    server.on("tlsClientError", (error) => {
      throw error;
    });
    server.on("secureConnection", (socket: TLSSocket) => socket.on("data", () => socket.write(RESPONSE)));
    const given = {
      nowMs: Date.now(),
      anchor: rootDer.toString("hex"),
      ...(shown && {
        client: {
          chain: shown.chainDer.map((der) => der.toString("hex")),
          key: createPrivateKey(shown.key).export({ type: "pkcs8", format: "der" }).toString("hex"),
        },
      }),
    };
    let made = await recordOne(name, server, settings, given, fragment);
    if (resumes) {
      const { ticket, secret, suite, isExtended } = made.ended;
      const id = ticket ? "07".repeat(32) : made.ended.id;
      made = await recordOne(
        name,
        server,
        settings,
        { ...given, offered: { id, ticket, secret, suite, isExtended } },
        fragment,
      );
    }
    replays.push(made);
  }
  return replays;
}

async function recordOne(
  name: string,
  server: ReturnType<typeof createServer>,
  options: TlsOptions,
  given: Pick<Replay, "nowMs" | "anchor" | "offered" | "client">,
  fragment?: number,
): Promise<Replay> {
  const out: Buffer[] = [];
  const wire = new Duplex({
    read() {},
    write(chunk, _encoding, done) {
      out.push(chunk);
      done();
    },
  });
  // The server creates the socket, whose record size must be set before the handshake.
  if (fragment) {
    const socket = new TLSSocket(wire, { ...options, isServer: true });
    socket.setMaxSendFragment(fragment);
    socket.on("data", () => socket.write(RESPONSE));
  } else {
    server.emit("connection", wire);
  }
  const client = new ReplayClient(given);
  const [sent, received]: [string[], string[]] = [[], []];
  while (client.ended.data === "") {
    const bytes = client.takeSent();
    wire.push(Buffer.from(bytes, "hex"));
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    sent.push(bytes);
    const reply = Buffer.concat(out.splice(0));
    received.push(reply.toString("hex"));
    client.receive(Uint8Array.from(reply));
  }
  return { name, ...given, sent, received, ended: client.ended };
}

afterAll(removeGlobals);

if (process.env.RECORD_TLS) writeFileSync(file, `${JSON.stringify(await recordAll(), null, 1)}\n`);

const replays: readonly Replay[] = JSON.parse(readFileSync(file, "utf8"));

test("every listed handshake is recorded", () => {
  expect(replays.map(({ name }) => name)).toEqual(recordings.map(([name]) => name));
});

test.each(replays.map((each) => [each.name, each] as const))("%s", (_name, each) => {
  const { sent, ended } = replay(each);
  expect(sent).toEqual(each.sent);
  expect(ended).toEqual(each.ended);
  expect(Buffer.from(ended.data, "hex").toString()).toBe(RESPONSE);
});
