import Net from "net";
import Timer from "timer";
import { NetworkError } from "../../src/errors.js";
import { isNetworkStarted } from "./platform.js";

/** Exactly one of the outcomes is called, once, and never from within `resolve`. */
export interface ResolverEvents {
  /** The name is being looked up in the network. */
  onStart?(): void;
  onResolved(address: string): void;
  onFailed(error: unknown): void;
}

interface Query {
  readonly host: string;
  /** Undefined once the query is cancelled. */
  events: ResolverEvents | undefined;
}

/** Time after which the next name is looked up although there was no response; lwIP gives up after 7 seconds. */
const STUCK_MS = 10000;

/** Whether a host is an IPv4 address in dotted decimal; the SDK's sockets support no other. */
export function isAddress(host: string): boolean {
  const parts = host.split(".");
  return parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
}

/**
 * Resolves hostnames to IPv4 addresses with the network stack. The ESP32's resolver handles one name at a time and
 * cannot cancel queries: behind the names of four dead time servers, the gateway's name would wait for half a minute.
 * So names are queued here, where they can be cancelled, and looked up one at a time.
 */
export class Resolver {
  readonly #addresses: Readonly<Record<string, string>>;
  readonly #waiting: Query[] = [];
  /** The name being looked up. */
  #asking: string | undefined;
  /** Queries for that name; empty once all were cancelled. */
  #askers: Query[] = [];
  #stuck: Timer | undefined;

  /** @param addresses static IPv4 addresses by hostname, like a hosts file */
  constructor(addresses: Readonly<Record<string, string>> = {}) {
    this.#addresses = addresses;
  }

  /** Whether a host needs no lookup. */
  knows(host: string): boolean {
    return isAddress(this.#addressOf(host));
  }

  /** Resolves a host. @returns a function that cancels the query, after which no callback is called */
  resolve(host: string, events: ResolverEvents): () => void {
    const query: Query = { host, events };
    const address = this.#addressOf(host);
    if (!isNetworkStarted() || isAddress(address)) {
      const timer = Timer.set(() => {
        if (isNetworkStarted()) respond(query, address);
        else respond(query, undefined, notStarted());
      });
      return () => Timer.clear(timer);
    }
    if (this.#asking === host) {
      this.#askers.push(query);
      Timer.set(() => start(query));
    } else {
      this.#waiting.push(query);
      this.#watch();
      // From a timer, since the caller may not be ready for an immediate failure.
      if (this.#asking === undefined) Timer.set(() => this.#next());
    }
    return () => {
      query.events = undefined;
      for (const list of [this.#waiting, this.#askers]) {
        const at = list.indexOf(query);
        if (at >= 0) list.splice(at, 1);
      }
      this.#watch();
    };
  }

  #addressOf(host: string): string {
    return this.#addresses[host] ?? (host === "localhost" ? "127.0.0.1" : host);
  }

  #next(): void {
    if (this.#asking !== undefined) return;
    const first = this.#waiting[0];
    if (first === undefined) return;
    const { host } = first;
    this.#askers = this.#waiting.filter((query) => query.host === host);
    for (const query of this.#askers) this.#waiting.splice(this.#waiting.indexOf(query), 1);
    this.#asking = host;
    this.#watch();
    for (const query of [...this.#askers]) start(query);
    try {
      Net.resolve(host, (_host, address) => this.#done(host, address));
    } catch (error) {
      this.#done(host, undefined, error);
    }
  }

  /** Called from native code. */
  #done(host: string, address: string | undefined, error?: unknown): void {
    // A late response to a name given up as stuck.
    if (this.#asking !== host) return;
    const askers = this.#askers;
    this.#askers = [];
    this.#asking = undefined;
    this.#watch();
    for (const query of askers) respond(query, address, error ?? new Error("name not resolved"));
    this.#next();
  }

  /** Ensures that a name without a response does not block the others. */
  #watch(): void {
    if (this.#asking === undefined || this.#waiting.length === 0) {
      Timer.clear(this.#stuck);
      this.#stuck = undefined;
    } else {
      this.#stuck ??= Timer.set(() => {
        this.#stuck = undefined;
        // Its queries go to the end of the queue.
        this.#waiting.push(...this.#askers);
        this.#askers = [];
        this.#asking = undefined;
        this.#next();
      }, STUCK_MS);
    }
  }
}

function start({ events }: Query): void {
  try {
    events?.onStart?.();
  } catch {
    // The SDK's resolver has its own timeouts.
  }
}

/** Called from native code, where an exception would end the virtual machine. */
function respond({ events }: Query, address: string | undefined, error?: unknown): void {
  try {
    if (address) events?.onResolved(address);
    else events?.onFailed(error);
  } catch (thrown) {
    try {
      events?.onFailed(thrown);
    } catch {
      // The request's timeouts end it.
    }
  }
}

function notStarted(): NetworkError {
  return new NetworkError(
    "NETWORK_FAILED",
    "connect",
    "The network is not started: connect to Wi-Fi or Ethernet first.",
  );
}
