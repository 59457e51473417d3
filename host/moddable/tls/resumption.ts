import type { Clock, Random } from "../../../src/host.js";
import type { OriginMemory } from "../transport.js";
import type { SessionStore } from "./session-store.js";

/** Session ticket (RFC 5077). */
export interface Ticket {
  readonly bytes: Uint8Array;
  /** Lifetime announced by the server; 0 if not announced. */
  readonly lifetimeSeconds: number;
}

/** What is needed to resume a session: RFC 5246 section 7.3, RFC 7627 section 5.3. */
export interface KeptSession {
  /**
   * What ServerHello repeats where the session is resumed: the server's identifier or, with a ticket, 32 random bytes
   * that are drawn for each handshake (RFC 5077 section 3.4).
   */
  readonly id: Uint8Array;
  readonly ticket?: Ticket;
  /** The master secret. */
  readonly secret: Uint8Array;
  readonly suite: number;
  /** Whether its secret is bound to its handshake: it is resumed only by a handshake that is so as well. */
  readonly isExtended: boolean;
}

/** A longer ticket is not kept. Those of most servers have 150 to 250 bytes, 1 to 2 KB with a certificate in them. */
export const MAX_TICKET_BYTES = 2048;
/** A session is not resumed after this; RFC 5246 section F.1.4 suggests a day at most. */
const RESUMPTION_MS = 86400000;
const ID_BYTES = 32;

/**
 * The session to resume with one origin, for as long as the same is trusted: in memory and, with a store, for the next start
 * of the program, then with the address of its server.
 */
export class Resumption implements OriginMemory {
  readonly #clock: Pick<Clock, "nowMs" | "monotonicMs">;
  readonly #origin: string;
  #store: SessionStore | undefined;
  #loading: Promise<void> | undefined;
  #session: KeptSession | undefined;
  /** Whether an earlier start of the program has stored it. */
  #isStored = false;
  /** Of the handshake that looked at the certificate; in monotonic time, as is the server's own limit. */
  #sinceMs = 0;
  #untilMs = 0;
  #notAfterMs = 0;

  /** @param store where there is one: of all origins of a host */
  constructor(clock: Pick<Clock, "nowMs" | "monotonicMs">, origin = "", store?: SessionStore) {
    this.#clock = clock;
    this.#origin = origin;
    this.#store = store;
    this.#loading = store?.load(origin);
  }

  /** A storage that never responds is waited for once. */
  ready(): Promise<void> | undefined {
    const loading = this.#loading;
    this.#loading = undefined;
    return loading;
  }

  get address(): string | undefined {
    return this.#store?.addressOf(this.#origin);
  }

  dropAddress(): void {
    this.#store?.dropAddress(this.#origin);
  }

  /** The session to offer, with an identifier for this handshake. */
  offer(random: Random): KeptSession | undefined {
    this.#take();
    if (this.#session && this.#isOver()) this.#session = undefined;
    return this.#session?.ticket ? { ...this.#session, id: random.bytes(ID_BYTES) } : this.#session;
  }

  /**
   * Keeps what a full handshake has agreed on; undefined if the server keeps no session.
   * @param notAfterMs end of the server's certificate, in milliseconds since 1970
   * @param address of the server, in dotted decimal
   */
  keep(session: KeptSession | undefined, notAfterMs: number, address = ""): void {
    this.#session = session;
    this.#isStored = false;
    this.#sinceMs = this.#clock.monotonicMs();
    this.#notAfterMs = notAfterMs;
    this.#untilMs = Number.POSITIVE_INFINITY;
    if (session?.ticket) this.#limit(session.ticket);
    this.#store?.keep(this.#origin, session, notAfterMs, address);
  }

  /** Takes note that a handshake has resumed the session; with another ticket it still ends when it would have. */
  resumed(ticket: Ticket | undefined): void {
    this.#store?.resumed(this.#origin, this.#isStored);
    if (ticket === undefined) return;
    if (this.#session) this.#session = { ...this.#session, ticket };
    this.#limit(ticket);
  }

  /** Drops the session: the next handshake is a full one. */
  clear(): void {
    this.#session = undefined;
    this.#store?.drop(this.#origin);
  }

  forget(): void {
    this.#session = this.#store = undefined;
  }

  #take(): void {
    const stored = this.#session ? undefined : this.#store?.take(this.#origin);
    if (stored === undefined) return;
    const { session, madeSeconds, lifetimeSeconds } = stored;
    const ageMs = this.#clock.nowMs() - madeSeconds * 1000;
    this.#session = session;
    this.#isStored = true;
    this.#sinceMs = this.#clock.monotonicMs() - ageMs;
    this.#untilMs = this.#sinceMs + lifetimeSeconds * 1000;
    this.#notAfterMs = (madeSeconds + lifetimeSeconds) * 1000;
  }

  #isOver(): boolean {
    const now = this.#clock.monotonicMs();
    return now >= this.#untilMs || now >= this.#sinceMs + RESUMPTION_MS || this.#clock.nowMs() >= this.#notAfterMs;
  }

  /** A ticket that says nothing leaves the limit as it is. */
  #limit({ lifetimeSeconds }: Ticket): void {
    if (lifetimeSeconds > 0) this.#untilMs = this.#clock.monotonicMs() + lifetimeSeconds * 1000;
  }
}
