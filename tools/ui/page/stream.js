/**
 * The stream of events. One connection a page, and none while the page is hidden: a browser opens at most six to a host
 * for all of its tabs, and a seventh tab would wait for ever.
 */

const HIDDEN_MS = 5000;
const MAX_RETRY_MS = 15_000;

/**
 * @typedef {object} Listener
 * @property {() => void} onReset what was received before is of another run of the gateway, or comes again
 * @property {(type: string, value: any) => void} onEvent
 * @property {(state: "connecting" | "live" | "lost" | "denied") => void} onState
 */

export class Stream {
  /** @type {EventSource | undefined} */
  #source;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #lastId = "";
  #retryMs = 1000;
  /** @type {Listener} */
  #listener;

  /** @param {Listener} listener */
  constructor(listener) {
    this.#listener = listener;
    document.addEventListener("visibilitychange", () => this.#visibilityChanged());
    // A page that the browser keeps for the back button must not hold a connection.
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", () => this.#open());
    if (document.visibilityState !== "hidden") this.#open();
  }

  /** Begins anew, with all that the gateway keeps. */
  restart() {
    this.#lastId = "";
    this.#close();
    this.#open();
  }

  #visibilityChanged() {
    clearTimeout(this.#timer);
    if (document.visibilityState === "hidden") this.#timer = setTimeout(() => this.#close(), HIDDEN_MS);
    else this.#open();
  }

  #close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = undefined;
  }

  #open() {
    if (this.#source !== undefined) return;
    const { onEvent, onReset, onState } = this.#listener;
    onState("connecting");
    const source = new EventSource(`/_/events${this.#lastId === "" ? "" : `?after=${this.#lastId}`}`);
    this.#source = source;
    const on = (/** @type {string} */ type, /** @type {(value: any) => void} */ action) => {
      source.addEventListener(type, (event) => {
        if (source !== this.#source) return;
        if (event.lastEventId !== "") this.#lastId = event.lastEventId;
        action(JSON.parse(event.data));
      });
    };
    on("hello", ({ resumed }) => {
      this.#retryMs = 1000;
      if (!resumed) onReset();
      onState("live");
    });
    for (const type of ["request", "tlsError", "dropped", "fault", "gap", "counts", "faults", "devices"]) {
      on(type, (value) => onEvent(type, value));
    }
    source.onerror = () => {
      if (source !== this.#source) return;
      // The browser tries again by itself after a lost connection, and never after an error status.
      if (source.readyState === EventSource.CONNECTING) {
        onState("lost");
        return;
      }
      this.#close();
      onState("lost");
      void this.#askWhy();
      this.#timer = setTimeout(() => this.#open(), this.#retryMs);
      this.#retryMs = Math.min(this.#retryMs * 2, MAX_RETRY_MS);
    };
  }

  async #askWhy() {
    try {
      const { status } = await fetch("/_/counts");
      if (status === 401) this.#listener.onState("denied");
    } catch {
      // Not reachable; it is tried again.
    }
  }
}
