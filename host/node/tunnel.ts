/** HTTPS through an HTTP proxy: TLS inside a CONNECT tunnel (RFC 9110 section 9.3.6) for each connection. */

import http from "node:http";
import https from "node:https";
import type { Duplex } from "node:stream";
import type { ConnectionOptions } from "node:tls";
import { NetworkError } from "../../src/errors.js";
import type { HttpRequest } from "../../src/host.js";
import { classify } from "./classify.js";
import { authority, authorizationOf, type HttpProxy } from "./proxy.js";

export interface TunnelOptions extends https.RequestOptions {
  autoSelectFamilyAttemptTimeout?: number;
  /** Called with the CONNECT request of a new tunnel, so that the waiting request can abort it. */
  onTunnel?(tunnel: http.ClientRequest): void;
}

export class TunnelAgent extends https.Agent {
  readonly #proxy: HttpProxy;

  constructor(proxy: HttpProxy, options: https.AgentOptions) {
    super(options);
    this.#proxy = proxy;
  }

  override createConnection(
    options: TunnelOptions,
    callback: (error: Error | null, socket: Duplex) => void,
  ): undefined {
    // With an error there is no socket, contrary to the typings.
    const fail = callback as (error: Error) => void;
    const proxy = this.#proxy;
    const target = { host: String(options.host), port: Number(options.port) };
    const tunnel = http.request({
      host: proxy.host,
      port: proxy.port,
      method: "CONNECT",
      path: authority(target),
      headers: { Host: authority(target), Connection: "keep-alive", ...authorizationOf(proxy) },
      agent: false,
      lookup: options.lookup,
      autoSelectFamilyAttemptTimeout: options.autoSelectFamilyAttemptTimeout,
    } as http.RequestOptions);
    tunnel.on("error", (error) => fail(classify(error, "connect", { ...proxy, proxy: true })));
    tunnel.on("connect", (response, socket, head) => {
      const status = response.statusCode ?? 0;
      if (status < 200 || status > 299) {
        socket.destroy();
        fail(refusedByProxy(proxy, target, status));
      } else if (head.length > 0) {
        // In TLS the client speaks first: these bytes are not from the gateway.
        socket.destroy();
        const message = `The proxy ${proxy.host} sent unexpected data after its response to CONNECT.`;
        fail(new NetworkError("RESPONSE_MALFORMED", "connect", message));
      } else {
        const over: ConnectionOptions = { socket };
        callback(null, super.createConnection({ ...options, ...over }) as Duplex);
      }
    });
    options.onTunnel?.(tunnel);
    tunnel.end();
  }
}

/** The proxy rejected the CONNECT; nothing reached the gateway. */
export function refusedByProxy(
  proxy: HttpProxy,
  target: Pick<HttpRequest, "host" | "port">,
  status: number,
): NetworkError {
  const reason = http.STATUS_CODES[status];
  const what = reason === undefined ? String(status) : `${status} ${reason}`;
  const message = `The proxy ${proxy.host} port ${proxy.port} refused to connect to ${authority(target)}: ${what}.`;
  return new NetworkError("PROXY_FAILED", "connect", message);
}
