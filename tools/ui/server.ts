import { randomBytes } from "node:crypto";
import { type AddressInfo, isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { GatewayError } from "../gateway/errors.js";
import type { GatewayEvent } from "../gateway/events.js";
import { faultKinds } from "../gateway/faults.js";
import { type Gateway, listenError } from "../gateway/server.js";
import { type Asset, readAssets } from "./assets.js";
import { DeviceLog } from "./devices.js";
import { faultState, switchFaults } from "./fault-switches.js";
import { Feed } from "./feed.js";
import { type Denial, Guard } from "./guard.js";
import { isWildcard, needsToken, type UiOptions } from "./options.js";
import { EventStream } from "./stream.js";
import { viewOfDetail, viewOfRequest } from "./views.js";

/** The running page of a gateway. */
export interface Ui {
  /** URL to open, with the token if one is needed. */
  readonly url: string;
  /** Ends all streams and stops listening. Repeated calls have no effect. */
  close(): Promise<void>;
}

const MAX_STREAMS = 64;
const MAX_BODY_BYTES = 16_384;
const MAX_LISTED = 1000;

/** Everything from this server, no code and no style in the document, and no text that becomes HTML by accident. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const notReady: Denial = { status: 503, code: "NOT_READY", message: "The page is being started." };

const commonHeaders = {
  "content-security-policy": contentSecurityPolicy,
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
} as const;

/**
 * Starts the page of a gateway on a separate listener. Neither the gateway's faults nor its counts concern it.
 *
 * @throws {GatewayError} PORT_IN_USE, PORT_FORBIDDEN, LISTEN_FAILED, UI_INCOMPLETE
 */
export async function startUi(gateway: Gateway, options: UiOptions = {}): Promise<Ui> {
  const running = new RunningUi(gateway, options);
  await running.start();
  return running;
}

class RunningUi implements Ui {
  readonly #gateway: Gateway;
  readonly #host: string;
  readonly #wantedPort: number;
  readonly #token: string | undefined;
  readonly #assets: Map<string, Asset>;
  readonly #app: FastifyInstance;
  readonly #feed = new Feed();
  readonly #devices: DeviceLog;
  readonly #streams = new Set<EventStream>();
  #deviceText: { readonly at: number; readonly value: object } | undefined;
  #guard: Guard | undefined;
  #unsubscribe = (): void => {};
  #isSwitching = false;
  #port = 0;
  #closed: Promise<void> | undefined;

  constructor(gateway: Gateway, options: UiOptions) {
    const { host = "127.0.0.1", port = 0 } = options;
    this.#gateway = gateway;
    this.#host = host;
    this.#wantedPort = port;
    this.#token = needsToken(options) ? randomBytes(18).toString("base64url") : undefined;
    this.#assets = readAssets();
    this.#devices = new DeviceLog(gateway.devices);
    // A HEAD of the stream would never end.
    this.#app = fastify({ bodyLimit: MAX_BODY_BYTES, forceCloseConnections: true, exposeHeadRoutes: false });
    this.#route();
  }

  get url(): string {
    const address = isWildcard(this.#host) ? ownAddress() : this.#host;
    const host = isIPv6(address) ? `[${address}]` : address;
    const query = this.#token === undefined ? "" : `?token=${this.#token}`;
    return `http://${host}:${this.#port}/${query}`;
  }

  async start(): Promise<void> {
    try {
      await this.#app.listen({ host: this.#host, port: this.#wantedPort });
    } catch (error) {
      await this.#app.close();
      throw listenError(error as NodeJS.ErrnoException, this.#host, this.#wantedPort);
    }
    this.#port = (this.#app.server.address() as AddressInfo).port;
    this.#guard = new Guard(this.#host, this.#port, this.#token);
    this.#unsubscribe = this.#gateway.subscribe((event) => this.#note(event));
  }

  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    this.#unsubscribe();
    for (const stream of this.#streams) stream.end();
    await this.#app.close();
  }

  #note(event: GatewayEvent): void {
    // Not by the gateway's clock: its offset is one of the faults.
    const atMs = Date.now();
    switch (event.type) {
      case "request":
        this.#devices.add(event.request, atMs);
        this.#feed.add("request", { atMs, ...viewOfRequest(event.request) });
        return;
      case "tlsError":
        this.#feed.add("tlsError", { ...event.error, atMs });
        return;
      case "dropped":
        this.#feed.add("dropped", { atMs, connection: event.connection, reason: event.reason });
        return;
      case "fault":
        if (!this.#isSwitching) this.#noteFaults();
    }
  }

  #noteFaults(): void {
    this.#feed.add("fault", { atMs: Date.now(), ...faultState(this.#gateway) });
  }

  /** However many switches a request changes, it is one event. */
  #switch(change: unknown): object {
    const before = JSON.stringify(faultState(this.#gateway));
    this.#isSwitching = true;
    try {
      switchFaults(this.#gateway, change);
    } finally {
      this.#isSwitching = false;
    }
    const after = faultState(this.#gateway);
    if (JSON.stringify(after) !== before) this.#noteFaults();
    return after;
  }

  #route(): void {
    const app = this.#app;
    app.addHook("onRequest", async (request, reply) => {
      reply.headers({ ...commonHeaders, "cache-control": "no-store" });
      // Nobody is let in before it is known on which port.
      const denial = this.#guard === undefined ? notReady : this.#guard.check(request);
      if (denial === undefined) return;
      const { status, code, message } = denial;
      // The body is not read, so the connection cannot be used for another request.
      if (request.method !== "GET") reply.header("connection", "close");
      await reply.code(status).send({ error: { code, message } });
    });
    for (const [path, asset] of this.#assets) {
      app.get(path, (request, reply) => this.#sendAsset(request, reply, asset));
    }
    app.get("/_/events", (request, reply) => this.#stream(request, reply));
    app.get("/_/info", async () => this.#info());
    app.get("/_/counts", async () => this.#counts());
    app.get("/_/devices", async () => this.#deviceList());
    app.get("/_/faults", async () => ({ ...faultState(this.#gateway), kinds: faultKinds }));
    app.post("/_/faults", async (request) => this.#switch(request.body));
    app.get("/_/requests", async (request) => this.#list(request));
    app.get("/_/requests/:index", async (request, reply) => {
      const { index } = request.params as { index: string };
      const found = this.#gateway.received.find((entry) => String(entry.index) === index);
      if (found !== undefined) return viewOfDetail(found);
      return reply.code(404).send(errorBody("NOT_FOUND", "The gateway no longer has this request."));
    });
    app.get("/_/ca.pem", async (_request, reply) => {
      const { ca } = this.#gateway;
      if (ca === undefined) return reply.code(404).send(errorBody("NOT_FOUND", "The gateway does not use HTTPS."));
      return reply
        .header("content-disposition", 'attachment; filename="ca.pem"')
        .type("application/x-pem-file")
        .send(ca);
    });
    app.setNotFoundHandler(async (_request, reply) => {
      await reply.code(404).send(errorBody("NOT_FOUND", "There is no such path for this method."));
    });
    app.setErrorHandler(async (error: FastifyError | GatewayError, _request, reply) => {
      if (error instanceof GatewayError) {
        await reply.code(400).send(errorBody(error.code, error.message));
        return;
      }
      const status = error.statusCode ?? 500;
      const message =
        status === 413 ? `The body has more than ${MAX_BODY_BYTES} bytes.` : "The request cannot be read.";
      await reply.code(status).send(errorBody(status < 500 ? "INVALID_REQUEST" : "INTERNAL", message));
    });
  }

  #sendAsset(request: FastifyRequest, reply: FastifyReply, { type, body, etag }: Asset): FastifyReply {
    reply.headers({ "cache-control": "no-cache", etag });
    // From here on the browser sends the token by itself, and the page removes it from its URL.
    if (this.#token !== undefined && this.#guard?.hasTokenInUrl(request)) {
      reply.headers({ "cache-control": "no-store", "set-cookie": this.#guard.cookie(this.#token) });
    }
    if (request.headers["if-none-match"] === etag) return reply.code(304).send();
    return reply.type(type).send(body);
  }

  #stream(request: FastifyRequest, reply: FastifyReply): FastifyReply {
    if (this.#streams.size >= MAX_STREAMS) {
      return reply.code(503).send(errorBody("TOO_MANY_STREAMS", `At most ${MAX_STREAMS} streams can be open.`));
    }
    reply.hijack();
    const { raw } = reply;
    for (const [name, value] of Object.entries(commonHeaders)) raw.setHeader(name, value);
    // A browser sends the header only when it reconnects by itself.
    const { after } = request.query as { after?: unknown };
    const lastId = request.headers["last-event-id"] ?? (typeof after === "string" ? after : undefined);
    const stream = new EventStream(this.#feed, raw, typeof lastId === "string" ? lastId : undefined, {
      counts: () => this.#counts(),
      faults: () => faultState(this.#gateway),
      devices: () => this.#deviceList(),
    });
    this.#streams.add(stream);
    raw.on("close", () => this.#streams.delete(stream));
    return reply;
  }

  #info(): object {
    const { url, ca } = this.#gateway;
    return { epoch: this.#feed.epoch, url, https: ca !== undefined, faultKinds };
  }

  #counts(): object {
    return { ...this.#gateway.counts };
  }

  /** All streams share what one of them has made after the latest event. */
  #deviceList(): object {
    const at = this.#feed.last;
    if (this.#deviceText?.at !== at) this.#deviceText = { at, value: { devices: this.#devices.list() } };
    return this.#deviceText.value;
  }

  #list(request: FastifyRequest): object {
    const { after, limit } = request.query as { after?: string; limit?: string };
    const from = wholeNumber("after", after, 0, Number.MAX_SAFE_INTEGER);
    const most = wholeNumber("limit", limit, MAX_LISTED, MAX_LISTED);
    const found = this.#gateway.received.filter(({ index, durationMs }) => index > from && durationMs !== undefined);
    return { epoch: this.#feed.epoch, requests: found.slice(0, most).map(viewOfRequest) };
  }
}

/** An address of this machine that others can open. */
function ownAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.find(({ family, internal }) => family === "IPv4" && !internal)?.address ?? "127.0.0.1";
}

function wholeNumber(name: string, text: string | undefined, otherwise: number, max: number): number {
  if (text === undefined) return otherwise;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= max)) throw new GatewayError("INVALID_OPTION", `${name} must be an integer from 0 to ${max}.`);
  return value;
}

function errorBody(code: string, message: string): object {
  return { error: { code, message } };
}
