import Net from "net";
import Timer from "timer";
import { NetworkError } from "../../src/errors.js";
import { isNetworkStarted } from "./platform.js";

interface Query {
  readonly host: string;
  onResolved(host: string, address: string): void;
  onError(reason: unknown): void;
}

export interface ResolverOptions {
  /** Gets the resolver, so that whoever made it through the HTTP client can close it. */
  readonly onOpen?: (resolver: NameResolver) => void;
  /** IPv4 addresses of names that no server is asked for. */
  readonly addresses?: Readonly<Record<string, string>>;
}

/** True of an IPv4 address in dotted decimal; the SDK's sockets know no other. */
export function isAddress(host: string): boolean {
  const parts = host.split(".");
  return parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
}

/**
 * A resolver in the shape of ECMA-419 (`embedded:network/dns/resolver`) over the network stack's own, which asks the
 * servers that the network announced; the SDK's needs them from the program.
 */
export class NameResolver {
  /** Why the name was not resolved; undefined while that has not failed. The HTTP client passes on an empty error. */
  failure: unknown;
  #closed = false;
  readonly #options: ResolverOptions;

  constructor(options: ResolverOptions) {
    this.#options = options;
  }

  /** Calls back once, never from within the call. */
  resolve(query: Query): void {
    const { onOpen, addresses } = this.#options;
    onOpen?.(this);
    const address = addresses?.[query.host] ?? (query.host === "localhost" ? "127.0.0.1" : query.host);
    if (!isNetworkStarted()) {
      Timer.set(() => this.#answer(query, undefined, notStarted()));
      return;
    }
    if (isAddress(address)) {
      Timer.set(() => this.#answer(query, address));
      return;
    }
    try {
      Net.resolve(query.host, (_host, resolved) => this.#answer(query, resolved));
    } catch (error) {
      Timer.set(() => this.#answer(query, undefined, error));
    }
  }

  close(): void {
    this.#closed = true;
  }

  #answer(query: Query, address: string | undefined, reason?: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    if (!address) this.failure = reason ?? new Error("name not resolved");
    // Called from native code, where an exception would end the virtual machine.
    try {
      if (address) query.onResolved(query.host, address);
      else query.onError(this.failure);
    } catch (error) {
      try {
        query.onError(error);
      } catch {
        // The phase's time limit ends the request.
      }
    }
  }
}

function notStarted(): NetworkError {
  return new NetworkError("NETWORK_FAILED", "connect", "The network is not started: start Wi-Fi first.");
}
