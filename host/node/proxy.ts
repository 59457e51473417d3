/** Selects the HTTP proxy of a request, from an option or curl's environment variables. */

import { BlockList, isIP, isIPv4, isIPv6 } from "node:net";
import { IotHubError } from "../../src/errors.js";
import type { HttpRequest } from "../../src/host.js";

export interface HttpProxy {
  /** Hostname or IP address, without brackets. */
  readonly host: string;
  readonly port: number;
  /** Value of `Proxy-Authorization`; a secret. */
  readonly authorization?: string;
}

/**
 * Returns the proxy for a request; undefined for a direct connection.
 * @throws {IotHubError} INVALID_OPTION if a proxy in the environment is invalid
 */
export type ProxyRule = (request: Pick<HttpRequest, "scheme" | "host" | "port">) => HttpProxy | undefined;

type Environment = Readonly<Record<string, string | undefined>>;

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** @throws {IotHubError} INVALID_OPTION if the option is not the URL of an HTTP proxy */
export function proxyRule(option: string | false | undefined, env: Environment): ProxyRule {
  if (option === false) return () => undefined;
  if (option !== undefined) {
    const proxy = readProxy("proxy", option);
    return () => proxy;
  }
  // Under CGI, HTTP_PROXY contains the client's header "Proxy".
  const plain = env.REQUEST_METHOD === undefined ? ["http_proxy", "HTTP_PROXY"] : ["http_proxy"];
  const secure = ["https_proxy", "HTTPS_PROXY"];
  const found = (names: string[]): [string, string] | undefined => {
    const name = names.find((n) => env[n] !== undefined);
    const value = name === undefined ? undefined : env[name]?.trim();
    return name && value ? [name, value] : undefined;
  };
  const proxies = { http: found(plain), https: found(secure) };
  const exceptions = env.no_proxy ?? env.NO_PROXY ?? "";
  return ({ scheme, host }) => {
    const proxy = proxies[scheme];
    if (proxy === undefined || isLoopback(host) || matchesNoProxy(host, exceptions)) return undefined;
    return readProxy(...proxy);
  };
}

/**
 * Returns `name:port`, always with a port: for the target of a CONNECT, an absolute URL, or the Host header to a proxy.
 */
export function authority({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

export function authorizationOf({ authorization }: HttpProxy): { "Proxy-Authorization"?: string } {
  return authorization === undefined ? {} : { "Proxy-Authorization": authorization };
}

/** Parses a proxy URL. @param name name for errors, since the value may contain a password */
function readProxy(name: string, value: string): HttpProxy {
  try {
    const url = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}`);
    if (url.protocol === "http:") {
      const host = url.hostname.replace(/^\[|\]$/g, "");
      const port = Number(url.port || 80);
      if (url.username === "" && url.password === "") return { host, port };
      const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
      return { host, port, authorization: `Basic ${Buffer.from(user).toString("base64")}` };
    }
  } catch {
    // The error of URL would contain the value.
  }
  throw new IotHubError(
    "INVALID_OPTION",
    `${name} must be the URL of an HTTP proxy, such as http://proxy.example:3128.`,
  );
}

function isLoopback(host: string): boolean {
  const name = host.replace(/^\[|\]$|\.$/g, "").toLowerCase();
  if (isIP(name)) return loopback.check(name, isIPv4(name) ? "ipv4" : "ipv6");
  return name === "localhost" || name.endsWith(".localhost");
}

/**
 * Whether a host matches a list in curl's `NO_PROXY` format: separated by commas or spaces; `*` alone for all; a domain
 * with its subdomains, with or without a leading dot; an IP address, or a range in CIDR notation.
 * @param host hostname or IP address; an IPv6 address may be in brackets
 */
export function matchesNoProxy(host: string, list: string): boolean {
  if (list.trim() === "*") return true;
  const name = host.replace(/^\[|\]$/g, "").toLowerCase();
  const tokens = list
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((token) => token !== "");
  if (isIP(name)) return tokens.some((token) => matchesAddress(name, token.replace(/^\[([^\]]*)\]/, "$1")));
  const bare = name.replace(/\.$/, "");
  return tokens.some((token) => {
    const suffix = token.replace(/^\./, "").replace(/\.$/, "");
    return suffix !== "" && (bare === suffix || bare.endsWith(`.${suffix}`));
  });
}

function matchesAddress(address: string, token: string): boolean {
  const type = isIPv4(address) ? "ipv4" : "ipv6";
  const [net, bits, more] = token.split("/");
  if (isIP(net) !== isIP(address) || more !== undefined) return false;
  const range = new BlockList();
  if (bits === undefined) range.addAddress(net, type);
  else if (/^\d{1,3}$/.test(bits) && Number(bits) <= (type === "ipv4" ? 32 : 128))
    range.addSubnet(net, Number(bits), type);
  return range.check(address, type);
}
