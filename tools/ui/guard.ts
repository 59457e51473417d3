import { createHash, timingSafeEqual } from "node:crypto";
import { isIP } from "node:net";
import { hostname } from "node:os";
import type { FastifyRequest } from "fastify";
import { isLoopback } from "./options.js";

/** Why a request is refused. */
export interface Denial {
  readonly status: 401 | 403 | 503;
  readonly code: "HOST_FORBIDDEN" | "TOKEN_REQUIRED" | "ORIGIN_FORBIDDEN" | "CONTENT_TYPE" | "NOT_READY";
  readonly message: string;
}

/**
 * Decides who may talk to the page's server. A page of any website that is open in the same browser can send requests to
 * it, so every request is checked:
 *
 * - its Host header, or a name that a website rebinds to 127.0.0.1 would be of the same origin as the page;
 * - where it comes from, if the browser says so (`Origin`, `Sec-Fetch-Site`);
 * - for a change, its Content-Type, which a browser does not let a foreign page send without asking first (CORS), and
 *   this server never says yes;
 * - the token, where other machines can connect.
 */
export class Guard {
  readonly #host: string;
  readonly #token: Buffer | undefined;
  readonly #cookie: string;

  constructor(host: string, port: number, token: string | undefined) {
    this.#host = host.toLowerCase();
    this.#token = token === undefined ? undefined : digest(token);
    // Cookies are shared by all ports of a host.
    this.#cookie = `tencent-iothub-ui-${port}`;
  }

  /** Value of Set-Cookie that carries the token from the page's URL to its requests. */
  cookie(token: string): string {
    return `${this.#cookie}=${token}; HttpOnly; SameSite=Strict; Path=/`;
  }

  /** Whether the URL has the token, as the printed one does. */
  hasTokenInUrl(request: FastifyRequest): boolean {
    const { token } = request.query as { token?: unknown };
    return typeof token === "string" && this.#matches(token);
  }

  check(request: FastifyRequest): Denial | undefined {
    const { headers, method } = request;
    const host = headers.host ?? "";
    if (!this.#isOwnName(host)) {
      return {
        status: 403,
        code: "HOST_FORBIDDEN",
        message: "The Host header is not a name of this server; use the printed URL.",
      };
    }
    const { origin } = headers;
    const isChange = method !== "GET" && method !== "HEAD";
    const site = headers["sec-fetch-site"];
    // A link from elsewhere may open the page; nothing else may be requested from elsewhere.
    const isNavigation = !isChange && headers["sec-fetch-mode"] === "navigate";
    const isForeign = site !== undefined && site !== "same-origin" && site !== "none" && !isNavigation;
    if (isForeign || (origin !== undefined && origin.toLowerCase() !== `http://${host.toLowerCase()}`)) {
      return { status: 403, code: "ORIGIN_FORBIDDEN", message: "The request comes from another origin." };
    }
    if (isChange && !/^application\/json\s*(;|$)/i.test(headers["content-type"] ?? "")) {
      return { status: 403, code: "CONTENT_TYPE", message: "A change needs the Content-Type application/json." };
    }
    if (this.#token !== undefined && !this.#hasToken(request)) {
      return {
        status: 401,
        code: "TOKEN_REQUIRED",
        message: "The token is missing or wrong; use the printed URL, or send Authorization: Bearer TOKEN.",
      };
    }
    return undefined;
  }

  /**
   * An address cannot be rebound, a name can. The port is not checked: a forwarded port (ssh, an editor, a container)
   * has another number, and the page's origin contains it.
   */
  #isOwnName(header: string): boolean {
    const [, bracketed, plain] = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?$/i.exec(header) ?? [];
    const name = (bracketed ?? plain ?? "").toLowerCase();
    if (name === "") return false;
    if (name === "localhost" || name === this.#host) return true;
    if (isLoopback(this.#host)) return isLoopback(name);
    const own = hostname().toLowerCase();
    return isIP(name) !== 0 || name === own || name === `${own}.local`;
  }

  #hasToken(request: FastifyRequest): boolean {
    const bearer = /^Bearer ([\x21-\x7e]+)$/i.exec(request.headers.authorization ?? "")?.[1];
    if (bearer !== undefined) return this.#matches(bearer);
    const cookies = (request.headers.cookie ?? "").split(";").map((part) => part.trim());
    const value = cookies.find((part) => part.startsWith(`${this.#cookie}=`))?.slice(this.#cookie.length + 1);
    return (value !== undefined && this.#matches(value)) || this.hasTokenInUrl(request);
  }

  #matches(token: string): boolean {
    return this.#token !== undefined && timingSafeEqual(digest(token), this.#token);
  }
}

/** Of equal length for every text, as `timingSafeEqual` needs it. */
function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
