/** Bytes both ways: TCP and TLS look the same from above. */
export interface Transport {
  /** Whether a TLS handshake resumed a session; known once there is room to write. */
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
   * @param isWorthAnother true if another connection, made at once, leaves out what may be the reason
   */
  onClose(error: unknown, isWorthAnother?: boolean): void;
}

/** What connections to an origin leave to later ones, perhaps of another start of the program. */
export interface OriginMemory {
  /** Resolves when it has been read; undefined if it need not be waited for. */
  ready(): Promise<void> | undefined;
  /** IPv4 address to connect to in place of asking for the name, if one is known. */
  readonly address: string | undefined;
  /** The address has failed. */
  dropAddress(): void;
  /** Drops what is kept in memory, and writes nothing any more. */
  forget(): void;
}

/** The connection broke off. Over plain TCP the SDK does not tell this from an end in order. */
export class AbruptEnd extends Error {}
