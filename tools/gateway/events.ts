import type { TlsError } from "./connections.js";
import type { Fault } from "./faults.js";
import type { ConnectionInfo, ReceivedRequest } from "./received.js";

/** What happens on a running gateway. Contains no secrets. */
export type GatewayEvent =
  /** A request, once its response was sent or its connection closed. */
  | { readonly type: "request"; readonly request: ReceivedRequest }
  /** A failed TLS handshake. */
  | { readonly type: "tlsError"; readonly error: TlsError }
  /**
   * A connection that ended without a complete request: closed or reset by the client, too slow, not HTTP, over the
   * limit of connections, or ended by a fault. A connection that ends between two requests is not dropped.
   */
  | {
      readonly type: "dropped";
      readonly connection: ConnectionInfo;
      /** One clause, such as `the head of the request was not complete after 30 s`. */
      readonly reason: string;
      /** Milliseconds since 1970, by the gateway's clock. */
      readonly atMs: number;
    }
  /** The permanent fault or the offline state was changed. */
  | { readonly type: "fault"; readonly fault: Fault | undefined; readonly offline: boolean };

export type GatewayListener = (event: GatewayEvent) => void;

/** Passes events on to any number of listeners. */
export class GatewayEvents {
  readonly #listeners = new Set<{ readonly call: GatewayListener }>();

  /** Calls a listener at each event from now on. @returns a function that ends the subscription */
  subscribe(listener: GatewayListener): () => void {
    // A separate object for each subscription, so that the same function can be subscribed twice.
    const subscription = { call: listener };
    this.#listeners.add(subscription);
    return () => {
      this.#listeners.delete(subscription);
    };
  }

  /** Calls all listeners. The error of a listener is thrown later, so that it affects neither the gateway nor others. */
  emit(event: GatewayEvent): void {
    for (const { call } of [...this.#listeners]) {
      try {
        call(event);
      } catch (error) {
        setImmediate(() => {
          throw error;
        });
      }
    }
  }
}
