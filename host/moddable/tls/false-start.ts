/** TLS False Start (RFC 7918): sends a request together with the client's Finished, one round trip earlier. */

import type { Clock, Storage } from "../../../src/host.js";

/**
 * Storage key. Value: origins with which it failed, one per line, each after the time of the next attempt in
 * milliseconds since 1970: `1798761600000 gateway.example:443`.
 */
const KEY = "false-start";
/** Servers without support are seldom replaced, and a board that sleeps must not fail at each wake-up. */
const LIFETIME_MS = 30 * 86400000;
/** Maximum number of origins remembered. */
const MAX_ORIGINS = 4;

/** State of False Start for one origin. */
export class FalseStart {
  readonly #origin: string;
  readonly #clock: Pick<Clock, "nowMs">;
  readonly #storage: Storage | undefined;
  /** Whether the stored state has been read. */
  #isLoaded = false;
  #untilMs = 0;

  /** @param origin without spaces and line feeds */
  constructor(origin: string, clock: Pick<Clock, "nowMs">, storage: Storage | undefined) {
    this.#origin = origin;
    this.#clock = clock;
    this.#storage = storage;
    this.#load();
  }

  /** Whether a request may be sent before the server's Finished; false until the storage was read. */
  get isAllowed(): boolean {
    return this.#isLoaded && this.#clock.nowMs() >= this.#untilMs;
  }

  /** Disables False Start for 30 days, after a connection failed between the request and the server's Finished. */
  fail(): void {
    this.#untilMs = this.#clock.nowMs() + LIFETIME_MS;
    this.#save();
  }

  /** A storage that fails counts as empty. */
  async #load(): Promise<void> {
    try {
      for (const line of linesOf(await this.#storage?.get(KEY))) {
        const space = line.indexOf(" ");
        if (line.slice(space + 1) === this.#origin) this.#untilMs = Number(line.slice(0, space)) || 0;
      }
    } catch {
      // The cost is at most one more failure.
    }
    this.#isLoaded = true;
  }

  async #save(): Promise<void> {
    try {
      const lines = linesOf(await this.#storage?.get(KEY)).filter((line) => !line.endsWith(` ${this.#origin}`));
      lines.push(`${this.#untilMs} ${this.#origin}`);
      await this.#storage?.set(KEY, lines.slice(-MAX_ORIGINS).join("\n"));
    } catch {
      // Effective until the next restart.
    }
  }
}

function linesOf(text: string | undefined): string[] {
  return text ? text.split("\n") : [];
}
