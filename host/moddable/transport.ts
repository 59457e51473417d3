/** Bytes both ways: TCP and TLS look the same from above. */
export interface Transport {
  /** Whether the TLS handshake has resumed an earlier session. */
  readonly isResumed?: boolean;
  /**
   * Hands bytes to the network and returns how many went out. After fewer than all, `onWritable` follows when there is room;
   * the next `write` then begins with the first byte that had not gone out.
   */
  write(bytes: Uint8Array): number;
  /**
   * Closes at once; bytes that were taken still go out where that is possible. No event follows.
   * @param isOverdue whether the peer has been silent for too long; else it is the app that wants no more
   */
  close(isOverdue?: boolean): void;
  /** Delivers what has come and was not announced yet: on lwIP, events wait in a queue. */
  poll(): void;
}

/** None of them is called from within `write` or `close`; what they throw ends the connection. */
export interface TransportEvents {
  /** The TCP connection stands. Where nothing is to be done before data, `onWritable` follows at once. */
  onConnected(): void;
  /** @param bytes in a buffer that nobody else uses */
  onReadable(bytes: Uint8Array): void;
  /** There is room; the first time, the connection is ready for data. */
  onWritable(): void;
  /**
   * The connection is closed.
   * @param error undefined if the peer ended in order (over TLS, by close_notify), {@link AbruptEnd} if it did not say
   * so, or what went wrong
   * @param isWorthAnother true if another connection, made at once, does without what may be the reason
   */
  onClose(error: unknown, isWorthAnother?: boolean): void;
}

/** The connection broke off. Over plain TCP the SDK does not tell this from an end in order. */
export class AbruptEnd extends Error {}
