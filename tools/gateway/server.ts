import { constants, randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { isIPv6, type Socket } from "node:net";
import { createSecureContext, DEFAULT_CIPHERS, type TlsOptions } from "node:tls";
import fastify, { type FastifyError, type FastifyInstance } from "fastify";
import type { Ui } from "../ui/index.js";
import { issueCertificate } from "./authority.js";
import { type CertificateSet, makeCertificates } from "./certificates.js";
import { Connections, reset, type TlsError } from "./connections.js";
import { DeviceRegistry, readDevicesFile } from "./devices.js";
import { DiagnosisLimit } from "./diagnosis-limit.js";
import { GatewayError } from "./errors.js";
import { type GatewayEvent, GatewayEvents } from "./events.js";
import { concernsConnection, type Fault, Faults, parseFault, refusesRequest } from "./faults.js";
import { type Endpoint, handleRequest, type Rules } from "./handle-request.js";
import { type Delivery, sendFaultyResponse, sendResponse } from "./misbehave.js";
import { checkOffline, checkOptions, type GatewayOptions, type HttpsOptions } from "./options.js";
import { RateLimit } from "./ratelimit.js";
import { emptyCounts, type GatewayCounts, type ReceivedRequest } from "./received.js";
import { errorResponse, type Refusal, type ResponseContent, successResponse } from "./responses.js";
import { describeSample, GatewayState, type SampleDevice } from "./state.js";
import { readTarget } from "./target.js";
import { NonceMemory } from "./verify.js";

/** A running gateway. */
export interface Gateway {
  /** URL such as `http://127.0.0.1:40123`, without a trailing slash. */
  readonly url: string;
  /** The first address that is listened on. */
  readonly host: string;
  readonly port: number;
  /** URL of the page to open in a browser, with its token if it needs one; undefined without the option `ui`. */
  readonly uiUrl: string | undefined;
  /** All addresses that are listened on, with the same port. */
  readonly addresses: readonly string[];
  /** The device of a gateway that was started with `state` and without `devices`. */
  readonly sample: SampleDevice | undefined;
  /** File with the CA's certificate, PEM, if `state` provides it. */
  readonly caFile: string | undefined;
  /** CA certificate that clients must trust, PEM; undefined over HTTP. */
  readonly ca: string | undefined;
  readonly certificates: CertificateSet | undefined;
  /** The last requests, oldest first. */
  readonly received: readonly ReceivedRequest[];
  readonly counts: Readonly<GatewayCounts>;
  /** The last 100 failed TLS handshakes, oldest first. */
  readonly tlsErrors: readonly TlsError[];
  /** Faults; can be changed while the gateway runs. */
  readonly faults: Faults;
  /**
   * Can be set while the gateway runs: open connections are reset, new ones hang or are reset. Connections that hang are
   * reset when it is set to false.
   */
  offline: false | "hang" | "reset";
  /** Products and devices; can be changed while the gateway runs. */
  readonly devices: DeviceRegistry;
  /** Offset of the gateway's clock in seconds; can be set at any time. */
  clockSkewSeconds: number;
  /** Clears `received`; the counts and nonces stay. */
  clearReceived(): void;
  /** Forgets all nonces, so that they can be reused. */
  clearNonces(): void;
  /**
   * Calls a listener at each event from now on: requests, failed TLS handshakes, dropped connections, changed faults.
   *
   * @returns a function that ends the subscription
   */
  subscribe(listener: (event: GatewayEvent) => void): () => void;
  /** Closes all connections at once, like a restart of the server; the gateway keeps running. */
  closeConnections(): void;
  /** Closes all connections at once and stops listening. Repeated calls have no effect. */
  close(): Promise<void>;
}

const INJECTED = "Injected error.";

/** State of a request between its headers and its response. */
interface RequestContext {
  readonly entry: ReceivedRequest;
  readonly fault: Fault | undefined;
  readonly delivery: Omit<Delivery, "content">;
  readonly nowMs: number;
}

/**
 * Starts a gateway, and resolves when it listens.
 * @throws {GatewayError} INVALID_OPTION, INVALID_DEVICES, DEVICES_UNREADABLE, STATE_UNUSABLE, STATE_DAMAGED,
 * PORT_IN_USE, PORT_FORBIDDEN, LISTEN_FAILED, UI_INCOMPLETE
 * @example
 *   const gateway = await startGateway({
 *     https: true,
 *     devices: { products: { ABCDE12345: { devices: { sensor1: { psk: "lDZ6Uqt+I9E0wW7rvDUs7Q==" } } } } },
 *     onRequest: (request) => console.log(formatRequest(request)),
 *   });
 *   gateway.faults.next({ kind: "status", status: 503, retryAfter: 2 });
 *   // Publish to gateway.url, trusting gateway.ca; gateway.received then has the requests.
 *   await gateway.close();
 */
export async function startGateway(options: GatewayOptions = {}): Promise<Gateway> {
  checkOptions(options);
  const state = options.state === undefined ? undefined : new GatewayState(options.state);
  const sample = options.devices === undefined ? state?.sample() : undefined;
  const { devices: described = sample === undefined ? { products: {} } : describeSample(sample) } = options;
  const description = typeof described === "string" ? readDevicesFile(described) : described;
  const registry = new DeviceRegistry(description, options.maxDevices);
  state?.keep(registry);
  const https = options.https === true ? {} : options.https || undefined;
  const certificates = https === undefined ? undefined : certificatesOf(https, options, state);
  const caFile = https !== undefined && https.certificates === undefined ? state?.certificateFile : undefined;
  const running = new RunningGateway(options, registry, https, certificates, sample, caFile);
  await running.start();
  return running;
}

class RunningGateway implements Gateway {
  readonly addresses: string[] = [];
  readonly sample: SampleDevice | undefined;
  readonly caFile: string | undefined;
  readonly certificates: CertificateSet | undefined;
  readonly received: ReceivedRequest[] = [];
  readonly counts = emptyCounts();
  readonly faults: Faults;
  readonly devices: DeviceRegistry;
  clockSkewSeconds: number;
  readonly #options: GatewayOptions;
  readonly #rules: Rules;
  readonly #nonces: NonceMemory;
  readonly #connections: Connections;
  readonly #events = new GatewayEvents();
  readonly #app: FastifyInstance;
  readonly #http: Server;
  readonly #requests = new WeakMap<IncomingMessage, RequestContext>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #ui: Ui | undefined;
  #port = 0;
  #earlier: string;
  #closed: Promise<void> | undefined;

  constructor(
    options: GatewayOptions,
    registry: DeviceRegistry,
    https: HttpsOptions | undefined,
    certificates: CertificateSet | undefined,
    sample: SampleDevice | undefined,
    caFile: string | undefined,
  ) {
    this.#options = options;
    this.sample = sample;
    this.caFile = caFile;
    this.certificates = certificates;
    this.devices = registry;
    this.clockSkewSeconds = options.clockSkewSeconds ?? 0;
    this.faults = new Faults(https !== undefined, options.fault, options.randomFaults, () => this.#faultsChanged());
    if (options.onRequest !== undefined) {
      const { onRequest } = options;
      this.#events.subscribe((event) => {
        if (event.type === "request") onRequest(event.request);
      });
    }
    this.#nonces = new NonceMemory(options.maxNonces ?? 100_000);
    this.#rules = {
      registry,
      nonces: this.#nonces,
      rateLimit: options.rateLimit === undefined ? undefined : new RateLimit(options.rateLimit),
      style: { shape: options.responseShape ?? "response", mapStatus: options.mapStatus ?? false },
      windowSeconds: options.windowSeconds ?? 300,
      maxPayloadBytes: options.maxPayloadBytes ?? 16_384,
      signedHost: options.signedHost,
      diagnoses: new DiagnosisLimit(options.diagnosesPerSecond ?? 10),
    };
    this.#earlier = successResponse(this.#rules.style, randomUUID()).body;
    let http: Server | undefined;
    this.#app = fastify({
      bodyLimit: options.maxBodyBytes ?? 65_536,
      rewriteUrl: (request) => readTarget(request.url ?? "", request.headers.host ?? "").url,
      clientErrorHandler: (error, socket) => this.#rejectRequest(error, socket as Socket),
      // Only this gateway's listener passes connections to the HTTP server, so that faults can be injected before it.
      serverFactory: (handler) => {
        http = createServer(
          {
            keepAliveTimeout: options.keepAliveTimeoutMs ?? 60_000,
            headersTimeout: this.#requestTimeoutMs,
            // For the body there is a timeout that faults can exclude.
            requestTimeout: 0,
            connectionsCheckingInterval: Math.min(1000, Math.ceil(this.#requestTimeoutMs / 4)),
          },
          handler,
        );
        // Node checks the time limits of an HTTP server from when it listens, which this one never does by itself.
        http.emit("listening");
        return http;
      },
    });
    this.#http = http as unknown as Server;
    const tls = https === undefined || certificates === undefined ? undefined : tlsOptions(https, certificates);
    this.#connections = new Connections({
      faults: this.faults,
      counts: this.counts,
      tls,
      resumption: https?.resumption ?? true,
      maxConnections: options.maxConnections ?? 1000,
      handshakeTimeoutMs: this.#requestTimeoutMs,
      now: () => this.#now(0),
      passOn: (socket) => {
        this.#http.emit("connection", socket);
      },
      onTlsError: (error) => this.#events.emit({ type: "tlsError", error }),
      onDropped: ({ info }, reason) =>
        this.#events.emit({ type: "dropped", connection: info, reason, atMs: this.#now(0) }),
    });
    this.#connections.offline = options.offline ?? false;
    this.#route();
  }

  get host(): string {
    return this.addresses[0];
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    const host = isIPv6(this.host) ? `[${this.host}]` : this.host;
    return `${this.certificates === undefined ? "http" : "https"}://${host}:${this.#port}`;
  }

  get uiUrl(): string | undefined {
    return this.#ui?.url;
  }

  get ca(): string | undefined {
    return this.certificates?.root;
  }

  get tlsErrors(): readonly TlsError[] {
    return this.#connections.tlsErrors;
  }

  get offline(): false | "hang" | "reset" {
    return this.#connections.offline;
  }

  set offline(offline: false | "hang" | "reset") {
    checkOffline(offline);
    if (offline === this.#connections.offline) return;
    this.#connections.offline = offline;
    this.#faultsChanged();
  }

  async start(): Promise<void> {
    await this.#app.ready();
    this.#port = this.#options.port ?? 0;
    const hosts = hostsOf(this.#options);
    let gone: GatewayError | undefined;
    for (const host of hosts) {
      try {
        // If the system chooses the port, it does so for the first address.
        this.#port = await this.#connections.listen(host, this.#port);
        this.addresses.push(host);
      } catch (cause) {
        const error = listenError(cause as NodeJS.ErrnoException, host, this.#port);
        if ((cause as NodeJS.ErrnoException).code === "EADDRNOTAVAIL" && hosts.length > 1) {
          gone = error;
          continue;
        }
        await this.close();
        throw error;
      }
    }
    if (this.addresses.length === 0) {
      await this.close();
      throw gone;
    }
    const { ui } = this.#options;
    if (ui === undefined || ui === false) return;
    try {
      // Only who wants the page pays for loading it.
      const { startUi } = await import("../ui/index.js");
      this.#ui = await startUi(this, ui === true ? {} : ui);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  subscribe(listener: (event: GatewayEvent) => void): () => void {
    return this.#events.subscribe(listener);
  }

  clearReceived(): void {
    this.received.length = 0;
  }

  clearNonces(): void {
    this.#nonces.clear();
  }

  closeConnections(): void {
    this.#connections.destroyAll();
  }

  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    await this.#ui?.close();
    await this.#connections.close();
    await this.#app.close();
    // Ends the timer that checks time limits: Fastify closes only a server that listens.
    this.#http.close();
  }

  get #requestTimeoutMs(): number {
    return this.#options.requestTimeoutMs ?? 30_000;
  }

  #faultsChanged(): void {
    this.#events.emit({ type: "fault", fault: this.faults.permanent, offline: this.offline !== false });
  }

  #route(): void {
    const app = this.#app;
    // Raw bytes as signed, whatever the Content-Type, which is checked later.
    app.removeAllContentTypeParsers();
    app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
    app.addHook("onRequest", async (request, reply) => {
      if (this.#begin(request.raw, request.originalUrl, reply.raw) === "done") reply.hijack();
    });
    for (const endpoint of ["publish", "register", "reportlog"] as const) {
      app.post(`/device/${endpoint}`, async (request, reply) => {
        reply.hijack();
        this.#deal(request.raw, endpoint, (request.body as Buffer | undefined) ?? Buffer.alloc(0));
      });
    }
    app.setNotFoundHandler(async (request, reply) => {
      reply.hijack();
      this.#refuse(request.raw, "InvalidAction", "There is no such path for this method.", 404);
    });
    app.setErrorHandler(async (error: FastifyError, request, reply) => {
      reply.hijack();
      if (error.code === "FST_ERR_CTP_BODY_TOO_LARGE") {
        const message = `The body has more than ${this.#options.maxBodyBytes ?? 65_536} bytes.`;
        this.#refuse(request.raw, "RequestSizeLimitExceeded", message, 413);
      } else if (error.code?.startsWith("FST_ERR_CTP_INVALID_MEDIA_TYPE")) {
        this.#refuse(request.raw, "InvalidParameter", "Content-Type is not application/json.");
      } else if (request.raw.destroyed && !request.raw.complete) {
        const { entry } = this.#requests.get(request.raw) as RequestContext;
        entry.error ??= { code: "InternalError", message: "The connection ended before the body was complete." };
      } else {
        this.#refuse(request.raw, "InternalError", "The request could not be read.", error.statusCode ?? 500);
      }
    });
  }

  /** Called after the headers were read. `"done"`: the body is not needed. */
  #begin(request: IncomingMessage, url: string, response: ServerResponse): "go on" | "done" {
    const connection = this.#connections.of(request.socket);
    if (connection.silent !== undefined) {
      this.counts.ignored++;
      if (connection.silent === "reset") reset(connection);
      return "done";
    }
    const { counts, received } = this;
    counts.requests++;
    connection.used = true;
    const startedAt = performance.now();
    const entry: ReceivedRequest = {
      index: counts.requests,
      receivedAtMs: this.#now(0),
      connection: connection.info,
      method: request.method ?? "",
      url,
      headers: plainHeaders(request),
      body: Buffer.alloc(0),
      accepted: false,
    };
    received.push(entry);
    if (received.length > (this.#options.maxReceived ?? 1000)) received.shift();
    let fault: Fault | undefined;
    let unreadable: string | undefined;
    try {
      fault = this.#chosenFault(request) ?? this.faults.ofRequest();
    } catch (error) {
      unreadable = (error as Error).message;
    }
    if (fault !== undefined) {
      counts.faults++;
      entry.fault = fault;
    }
    const skew = fault?.kind === "skew" ? fault.seconds : 0;
    const nowMs = this.#now(skew);
    const date = new Date(nowMs).toUTCString();
    const delivery = {
      response,
      connection,
      date,
      earlier: this.#earlier,
      later: (ms: number, action: () => void) => this.#later(ms, action),
      onHead: (status: number) => {
        entry.status = status;
      },
    };
    this.#requests.set(request, { entry, fault, delivery, nowMs });
    response.on("close", () => {
      entry.durationMs = performance.now() - startedAt;
      if (!entry.accepted) counts.refused++;
      this.#events.emit({ type: "request", request: entry });
    });
    if (unreadable !== undefined) {
      this.#refuse(request, "InvalidParameterValue", unreadable, 400);
      return "done";
    }
    const next = fault === undefined ? "go on" : this.#strikeEarly(request, connection, fault, delivery, entry);
    if (next === "go on") this.#limitBody(request, response, entry);
    return next;
  }

  /** Ends the connection of a request whose body takes too long. */
  #limitBody(request: IncomingMessage, response: ServerResponse, entry: ReceivedRequest): void {
    const ms = this.#requestTimeoutMs;
    const timer = this.#later(ms, () => {
      entry.error ??= { code: "RequestTimeout", message: `The body was not complete after ${seconds(ms)}.` };
      request.socket.destroySoon();
    });
    const clear = (): void => this.#forget(timer);
    request.once("end", clear);
    response.once("close", clear);
  }

  #strikeEarly(
    request: IncomingMessage,
    connection: Delivery["connection"],
    fault: Fault,
    delivery: Omit<Delivery, "content">,
    entry: ReceivedRequest,
  ): "go on" | "done" {
    if ("phase" in fault && fault.phase === "read") {
      if (fault.kind === "hang") request.pause();
      if (fault.kind === "reset") reset(connection);
      if (fault.kind === "close") request.socket.destroySoon();
      return "done";
    }
    if (fault.kind === "early") {
      const content = this.#madeUp(fault.status === undefined || fault.status < 300 ? undefined : fault.status, entry);
      sendFaultyResponse({ ...delivery, content }, fault);
      if (fault.keepOpen) request.resume();
      return "done";
    }
    return "go on";
  }

  /** Called after the body was read. */
  #deal(request: IncomingMessage, endpoint: Endpoint, body: Buffer): void {
    const { entry, fault, delivery, nowMs } = this.#requests.get(request) as RequestContext;
    entry.body = body;
    if (fault !== undefined && refusesRequest(fault)) {
      const content =
        fault.kind === "error"
          ? this.#errorOf(entry, fault.code, fault.message ?? INJECTED, fault.status)
          : this.#madeUp(fault.kind === "status" ? fault.status : 502, entry);
      if (fault.kind === "error") this.#respond(delivery, content);
      else sendFaultyResponse({ ...delivery, content }, fault);
      return;
    }
    const repeated = fault?.kind === "repeated" ? delivery.connection.sent.at(-(fault.ago ?? 1)) : undefined;
    if (repeated !== undefined) {
      this.#respond(delivery, repeated);
      return;
    }
    const content = handleRequest(this.#rules, endpoint, entry, nowMs);
    if (entry.accepted) this.counts.accepted++;
    if (fault === undefined || fault.kind === "repeated") this.#respond(delivery, content);
    else sendFaultyResponse({ ...delivery, content }, fault);
    this.#earlier = content.body;
  }

  /** Sends a correct response and records it. */
  #respond(delivery: Omit<Delivery, "content">, content: ResponseContent): void {
    const { sent } = delivery.connection;
    sent.push(content);
    if (sent.length > 16) sent.shift();
    sendResponse({ ...delivery, content });
  }

  #refuse(request: IncomingMessage, code: Refusal["code"], message: string, status = 200): void {
    const { entry, delivery } = this.#requests.get(request) as RequestContext;
    const content = this.#errorOf(entry, code, message);
    // The unread rest of the body must not be parsed as the next request.
    const more: Record<string, string> = request.complete ? {} : { connection: "close" };
    sendResponse({ ...delivery, content: { ...content, status: Math.max(status, content.status) } }, more);
  }

  #errorOf(entry: ReceivedRequest, code: string, message: string, status?: number): ResponseContent {
    entry.requestId = randomUUID();
    entry.error = { code, message };
    return errorResponse(this.#rules.style, entry.requestId, code, message, status);
  }

  /** Returns a response for a fault: a success, or an error that fits the status. */
  #madeUp(status: number | undefined, entry: ReceivedRequest): ResponseContent {
    if (status === undefined) {
      entry.requestId = randomUUID();
      return successResponse(this.#rules.style, entry.requestId);
    }
    const code = status === 429 ? "RequestLimitExceeded" : status >= 500 ? "InternalError" : "InvalidAction";
    return { ...this.#errorOf(entry, code, INJECTED), status };
  }

  /** Called for a connection on which no complete head can be read. */
  #rejectRequest(error: { readonly code?: string; readonly bytesParsed?: number }, socket: Socket): void {
    const connection = this.#connections.of(socket);
    const tooSlow = error.code === "ERR_HTTP_REQUEST_TIMEOUT";
    if (tooSlow) {
      connection.reason ??= `the head of the request was not complete after ${seconds(this.#requestTimeoutMs)}`;
    } else if (error.code === "HPE_INVALID_EOF_STATE") {
      connection.reason ??= "the client closed the connection within a request";
    } else if (error.code === "HPE_HEADER_OVERFLOW") {
      connection.reason ??= "the head of the request is too long";
    } else if (error.code?.startsWith("HPE_")) {
      connection.reason ??= `not HTTP (${error.code})`;
    }
    if (!socket.writable) return;
    const [status, code, message] = tooSlow
      ? ["408 Request Timeout", "RequestTimeout", "The head of the request took too long."]
      : ["400 Bad Request", "UnsupportedProtocol", "This is not HTTP."];
    const { body } = errorResponse(this.#rules.style, randomUUID(), code, message);
    const head = `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}`;
    socket.end(`${head}\r\nConnection: close\r\n\r\n${body}`, () => socket.destroySoon());
  }

  #chosenFault(request: IncomingMessage): Fault | undefined {
    const name = this.#options.faultHeader;
    const text = name === undefined ? undefined : request.headers[name.toLowerCase()];
    if (typeof text !== "string") return undefined;
    const fault = parseFault(text);
    if (concernsConnection(fault)) {
      throw new GatewayError(
        "INVALID_OPTION",
        `The fault ${text.slice(0, 40)} must be set before the connection is opened.`,
      );
    }
    return fault;
  }

  #now(skewSeconds: number): number {
    return (this.#options.now ?? Date.now)() + (this.clockSkewSeconds + skewSeconds) * 1000;
  }

  #later(ms: number, action: () => void): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, ms);
    this.#timers.add(timer);
    return timer;
  }

  #forget(timer: NodeJS.Timeout): void {
    clearTimeout(timer);
    this.#timers.delete(timer);
  }
}

