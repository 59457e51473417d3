/** What is wrong with a certificate, and the TLS alert that says so (RFC 5246 section 7.2.2). */
export class Rejection extends Error {
  readonly alert: number;

  /** @param reason one clause of at most 120 characters, which holds no bytes of the peer's but an object identifier */
  constructor(reason: string, alert: number) {
    super(reason);
    this.alert = alert;
  }
}

export const BAD_CERTIFICATE = 42;
export const UNSUPPORTED_CERTIFICATE = 43;
export const CERTIFICATE_EXPIRED = 45;
export const UNKNOWN_CA = 48;

/** A chain would cost more to check than it may: what has not been tried will not be. */
export class LimitExceeded extends Rejection {
  constructor(reason: string) {
    super(reason, BAD_CERTIFICATE);
  }
}
