/** An HTTP proxy on loopback: tunnels for CONNECT, and requests in absolute form. */

import http from "node:http";
import net from "node:net";

export interface TestProxy {
  /** `http://127.0.0.1:40123`. */
  readonly url: string;
  readonly port: number;
  /** Received request lines, without the version. */
  readonly seen: readonly string[];
  /** `Host` and `Proxy-Authorization` of each request, if present. */
  readonly headers: readonly { readonly host?: string; readonly authorization?: string }[];
  /** Number of open connections. */
  readonly open: number;
  close(): Promise<void>;
}

export interface TestProxyOptions {
  /** Required value of `Proxy-Authorization`; otherwise the response is 407. */
  readonly authorization?: string;
  /** Reply to each CONNECT instead of a tunnel: a status, raw bytes, or nothing. */
  readonly connect?: number | string | "hang";
}

export async function startProxy(options: TestProxyOptions = {}): Promise<TestProxy> {
  const sockets = new Set<net.Socket>();
  const seen: string[] = [];
  const headers: { host?: string; authorization?: string }[] = [];
  const note = ({ method, url, headers: given }: http.IncomingMessage): boolean => {
    const authorization = given["proxy-authorization"];
    seen.push(`${method} ${url}`);
    headers.push({ host: given.host, ...(authorization === undefined ? {} : { authorization }) });
    return options.authorization === undefined || options.authorization === authorization;
  };
  const keep = (socket: net.Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  };
  const server = http.createServer((request, response) => {
    if (!note(request)) {
      response.writeHead(407, { "Proxy-Authenticate": "Basic" }).end("who are you?");
      return;
    }
    const { hostname, port, pathname } = new URL(String(request.url));
    const { "proxy-authorization": _, ...forwarded } = request.headers;
    const onward = http.request({ host: hostname, port, path: pathname, method: request.method, headers: forwarded });
    onward.on("response", (incoming) => {
      response.writeHead(incoming.statusCode ?? 502, incoming.headers);
      incoming.pipe(response);
    });
    onward.on("error", () => response.writeHead(502).end());
    request.pipe(onward);
  });
  server.on("connection", keep);
  server.on("connect", (request, socket: net.Socket) => {
    const allowed = note(request);
    const { connect } = options;
    // An unread half-open socket would outlive the client.
    if (connect === "hang") socket.resume().on("end", () => socket.destroy());
    else if (typeof connect === "string") socket.end(connect);
    else if (!allowed || connect !== undefined) socket.end(`HTTP/1.1 ${connect ?? 407} Said No\r\n\r\n`);
    else {
      const [, host, port] = /^(.*):(\d+)$/.exec(String(request.url)) ?? [];
      const onward = net.connect(Number(port), host.replace(/^\[|\]$/g, ""), () => {
        socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
        socket.pipe(onward).pipe(socket);
      });
      keep(onward);
      onward.on("close", () => socket.destroy());
      socket.on("close", () => onward.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    seen,
    headers,
    get open() {
      return sockets.size;
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
