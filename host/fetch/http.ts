/**
 * HTTP client over `fetch`. The platform keeps the connections and does name resolution, TLS and redirects; this client
 * limits the response, obeys the signal, and finds out what it can about failures.
 */

import { IotHubError, NetworkError } from "../../src/errors.js";
import type { HttpClient, HttpContext, HttpRequest, HttpResponse } from "../../src/host.js";
import { classify } from "./classify.js";
import { type AbortControllerLike, type FetchBody, type FetchLike, type FetchResponse, platform } from "./platform.js";

/** @param given the app's `fetch`; the global one otherwise, looked up at each request since tests replace it */
export function createHttp(given: FetchLike | undefined): HttpClient {
  return new FetchHttp(given);
}

class FetchHttp implements HttpClient {
  readonly #fetch: FetchLike | undefined;
  readonly #pending = new Set<PendingRequest>();
  /** Origins to which a keep-alive connection may be open. */
  readonly #kept = new Set<string>();
  #closed = false;

  constructor(given: FetchLike | undefined) {
    this.#fetch = given;
  }

  close(): void {
    this.#closed = true;
    for (const pending of this.#pending) {
      pending.fail(new IotHubError("CANCELLED", "The HTTP client was closed during the request."));
    }
  }

  send(request: HttpRequest, context: HttpContext): Promise<HttpResponse> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new IotHubError("CANCELLED", "The HTTP client has been closed."));
        return;
      }
      if (context.signal.aborted) {
        reject(context.signal.reason);
        return;
      }
      // As signed: no trailing dot in the Host header.
      const origin = `${request.scheme}://${request.host.replace(/\.$/, "")}:${request.port}`;
      const maybeKept = this.#kept.has(origin);
      const pending: PendingRequest = new PendingRequest(request, context, maybeKept, (error, response) => {
        this.#pending.delete(pending);
        if (response !== undefined && !context.fresh) this.#kept.add(origin);
        else this.#kept.delete(origin);
        if (response !== undefined) resolve(response);
        else reject(error);
      });
      this.#pending.add(pending);
      // Called without a receiver: browsers and workerd reject it as a method of another object.
      const fetch = this.#fetch ?? (platform.fetch as FetchLike);
      pending.run(fetch, `${origin}${request.path}`);
    });
  }
}

type Settle = (error: unknown, response?: HttpResponse) => void;

/** One request and its response. Settles once, at the latest when it is aborted, whatever `fetch` does then. */
class PendingRequest {
  readonly #request: HttpRequest;
  readonly #context: HttpContext;
  readonly #maybeKept: boolean;
  readonly #settle: Settle;
  // One for each request: runtimes add listeners to a signal and do not always remove them.
  readonly #controller: AbortControllerLike;
  readonly #abort = () => this.fail(this.#context.signal.reason);
  #phase: "connect" | "read" = "connect";
  #settled = false;

  constructor(request: HttpRequest, context: HttpContext, maybeKept: boolean, settle: Settle) {
    this.#request = request;
    this.#context = context;
    this.#maybeKept = maybeKept;
    this.#settle = settle;
    this.#controller = new (platform.AbortController as new () => AbortControllerLike)();
    context.signal.addEventListener("abort", this.#abort);
  }

  async run(fetch: FetchLike, url: string): Promise<void> {
    try {
      const response = await this.#fetch(fetch, url);
      // An unread body would keep its connection.
      if (this.#settled) discard(response.body);
      else this.#end(undefined, await this.#read(response));
    } catch (error) {
      // The platform's connections are not this client's alone: any request may have been sent on one that was closing.
      this.fail(classify(error, this.#phase, this.#request, !this.#context.fresh));
    }
  }

  /** Ends the request and its connection. */
  fail(error: unknown): void {
    if (this.#settled) return;
    this.#end(error);
    this.#controller.abort(error);
  }

  #end(error: unknown, response?: HttpResponse): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#context.signal.removeEventListener("abort", this.#abort);
    this.#settle(error, response);
  }

  #fetch(fetch: FetchLike, url: string): Promise<FetchResponse> {
    const { method, headers, body } = this.#request;
    const { fresh } = this.#context;
    return fetch(url, {
      method,
      // For a new connection: Node, Deno and Bun close the connection after a request with this header, Bun also opens a
      // new one without `keepalive`, which is the default elsewhere.
      headers: fresh ? { ...headers, Connection: "close" } : { ...headers },
      body,
      redirect: "manual",
      signal: this.#controller.signal,
      ...(fresh && { keepalive: false }),
    });
  }

  async #read(response: FetchResponse): Promise<HttpResponse> {
    const { status, type, redirected } = response;
    if (type === "opaqueredirect" || redirected) {
      discard(response.body);
      const message = redirected
        ? "The request was redirected and sent again to another address, for which it is not signed."
        : "The request was redirected, and the platform does not show the response.";
      throw new NetworkError("RESPONSE_MALFORMED", "read", message);
    }
    this.#phase = "read";
    this.#context.onPhase("read");
    const entries: [string, string][] = [];
    response.headers.forEach((value, name) => {
      entries.push([name.toLowerCase(), value]);
    });
    const headers = Object.fromEntries(entries);
    const announced = announcedBytes(headers);
    if (announced > this.#context.maxResponseBytes) {
      discard(response.body);
      throw this.#tooLarge();
    }
    const body = await this.#body(response);
    // Some runtimes end the stream of a body that was cut off as if it were complete.
    if (body.length < announced) {
      const message = `The response has ${body.length} bytes instead of the announced ${announced}.`;
      throw new NetworkError("RESPONSE_TRUNCATED", "read", message);
    }
    // Only the requests after this one have a new connection.
    const reused = this.#context.fresh && this.#maybeKept ? true : undefined;
    return { status, headers, body, reused };
  }

  async #body(response: FetchResponse): Promise<Uint8Array> {
    const { maxResponseBytes } = this.#context;
    if (response.body === null) return new Uint8Array(0);
    // React Native has no streams.
    if (response.body === undefined) {
      const whole = new Uint8Array(await response.arrayBuffer());
      if (whole.length > maxResponseBytes) throw this.#tooLarge();
      return whole;
    }
    const reader = response.body.getReader();
    const chunks: Uint8Array[] = [];
    let length = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done || this.#settled) break;
      if (value === undefined) continue;
      length += value.length;
      if (length > maxResponseBytes) {
        discard(reader);
        throw this.#tooLarge();
      }
      chunks.push(value);
    }
    const body = new Uint8Array(length);
    let offset = 0;
    for (const chunk of chunks) {
      body.set(chunk, offset);
      offset += chunk.length;
    }
    return body;
  }

  #tooLarge(): NetworkError {
    const message = `The response is larger than ${this.#context.maxResponseBytes} bytes.`;
    return new NetworkError("RESPONSE_TOO_LARGE", "read", message);
  }
}

/** Content-Length, if it is the number of bytes that a reader gets: -1 if there is none or the body is encoded. */
function announcedBytes(headers: Readonly<Record<string, string>>): number {
  const { "content-length": length, "content-encoding": encoding = "identity" } = headers;
  if (length === undefined || headers["transfer-encoding"] !== undefined || encoding.toLowerCase() !== "identity") {
    return -1;
  }
  return /^[0-9]{1,15}$/.test(length) ? Number(length) : -1;
}

/** Cancels a body that nobody reads, so that its connection is released. */
function discard(body: Pick<FetchBody, "cancel"> | null | undefined): void {
  // May reject or throw if it has failed already, or is locked.
  try {
    body?.cancel().catch(() => {});
  } catch {}
}
