/**
 * The part of the web standards that this host uses, as structural types: the library declares no globals, and its
 * declarations compile for programs with the types of Node, Deno, Bun, workerd or a browser.
 */

import type { AbortSignalLike } from "../../src/host.js";

/** Function like the standard `fetch`. The standard one and those of runtimes are assignable to it. */
export type FetchLike = (url: string, init: FetchInit) => Promise<FetchResponse>;

/** Options with which {@link FetchLike} is called: members of the standard `RequestInit`. */
export interface FetchInit {
  readonly method: "POST";
  readonly headers: Record<string, string>;
  /** A Uint8Array. Not typed as one, as its type differs between versions of TypeScript. */
  // biome-ignore lint/suspicious/noExplicitAny: the platform's own type, which this library does not know
  readonly body: any;
  /** Always `"manual"`: a redirected request would carry a signature for another host. */
  readonly redirect: "manual";
  /** Present, and false, if the request must not use a keep-alive connection. */
  readonly keepalive?: false;
  /** An AbortSignal. */
  // biome-ignore lint/suspicious/noExplicitAny: the platform's own type, which this library does not know
  readonly signal: any;
}

/** What is used of a `Response`. */
export interface FetchResponse {
  readonly status: number;
  readonly type?: string;
  readonly redirected?: boolean;
  readonly headers: { forEach(callback: (value: string, name: string) => void): void };
  /** A ReadableStream of bytes; null for an empty body; undefined on a platform without streams. */
  readonly body?: FetchBody | null;
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** What is used of a `ReadableStream`. */
export interface FetchBody {
  getReader(): FetchReader;
  cancel(reason?: unknown): Promise<void>;
}

/** What is used of a `ReadableStreamDefaultReader`. */
export interface FetchReader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array }>;
  cancel(reason?: unknown): Promise<void>;
}

/** What is used of an `AbortController`. */
export interface AbortControllerLike {
  readonly signal: AbortSignalLike;
  abort(reason?: unknown): void;
}

/** What is used of the global object. */
export interface Platform {
  readonly fetch?: FetchLike;
  readonly AbortController?: new () => AbortControllerLike;
  readonly crypto?: { getRandomValues?(bytes: Uint8Array): unknown };
  readonly performance?: { now?(): number };
  setTimeout(callback: () => void, delayMs: number): unknown;
  clearTimeout(handle: unknown): void;
}

export const platform = globalThis as unknown as Platform;
