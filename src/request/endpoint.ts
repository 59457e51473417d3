/** Endpoint of the gateway: a region of the public service, or the URL of a private deployment. */

import { IotHubError } from "../errors.js";
import type { HttpClient } from "../host.js";
import { signedHost } from "../signing/string-to-sign.js";

/** Regions of the public service (Tencent Cloud, "HTTP-Based Device Connection"). Other names are accepted. */
export type Region = "ap-guangzhou" | "us-east" | "europe" | "ap-bangkok" | (string & {});

/** Where a device connects. */
export interface Endpoint {
  readonly scheme: "http" | "https";
  /** Lower case, without port and trailing dot, as it is signed. */
  readonly host: string;
  readonly port: number;
}

/**
 * Returns the HTTPS endpoint of a region, or the endpoint of a URL such as `http://192.168.1.10:8080`. A trailing dot
 * of the hostname is removed.
 * @throws {IotHubError} INVALID_REGION, INVALID_URL, INVALID_OPTION
 */
export function readEndpoint(region: Region | undefined, url: string | undefined): Endpoint {
  if (url === undefined) {
    const label = region ?? "ap-guangzhou";
    if (typeof label !== "string" || !/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(label)) {
      throw new IotHubError("INVALID_REGION", 'Invalid region name; expected a name such as "ap-guangzhou".');
    }
    return { scheme: "https", host: `${label}.gateway.tencentdevices.com`, port: 443 };
  }
  if (region !== undefined) throw new IotHubError("INVALID_OPTION", "region and url must not be given together.");
  const match = typeof url === "string" && /^(https?):\/\/([^/?#@:]+|\[[^/?#@\]]*\])(?::([0-9]{1,5}))?\/?$/i.exec(url);
  const scheme = match && match[1].toLowerCase() === "http" ? "http" : "https";
  const port = match && match[3] !== undefined ? Number(match[3]) : scheme === "http" ? 80 : 443;
  try {
    if (match && port >= 1 && port <= 65535) return { scheme, host: signedHost(match[2]), port };
  } catch {}
  throw new IotHubError(
    "INVALID_URL",
    "The url must be http://host or https://host with an optional port, without path, query or user name.",
  );
}

/**
 * Same as {@link readEndpoint}, and checks that the host supports the endpoint.
 * @throws {IotHubError} INVALID_REGION, INVALID_URL, INVALID_OPTION
 */
export function reachableEndpoint(
  { region, url }: { readonly region?: Region; readonly url?: string },
  http: Pick<HttpClient, "checkEndpoint">,
): Endpoint {
  const endpoint = readEndpoint(region, url);
  http.checkEndpoint?.(endpoint);
  return endpoint;
}
