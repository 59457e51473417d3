/**
 * A recorded handshake with one request: since every random number is fixed, the bytes that the client
 * sends is the same to the byte wherever it runs. The stand-in for the SDK's session is checked by it, and the SDK's.
 */

import { Handshake } from "../../host/moddable/tls/handshake.js";
import { sdkPrimitives } from "../../host/moddable/tls/primitives.js";
import { RecordReader } from "../../host/moddable/tls/records.js";
import { TlsSession } from "../../host/moddable/tls/session.js";
import { hex, hexDecode } from "../../src/crypto/hex.js";
import { utf8 } from "../../src/crypto/utf8.js";

/** Bytes are hex. */
export interface Replay {
  readonly name: string;
  readonly nowMs: number;
  readonly anchor: string;
  readonly offered?: {
    readonly id: string;
    readonly ticket: string;
    readonly secret: string;
    readonly suite: number;
    readonly isExtended: boolean;
  };
  readonly client?: { readonly chain: readonly string[]; readonly key: string };
  /** Bytes of the server in steps: each is the reply to one of the client's. */
  readonly received: readonly string[];
  /** Bytes of the client before each of them. */
  readonly sent: readonly string[];
  readonly ended: Ended;
}

/** Result of the handshake. */
export interface Ended {
  readonly state: Handshake["state"];
  readonly suite: number;
  readonly isResumed: boolean;
  readonly isExtended: boolean;
  /** Of the session to resume: its identifier, the ticket that came, and the master secret. */
  readonly id: string;
  readonly ticket: string;
  readonly secret: string;
  /** Application data of the server. */
  readonly data: string;
}

const REQUEST = "GET / HTTP/1.1\r\n\r\n";

/** A client that gets the server's bytes from the caller. */
export class ReplayClient {
  readonly #handshake: Handshake;
  readonly #session: TlsSession;
  readonly #reader = new RecordReader();
  readonly #sink = {
    writable: 0,
    write: (record: Uint8Array) => {
      this.#sent += hex(record);
      return 2048;
    },
  };
  #sent = "";
  #data = "";
  #isRequested = false;

  constructor({ nowMs, anchor, offered, client }: Pick<Replay, "nowMs" | "anchor" | "offered" | "client">) {
    let draws = 0;
    const random = { bytes: (length: number) => new Uint8Array(length).fill(0x11 + draws++) };
    const bufferOf = (text: string) => hexDecode(text).buffer as ArrayBuffer;
    this.#handshake = new Handshake({
      host: "localhost",
      trust: { anchors: [hexDecode(anchor)], pins: [], acceptAnything: false, nowMs: () => nowMs },
      primitives: sdkPrimitives,
      clientRandom: random.bytes(32),
      offered: offered && {
        ...offered,
        id: hexDecode(offered.id),
        ticket: offered.ticket === "" ? undefined : { bytes: hexDecode(offered.ticket), lifetimeSeconds: 0 },
        secret: hexDecode(offered.secret),
      },
    });
    this.#session = new TlsSession(this.#handshake, {
      random,
      ...(client && { clientCertificates: client.chain.map(bufferOf), clientKey: bufferOf(client.key) }),
    });
    this.#session.proceed(this.#sink);
  }

  /** Returns the bytes sent since the last call. */
  takeSent(): string {
    const sent = this.#sent;
    this.#sent = "";
    return sent;
  }

  receive(bytes: Uint8Array): void {
    this.#reader.push(bytes);
    for (;;) {
      const record = this.#reader.next();
      if (record === undefined) break;
      const data = this.#session.take(record);
      this.#reader.isEncrypted = this.#handshake.isEncrypted;
      if (this.#session.isOurTurn) this.#session.proceed(this.#sink);
      if (data) this.#data += hex(data);
      if (this.#handshake.state !== "established" || this.#isRequested) continue;
      this.#isRequested = true;
      this.#session.write(this.#sink, utf8(REQUEST));
    }
  }

  get ended(): Ended {
    const { state, suite, isResumed, isExtended, ticket: came } = this.#handshake;
    const ticket = came ? hex(came.bytes) : "";
    const kept = this.#session.kept;
    const [id, secret] = kept ? [hex(kept.id), hex(kept.secret)] : ["", ""];
    return { state, suite, isResumed, isExtended, id, ticket, secret, data: this.#data };
  }
}

/** Returns the client's bytes and the result. */
export function replay(each: Replay): Pick<Replay, "sent" | "ended"> {
  const client = new ReplayClient(each);
  const sent: string[] = [];
  for (const step of each.received) {
    sent.push(client.takeSent());
    client.receive(hexDecode(step));
  }
  return { sent, ended: client.ended };
}