/** Formats a time limit, such as `30 s`. */
function seconds(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000} s` : `${ms} ms`;
}

function hostsOf({ host = "127.0.0.1" }: GatewayOptions): readonly string[] {
  return typeof host === "string" ? [host] : host;
}

function certificatesOf(https: HttpsOptions, options: GatewayOptions, state: GatewayState | undefined): CertificateSet {
  const { certificates, certificateOptions } = https;
  const { names = [] } = options;
  // 0.0.0.0 and :: are no addresses that a client connects to.
  const addresses = hostsOf(options).filter((address) => address !== "0.0.0.0" && address !== "::");
  const hosts = [...new Set(["localhost", ...names, "127.0.0.1", ...addresses])];
  if (certificates === undefined && state !== undefined) {
    const nowMs = certificateOptions?.nowMs ?? Date.now();
    return issueCertificate(state.authority(names, nowMs), certificateOptions?.hosts ?? hosts, nowMs);
  }
  if (certificates !== undefined && typeof certificates !== "string") return certificates;
  if (certificates !== undefined) return makeCertificates(certificates, certificateOptions);
  return makeCertificates("chain", { hosts, ...certificateOptions });
}

function tlsOptions(https: HttpsOptions, { key, chain }: CertificateSet): TlsOptions & { secureOptions?: number } {
  const { minVersion = "TLSv1.2", maxVersion, ecdhCurve, resumption = true, clientCertificate } = https;
  const ciphers = withoutSecurityLevel(https.ciphers ?? DEFAULT_CIPHERS);
  return {
    key,
    cert: chain,
    ciphers,
    minVersion,
    ...(maxVersion === undefined ? {} : { maxVersion }),
    ...(ecdhCurve === undefined ? {} : { ecdhCurve }),
    ...(resumption ? {} : { secureOptions: constants.SSL_OP_NO_TICKET }),
    ...(clientCertificate === undefined
      ? {}
      : {
          ca: clientCertificate.ca,
          requestCert: true,
          rejectUnauthorized: clientCertificate.required ?? true,
        }),
    ALPNProtocols: ["http/1.1"],
  };
}

/** Otherwise OpenSSL refuses to serve what correct clients must reject: SHA-1, TLS 1.0. */
function withoutSecurityLevel(ciphers: string): string {
  const lenient = `${ciphers}:@SECLEVEL=0`;
  try {
    createSecureContext({ ciphers: lenient });
    return lenient;
  } catch {
    // BoringSSL, in Bun, has no security levels and rejects the command; a wrong list of ciphers fails later.
    return ciphers;
  }
}

function plainHeaders(request: IncomingMessage): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : value]),
  );
}

export function listenError(error: NodeJS.ErrnoException, host: string, port: number): GatewayError {
  const where = `${host}:${port}`;
  if (error.code === "EADDRINUSE")
    return new GatewayError("PORT_IN_USE", `Another program listens on ${where}.`, error);
  if (error.code === "EACCES") {
    return new GatewayError("PORT_FORBIDDEN", `This user may not listen on ${where}; try a port above 1023.`, error);
  }
  return new GatewayError("LISTEN_FAILED", `The gateway cannot listen on ${where} (${error.code}).`, error);
}
