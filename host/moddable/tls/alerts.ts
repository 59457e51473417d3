/** Alerts of TLS 1.2: RFC 5246 section 7.2, and those added by extensions. */

export const CLOSE_NOTIFY = 0;
export const UNEXPECTED_MESSAGE = 10;
export const BAD_RECORD_MAC = 20;
export const RECORD_OVERFLOW = 22;
export const HANDSHAKE_FAILURE = 40;
export const ILLEGAL_PARAMETER = 47;
export const DECODE_ERROR = 50;
export const DECRYPT_ERROR = 51;
export const PROTOCOL_VERSION = 70;
export const INTERNAL_ERROR = 80;
export const NO_RENEGOTIATION = 100;
export const UNSUPPORTED_EXTENSION = 110;

export const WARNING = 1;
export const FATAL = 2;

// One string: an object with as many properties would take more memory in a preloaded machine.
const NAMES =
  " 0:close_notify 10:unexpected_message 20:bad_record_mac 21:decryption_failed 22:record_overflow 30:decompression_failure" +
  " 40:handshake_failure 41:no_certificate 42:bad_certificate 43:unsupported_certificate 44:certificate_revoked" +
  " 45:certificate_expired 46:certificate_unknown 47:illegal_parameter 48:unknown_ca 49:access_denied 50:decode_error" +
  " 51:decrypt_error 60:export_restriction 70:protocol_version 71:insufficient_security 80:internal_error" +
  " 86:inappropriate_fallback 90:user_canceled 100:no_renegotiation 109:missing_extension 110:unsupported_extension" +
  " 111:certificate_unobtainable 112:unrecognized_name 113:bad_certificate_status_response 114:bad_certificate_hash_value" +
  " 115:unknown_psk_identity 116:certificate_required 120:no_application_protocol ";

/** Returns the name of an alert, or `"unknown"`. */
export function alertName(code: number): string {
  const start = NAMES.indexOf(` ${code}:`);
  if (start < 0) return "unknown";
  return NAMES.slice(NAMES.indexOf(":", start) + 1, NAMES.indexOf(" ", start + 1));
}

/** Protocol violation by the peer, or an unmet requirement of this client; `alert` is sent to the peer. */
export class TlsFault extends Error {
  readonly alert: number;

  /** @param reason one clause of at most 120 characters, without text from the peer */
  constructor(reason: string, alert: number, cause?: unknown) {
    super(reason, cause === undefined ? undefined : { cause });
    this.alert = alert;
  }
}

/** The peer closed the connection with an alert. */
export class PeerAlert extends Error {
  constructor(code: number) {
    super(`the server sent the alert ${alertName(code)} (${code})`);
  }
}

/** Creates an error for a malformed part of a message. */
export function malformed(what: string): TlsFault {
  return new TlsFault(`${what} is malformed`, DECODE_ERROR);
}

export function unexpected(what: string): TlsFault {
  return new TlsFault(what, UNEXPECTED_MESSAGE);
}
