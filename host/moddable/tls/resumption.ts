/** What is needed to resume a session: RFC 5246 section 7.3, RFC 7627 section 5.3. */
export interface KeptSession {
  readonly id: Uint8Array;
  /** The master secret. */
  readonly secret: Uint8Array;
  readonly suite: number;
  /** Whether its secret is bound to its handshake: it is resumed only by a handshake that is so as well. */
  readonly isExtended: boolean;
}

/** A session is not resumed after this; RFC 5246 section F.1.4 suggests a day at most. */
const RESUMPTION_MS = 86400000;

/** The session to resume with one origin, for as long as the same is trusted. */
export class Resumption {
  readonly #nowMs: () => number;
  #session: KeptSession | undefined;
  #sinceMs = 0;

  /** @param nowMs milliseconds of a clock that is never set */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** The session to offer. */
  get offer(): KeptSession | undefined {
    if (this.#session && this.#nowMs() - this.#sinceMs >= RESUMPTION_MS) this.#session = undefined;
    return this.#session;
  }

  /** Keeps what a full handshake has agreed on; undefined if the server keeps no session. */
  keep(session: KeptSession | undefined): void {
    this.#session = session;
    this.#sinceMs = this.#nowMs();
  }

  /** Whatever went wrong, the next handshake is a full one. */
  clear(): void {
    this.#session = undefined;
  }
}
