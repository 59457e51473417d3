import Net from "net";
import Timer from "timer";
import { NetworkError } from "../../src/errors.js";
import { isNetworkStarted } from "./platform.js";

/** One of them is called once, never from within `resolve`. */
export interface ResolverEvents {
  /** The network is being asked: from now on it takes as long as the network does. */
  onStart?(): void;
  onResolved(address: string): void;
  onFailed(error: unknown): void;
}

interface Query {
  readonly host: string;
  /** Undefined once it is withdrawn. */
  events: ResolverEvents | undefined;
}

/** After this, another name is asked for although the network has not responded: lwIP gives up after 7 seconds. */
const STUCK_MS = 10000;

/** True of an IPv4 address in dotted decimal; the SDK's sockets know no other. */
export function isAddress(host: string): boolean {
  const parts = host.split(".");
  return parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
}

/**
 * IPv4 addresses of names, from the network stack, which asks the servers that the network announced. On ESP32 it asks for
 * one name after the other, and what was given up stays in its queue: behind the names of four dead time servers, the
 * gateway's would wait for half a minute. So names wait here, where they can be withdrawn, and one at a time is asked for.
 */
export class Resolver {
  readonly #addresses: Readonly<Record<string, string>>;
  readonly #waiting: Query[] = [];
  /** The name that the network is being asked for. */
  #asking: string | undefined;
  /** Who wants its address; empty once all have given up. */
  #askers: Query[] = [];
  #stuck: Timer | undefined;

  /** @param addresses IPv4 addresses of names that no server is asked for, as a hosts file has them */
  constructor(addresses: Readonly<Record<string, string>> = {}) {
    this.#addresses = addresses;
  }

  /** Whether no server is asked for this name. */
  knows(host: string): boolean {
    return isAddress(this.#addressOf(host));
  }

  /** @returns what withdraws the query: nothing is called back any more */
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
      // From a timer: who asks may not be ready to hear that it failed at once.
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
    // After a name that was given up as stuck, its response may still come.
    if (this.#asking !== host) return;
    const askers = this.#askers;
    this.#askers = [];
    this.#asking = undefined;
    this.#watch();
    for (const query of askers) respond(query, address, error ?? new Error("name not resolved"));
    this.#next();
  }

  /** Sees to it that a name for which no response ever comes does not hold up the others. */
  #watch(): void {
    if (this.#asking === undefined || this.#waiting.length === 0) {
      Timer.clear(this.#stuck);
      this.#stuck = undefined;
    } else {
      this.#stuck ??= Timer.set(() => {
        this.#stuck = undefined;
        // Those who asked go on waiting, at the end.
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
    // The SDK's resolver keeps its own time limits.
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
      // The limits of the request end it.
    }
  }
}

function notStarted(): NetworkError {
  return new NetworkError("NETWORK_FAILED", "connect", "The network is not started: start Wi-Fi first.");
}
