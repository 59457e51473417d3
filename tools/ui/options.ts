import { isIP } from "node:net";
import { GatewayError } from "../gateway/errors.js";

/** Options of the gateway's page. */
export interface UiOptions {
  /** Port of the page; 0 lets the system choose. @default 0 */
  readonly port?: number;
  /** Address to listen on. @default 127.0.0.1 */
  readonly host?: string;
  /**
   * Whether the page and its API need the random token that is part of the page's URL. Everywhere but on a loopback
   * address they always do. @default false
   */
  readonly token?: boolean;
}

/** @throws {GatewayError} INVALID_OPTION */
export function checkUiOptions(options: boolean | UiOptions | undefined): UiOptions | undefined {
  if (options === undefined || options === false) return undefined;
  if (options === true) return {};
  if (typeof options !== "object" || options === null) throw invalid("ui must be a boolean or an object.");
  const { port, host, token, ...rest } = options;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw invalid(`ui has no ${unknown}.`);
  if (port !== undefined && (!Number.isInteger(port) || port < 0 || port > 65_535)) {
    throw invalid("ui.port must be an integer from 0 to 65535.");
  }
  if (host !== undefined && (typeof host !== "string" || host === "")) {
    throw invalid("ui.host must be a non-empty string.");
  }
  if (token !== undefined && typeof token !== "boolean") throw invalid("ui.token must be true or false.");
  return options;
}

export function needsToken({ host = "127.0.0.1", token = false }: UiOptions): boolean {
  return token || !isLoopback(host);
}

/** Addresses that stand for all of a machine's. */
export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || /^[0:]*::?0*$/.test(host);
}

/** Whether only programs of this machine can connect to it. */
export function isLoopback(host: string): boolean {
  if (host.toLowerCase() === "localhost" || host === "::1") return true;
  return isIP(host) === 4 && host.startsWith("127.");
}

function invalid(message: string): GatewayError {
  return new GatewayError("INVALID_OPTION", message);
}
