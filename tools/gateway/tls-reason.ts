/** Alerts with which a client says that it does not accept the server's certificate (RFC 5246 section 7.2.2). */
const certificateAlerts = [
  "bad_certificate",
  "unsupported_certificate",
  "certificate_revoked",
  "certificate_expired",
  "certificate_unknown",
  "unknown_ca",
];

/** Returns the name of the alert that the client sent, by OpenSSL's code, such as `unknown_ca`. */
export function alertOf(code: string): string | undefined {
  return /^ERR_SSL_(?:SSLV3|TLSV1|TLSV13)_ALERT_([A-Z0-9_]+)$/.exec(code)?.[1].toLowerCase();
}

/** Returns why a handshake failed, as one clause; `code` is OpenSSL's, Node's, or `CLOSED`. */
export function describeTlsFailure(code: string): string {
  const alert = alertOf(code);
  if (alert !== undefined) {
    return certificateAlerts.includes(alert)
      ? `client refused the certificate: ${alert}`
      : `client ended the handshake: ${alert}`;
  }
  switch (code) {
    case "CLOSED":
      return "client closed the connection during the handshake without an alert";
    case "ECONNRESET":
      return "client reset the connection during the handshake";
    case "TIMEOUT":
      return "the handshake was not complete in time";
    case "ERR_SSL_HTTP_REQUEST":
      return "client sent plain HTTP: use https:// in its URL";
    case "ERR_SSL_WRONG_VERSION_NUMBER":
      return "client sent something other than TLS";
    case "ERR_SSL_UNSUPPORTED_PROTOCOL":
      return "client and gateway have no TLS version in common";
    case "ERR_SSL_NO_SHARED_CIPHER":
      return "client and gateway have no cipher suite in common";
    default:
      return `handshake failed: ${code}`;
  }
}
