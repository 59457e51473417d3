/** Where a request is meant for. */
export interface Target {
  /** Path with query. */
  readonly url: string;
  /** Host with its port, as sent. */
  readonly hostHeader: string;
}

/**
 * Reads a request target in origin form (`/path`) or absolute form (`http://host/path`), RFC 9112 section 3.2. The
 * latter is what clients send through a proxy, a server must accept it, and its host replaces the Host header's. Any
 * other target is passed on as it is, and no path matches it.
 */
export function readTarget(target: string, hostHeader: string): Target {
  const absolute = /^https?:\/\/([^/?#@\s]+)([^#\s]*)$/i.exec(target);
  if (absolute === null) return { url: target, hostHeader };
  const [, authority, rest] = absolute;
  return { url: rest.startsWith("/") ? rest : `/${rest}`, hostHeader: authority };
}
