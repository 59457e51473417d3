/** Reason for not accepting a certificate, with the TLS alert for it (RFC 5246 section 7.2.2). */
export class Rejection extends Error {
  readonly alert: number;

  /**
   * @param reason one clause of at most 120 characters; of the peer's data, it contains at most an object identifier
   */
  constructor(reason: string, alert: number) {
    super(reason);
    this.alert = alert;
  }
}

export const BAD_CERTIFICATE = 42;
export const UNSUPPORTED_CERTIFICATE = 43;
export const CERTIFICATE_EXPIRED = 45;
export const UNKNOWN_CA = 48;

/** A limit on the cost of checking a chain was exceeded: the search ends, remaining paths are not tried. */
export class LimitExceeded extends Rejection {
  constructor(reason: string) {
    super(reason, BAD_CERTIFICATE);
  }
}
