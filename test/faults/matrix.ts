/**
 * Every fault of the local gateway, on a new and on a keep-alive connection, with a key and with a certificate, over
 * HTTP and HTTPS, on any host that runs under Node. What must hold in each cell is checked here; what came of it goes
 * into a table.
 */

import { createPrivateKey, sign } from "node:crypto";
import {
  createMemoryStorage,
  Device,
  type DeviceOptions,
  type Host,
  IotHubError,
  type PublishResult,
} from "../../src/index.js";
import {
  type CertificateSet,
  concernsConnection,
  type Fault,
  type Gateway,
  makeCertificates,
  startGateway,
} from "../../tools/gateway/index.js";
import { makeRsaKeys, psk } from "../support/keys.js";
import { LIMIT_MS, limits } from "../support/limits.js";

/** What the matrix needs of a host. */
export interface HostUnderTest {
  readonly name: string;
  readonly schemes: readonly ("http" | "https")[];
  /** A new host that trusts the root. The matrix closes its connections. */
  create(root: CertificateSet): Host;
}

export interface Cell {
  readonly fault: Fault;
  readonly connection: "new" | "kept";
  readonly scheme: "http" | "https";
  readonly credential: "key" | "certificate";
}

/** What came of one cell. */
export interface Outcome {
  /** A publish without retries: `delivered` or the error's code. */
  readonly once: string;
  /** How often the gateway took that message. */
  readonly onceTaken: number;
  /** Two messages in an outbox, the first of which gets the fault: its outcome. */
  readonly outbox: string;
  readonly outboxTaken: number;
  /** What should not have been. */
  readonly wrong: readonly string[];
}

const phases = ["connect", "read", "headers", "body"] as const;

export const faults: readonly Fault[] = [
  { kind: "delay", ms: 30, phase: "headers" },
  { kind: "delay", ms: 30, phase: "body" },
  ...phases.map((phase) => ({ kind: "hang", phase }) as const),
  ...phases.map((phase) => ({ kind: "reset", phase }) as const),
  ...phases.map((phase) => ({ kind: "close", phase }) as const),
  ...[302, 400, 401, 403, 404, 408, 413, 500, 502, 503].map((status) => ({ kind: "status", status }) as const),
  { kind: "status", status: 429, retryAfter: 1 },
  { kind: "error", code: "InternalError" },
  { kind: "error", code: "RequestLimitExceeded" },
  { kind: "error", code: "AuthFailure.SignatureFailure" },
  { kind: "error", code: "AuthFailure.SignatureExpire" },
  { kind: "error", code: "AuthFailure.NonceReused" },
  { kind: "error", code: "FailedOperation.InvalidTopicName" },
  { kind: "error", code: "UnauthorizedOperation" },
  { kind: "error", code: "Code.Of.Tomorrow" },
  { kind: "html" },
  { kind: "html", status: 200 },
  { kind: "empty" },
  { kind: "empty", status: 500 },
  { kind: "truncated" },
  { kind: "malformed-json" },
  { kind: "content-type" },
  { kind: "too-large" },
  { kind: "slow-drip", bytes: 30, intervalMs: 5 },
  { kind: "slow-drip", bytes: 1, intervalMs: 200 },
  ...(["less", "more", "negative", "text", "twice"] as const).map(
    (length) => ({ kind: "wrong-length", length }) as const,
  ),
  { kind: "bad-chunk" },
  { kind: "garbage" },
  { kind: "interim" },
  { kind: "other-response" },
  { kind: "repeated" },
  { kind: "two-responses" },
  { kind: "early" },
  { kind: "early", status: 503 },
  { kind: "early", status: 503, keepOpen: true },
  ...(["ignore", "close", "reset"] as const).map((afterwards) => ({ kind: "half-open", afterwards }) as const),
  { kind: "skew", seconds: 7200 },
  { kind: "skew", seconds: -7200 },
  { kind: "tls-alert" },
  { kind: "tls-close" },
  { kind: "tls-close", afterBytes: 100 },
  { kind: "tls-hang" },
  { kind: "tls-key-exchange" },
];

/** Faults that only a limit of time ends. */
function waits(fault: Fault): boolean {
  return /\bhang\b|ignore|more|intervalMs 200/.test(faultName(fault));
}

/**
 * Tells when a limit is over: once the gateway has done its part of the fault and nothing else would ever come. It is
 * asked again and again, and says so once for each time that the gateway leaves the device alone.
 */
function isLeftAlone({ fault }: Cell, gateway: Gateway): (() => boolean) | undefined {
  if (!waits(fault)) return undefined;
  const count = () => {
    if (fault.kind === "half-open") return gateway.counts.ignored;
    // Where the gateway takes the message, it has come that far only then.
    if (concernsConnection(fault) || ("phase" in fault && fault.phase === "read")) return gateway.counts.faults;
    return gateway.received.filter(({ fault: own, accepted }) => own !== undefined && accepted).length;
  };
  let passed = count();
  return () => {
    const is = count() > passed;
    if (is) passed++;
    return is;
  };
}

const productId = "G8N9VAAAHB";

