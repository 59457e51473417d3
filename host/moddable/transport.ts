/** Byte stream in both directions; common interface of TCP and TLS. */
export interface Transport {
  /** Whether the TLS handshake resumed a session; known at the first `onWritable`. */
  readonly isResumed?: boolean;
  /**
   * Writes bytes and returns how many were accepted. After fewer than all, `onWritable` follows when there is room; the
   * next `write` must begin with the first byte that was not accepted.
   */
  write(bytes: Uint8Array): number;
  /**
   * Closes at once; accepted bytes are still sent if possible. No event follows.
   * @param isOverdue whether the reason is a timeout, not the app
   */
  close(isOverdue?: boolean): void;
  /** Delivers pending received bytes: on lwIP, events wait in a queue. */
  poll(): void;
}

/** Events of a transport. Never called from within `write` or `close`; an exception closes the connection. */
export interface TransportEvents {
  /** The TCP connection is established. Without a TLS handshake, `onWritable` follows at once. */
  onConnected(): void;
  /** @param bytes in a buffer that is not shared */
  onReadable(bytes: Uint8Array): void;
  /** There is room to write; the first time, the connection is ready for data. */
  onWritable(): void;
  /**
   * The connection is closed.
   * @param error undefined after an orderly close (over TLS, close_notify), {@link AbruptEnd} after any other close, or
   * the error
   * @param isWorthAnother true if another connection, made at once, will avoid the probable reason
   */
  onClose(error: unknown, isWorthAnother?: boolean): void;
}

/** State that connections to an origin leave to later ones, possibly across restarts. */
export interface OriginMemory {
  /** Resolves when the state was read; undefined if there is nothing to wait for. */
  ready(): Promise<void> | undefined;
  /** IPv4 address to connect to without a lookup, if one is known. */
  readonly address: string | undefined;
  /** Called when the address has failed. */
  dropAddress(): void;
  /** Drops the state in memory, and stops writing. */
  forget(): void;
}

/** The connection ended abruptly. Over plain TCP, the SDK does not distinguish this from an orderly close. */
export class AbruptEnd extends Error {}
