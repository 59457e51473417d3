import type { Clock, Random } from "../../../src/host.js";
import type { OriginMemory } from "../transport.js";
import type { SessionStore } from "./session-store.js";

/** Session ticket (RFC 5077). */
export interface Ticket {
  readonly bytes: Uint8Array;
  /** Lifetime announced by the server; 0 if not announced. */
  readonly lifetimeSeconds: number;
}

/** Parameters of a session that can be resumed: RFC 5246 section 7.3, RFC 7627 section 5.3. */
export interface KeptSession {
  /**
   * Session identifier, which ServerHello repeats if the session is resumed: the server's or, with a ticket, 32 random
   * bytes, new for each handshake (RFC 5077 section 3.4).
   */
  readonly id: Uint8Array;
  readonly ticket?: Ticket;
  /** Master secret. */
  readonly secret: Uint8Array;
  readonly suite: number;
  /** Whether it has an extended master secret: it can only be resumed by a handshake that negotiates the same. */
  readonly isExtended: boolean;
}

/**
 * Maximum ticket size; longer ones are ignored. Most have 150 to 250 bytes, or 1 to 2 KB if they contain a certificate.
 */
export const MAX_TICKET_BYTES = 2048;
/** Maximum age of a session in milliseconds; RFC 5246 section F.1.4 suggests a day. */
const RESUMPTION_MS = 86400000;
const ID_BYTES = 32;

/**
 * Session to resume with one origin, under unchanged trust settings: in memory and, with a store, also across restarts,
 * together with the server's address.
 */
export class Resumption implements OriginMemory {
  readonly #clock: Pick<Clock, "nowMs" | "monotonicMs">;
  readonly #origin: string;
  #store: SessionStore | undefined;
  #loading: Promise<void> | undefined;
  #session: KeptSession | undefined;
  /** Whether it was stored in an earlier run. */
  #isStored = false;
  /** Monotonic times of the full handshake that verified the certificate, and of the end set by the server. */
  #sinceMs = 0;
  #untilMs = 0;
  #notAfterMs = 0;

  /** @param store shared by all origins of a host */
  constructor(clock: Pick<Clock, "nowMs" | "monotonicMs">, origin = "", store?: SessionStore) {
    this.#clock = clock;
    this.#origin = origin;
    this.#store = store;
    this.#loading = store?.load(origin);
  }

  /** Returns the pending load once, so that a storage that never responds delays only one connection. */
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

  /** Returns the session to offer; with a ticket, with a new identifier. */
  offer(random: Random): KeptSession | undefined {
    this.#take();
    if (this.#session && this.#isOver()) this.#session = undefined;
    return this.#session?.ticket ? { ...this.#session, id: random.bytes(ID_BYTES) } : this.#session;
  }

  /**
   * Keeps the session of a full handshake.
   * @param session undefined if the server does not keep it
   * @param notAfterMs expiry of the server's certificate in milliseconds since 1970
   * @param address IPv4 address of the server
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

  /** Records that a handshake has resumed the session. A new ticket replaces the old one but not the session's end. */
  resumed(ticket: Ticket | undefined): void {
    this.#store?.resumed(this.#origin, this.#isStored);
    if (ticket === undefined) return;
    if (this.#session) this.#session = { ...this.#session, ticket };
    this.#limit(ticket);
  }

  /** Drops the session, so that the next handshake is a full one. */
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

  /** A ticket without a lifetime does not change the limit. */
  #limit({ lifetimeSeconds }: Ticket): void {
    if (lifetimeSeconds > 0) this.#untilMs = this.#clock.monotonicMs() + lifetimeSeconds * 1000;
  }
}