/** The cells of one fault. */
export function cellsOf(fault: Fault, schemes: HostUnderTest["schemes"]): Cell[] {
  const all: Cell[] = [];
  for (const scheme of schemes) {
    if (fault.kind.startsWith("tls-") && scheme === "http") continue;
    for (const connection of concernsConnection(fault) ? (["new"] as const) : (["new", "kept"] as const)) {
      for (const credential of ["key", "certificate"] as const) all.push({ fault, scheme, connection, credential });
    }
  }
  return all;
}

/** How a cell is called: `hang:body`, `status:503`. */
export function faultName({ kind, ...rest }: Fault): string {
  return [
    kind,
    ...Object.entries(rest).map(([name, value]) => (typeof value === "string" ? value : `${name} ${value}`)),
  ].join(", ");
}

export interface Shared {
  readonly certificates: CertificateSet;
  readonly privateKey: string;
  readonly publicKey: string;
}

export function prepare(): Shared {
  const { privatePem, publicPem } = makeRsaKeys();
  return { certificates: makeCertificates("chain"), privateKey: privatePem, publicKey: publicPem };
}

/** The gateway of all cells of a scheme. */
export function startFor(scheme: Cell["scheme"], shared: Shared): Promise<Gateway> {
  return startGateway({
    devices: {
      products: { [productId]: { devices: { key: { psk }, certificate: { publicKey: shared.publicKey } } } },
    },
    // TLS 1.2, for the one fault that is about its handshake, and as it is what the Moddable host speaks.
    https: scheme === "https" && { certificates: shared.certificates, maxVersion: "TLSv1.2" },
  });
}

/** Runs one cell on a gateway that is as good as new afterwards. */
export async function runCell(cell: Cell, host: HostUnderTest, shared: Shared, gateway: Gateway): Promise<Outcome> {
  const wrong: string[] = [];
  const renew = () => {
    gateway.faults.clear();
    gateway.closeConnections();
    gateway.clearReceived();
  };
  const once = await single(cell, host, shared, gateway, wrong);
  renew();
  const outbox = await boxed({ ...cell, once: once.once }, host, shared, gateway, wrong);
  renew();
  return { ...once, ...outbox, wrong };
}

