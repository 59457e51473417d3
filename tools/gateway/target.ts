/** Parsed request target. */
export interface Target {
  /** Path with query. */
  readonly url: string;
  /** Host with its port, as sent. */
  readonly hostHeader: string;
}

/**
 * Reads a request target in origin form (`/path`) or absolute form (`http://host/path`), RFC 9112 section 3.2. Clients
 * send the latter through a proxy; a server must accept it, and its host replaces that of the Host header. Any other
 * target is returned unchanged, and matches no path.
 */
export function readTarget(target: string, hostHeader: string): Target {
  const absolute = /^https?:\/\/([^/?#@\s]+)([^#\s]*)$/i.exec(target);
  if (absolute === null) return { url: target, hostHeader };
  const [, authority, rest] = absolute;
  return { url: rest.startsWith("/") ? rest : `/${rest}`, hostHeader: authority };
}