function create(cell: Cell, host: HostUnderTest, shared: Shared, gateway: Gateway, changes: Partial<DeviceOptions>) {
  // Signing is not what is tried here, and in JavaScript it takes most of the time.
  const rsa = {
    sign: (der: Uint8Array, message: Uint8Array) =>
      sign("sha256", message, createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs1" })),
  };
  const created = host.create(shared.certificates);
  const made = {
    ...created,
    clock: limits.clockOf(created.clock),
    timer: limits.timerOf(created.timer),
    storage: createMemoryStorage(),
    rsa,
  };
  const credential = cell.credential === "key" ? { secret: psk } : { privateKey: shared.privateKey };
  const device = new Device(
    { productId, deviceName: cell.credential, credential, url: gateway.url, rateLimit: false, ...changes },
    made,
  );
  return {
    device,
    close: () => {
      device.close();
      made.http.close();
    },
  };
}

/** One publish with the fault, then one without. */
async function single(cell: Cell, host: HostUnderTest, shared: Shared, gateway: Gateway, wrong: string[]) {
  const { device, close } = create(cell, host, shared, gateway, { retry: false, timeoutMs: 2 * LIMIT_MS });
  try {
    for (let i = 0; cell.connection === "kept" && i < 2; i++)
      await device.publish({ topic: "data", payload: "before" });
    const isDue = isLeftAlone(cell, gateway);
    gateway.faults.next(cell.fault);
    const faulty = device.publish({ topic: "data", payload: "faulty" }, { timeoutMs: LIMIT_MS });
    const { result, error } = await limits.passWhen(isDue, settle(faulty));
    if (result && result.requestId !== idOf(gateway, "faulty")) {
      // The response of another request cannot be recognized before two responses have arrived.
      const untold = cell.fault.kind === "other-response" && cell.connection === "new";
      // A gateway that acknowledges an unread message cannot be distinguished from one that read it.
      if (!untold && cell.fault.kind !== "early") wrong.push("took another's response");
    }
    // A connection that is dead without a word can only be found out by the time it takes.
    const retry = { attemptTimeoutMs: LIMIT_MS, baseDelayMs: 1, maxDelayMs: 2, maxAttempts: 3 };
    const following = device.publish({ topic: "data", payload: "next" }, { retry });
    const next = await limits.passWhen(isDue, settle(following));
    if (next.result && next.result.requestId !== idOf(gateway, "next")) wrong.push("the next took another's response");
    if (next.error) wrong.push(`the next failed: ${next.error.code}`);
    return { once: error ? error.code : "delivered", onceTaken: taken(gateway, "faulty") };
  } finally {
    close();
  }
}

/** Two messages through an outbox, the first with the fault. */
async function boxed(
  cell: Cell & { readonly once?: string },
  host: HostUnderTest,
  shared: Shared,
  gateway: Gateway,
  wrong: string[],
) {
  const results = new Map<string, PublishResult>();
  const dropped: string[] = [];
  const { device, close } = create(cell, host, shared, gateway, {
    timeoutMs: 2 * LIMIT_MS,
    retry: { baseDelayMs: 1, maxDelayMs: 2, attemptTimeoutMs: LIMIT_MS },
    outbox: {
      flushIntervalMs: 0,
      onDelivered: ({ payload }, result) => results.set(String(payload), result),
      onDropped: ({ message, reason }) => dropped.push(`${message?.payload} ${reason}`),
    },
  });
  try {
    for (let i = 0; cell.connection === "kept" && i < 2; i++)
      await device.publish({ topic: "data", payload: "before" });
    const isDue = isLeftAlone(cell, gateway);
    gateway.faults.next(cell.fault);
    await device.enqueue({ topic: "data", payload: "first" });
    await device.enqueue({ topic: "data", payload: "second" });
    const deadlineMs = 4 * LIMIT_MS;
    const flush = await limits.passWhen(isDue, device.flush({ deadlineMs }));
    let outbox: string;
    const accepted = () => gateway.received.filter((one) => one.accepted).map(({ payload }) => String(payload));
    // A message that is rejected is passed over: the second may then be the first.
    const passedOver = accepted().includes("second") && accepted().lastIndexOf("first") > accepted().indexOf("second");
    const how = (flush.error === undefined && !passedOver) || flush.remaining === 2 ? "" : "passed over, ";
    if (flush.reason !== "empty") {
      if (flush.remaining !== (flush.delivered > 0 ? 1 : 2)) wrong.push(`${flush.remaining} kept`);
      outbox = `${how}kept (${flush.reason}), delivered by the next flush`;
      if ((await device.flush({ deadlineMs })).remaining > 0) wrong.push("the next flush kept some");
    } else if (dropped.length > 0) {
      if (dropped.join() !== "first refused") wrong.push(`dropped ${dropped.join()}`);
      outbox = "handed back";
    } else {
      outbox = `${how}delivered by attempt ${results.get("first")?.attempts}`;
    }
    // What happens to a connection once it had a response on, happens to the next message.
    const most = cell.fault.kind === "half-open" ? 2 : 1;
    if (taken(gateway, "second") < 1 || taken(gateway, "second") > most)
      wrong.push(`the second was taken ${taken(gateway, "second")} times`);
    if (outbox !== "handed back" && !results.has("first")) wrong.push("the first was lost");
    const order = accepted();
    const isResponse = /GATEWAY_REJECTED|HTTP_STATUS|RESPONSE_/.test(cell.once ?? "");
    if (!isResponse && order.lastIndexOf("first") > order.indexOf("second")) wrong.push("out of order");
    return { outbox, outboxTaken: taken(gateway, "first") };
  } finally {
    close();
  }
}

async function settle(promise: Promise<PublishResult>): Promise<{ result?: PublishResult; error?: IotHubError }> {
  try {
    return { result: await promise };
  } catch (error) {
    if (error instanceof IotHubError) return { error };
    throw error;
  }
}

function taken(gateway: Gateway, payload: string): number {
  return gateway.received.filter((request) => request.accepted && String(request.payload) === payload).length;
}

function idOf(gateway: Gateway, payload: string): string | undefined {
  return gateway.received.findLast((request) => request.accepted && String(request.payload) === payload)?.requestId;
}

/** The outcomes as a table in Markdown: a row for a fault and a kind of connection, a column for a scheme. */
export function tableOf(host: HostUnderTest, outcomes: ReadonlyMap<Cell, Outcome>): string {
  const rows = new Map<string, Map<string, Set<string>>>();
  for (const [{ fault, connection, scheme }, { once, onceTaken, outbox, outboxTaken }] of outcomes) {
    const name = `\`${faultName(fault)}\` | ${connection}`;
    const row = rows.get(name) ?? new Map<string, Set<string>>();
    rows.set(name, row);
    const texts = row.get(scheme) ?? new Set();
    row.set(scheme, texts);
    texts.add(`${code(once)}, ${onceTaken} | ${outbox}, ${outboxTaken}`);
  }
  const head = host.schemes.map((scheme) => `${scheme.toUpperCase()}: one attempt | ${scheme.toUpperCase()}: outbox`);
  const lines = [
    `# Outcome of each fault on the ${host.name} host`,
    "",
    "Generated by the tests in this folder; `UPDATE_OUTCOMES=1 npm test -- test/faults` rewrites it. Each row was run with a",
    "key and with a certificate. The number is how often the gateway accepted the message with the fault: 2 is a duplicate,",
    "which at-least-once delivery allows.",
    "",
    `| fault | connection | ${head.join(" | ")} |`,
    `|${" --- |".repeat(2 + 2 * host.schemes.length)}`,
  ];
  for (const [name, row] of rows) {
    const columns = host.schemes.map((scheme) => [...(row.get(scheme) ?? ["– | –"])].join(" or "));
    lines.push(`| ${name} | ${columns.join(" | ")} |`);
  }
  return `${lines.join("\n")}\n`;
}

function code(once: string): string {
  return once === "delivered" ? once : `\`${once}\``;
}
