/** The app on the simulator: carries out what the test script sends, and reports what came of it. */
import TCP from "embedded:io/socket/tcp";
import config from "mc/config";
import { createHost, Device, type IotHubError, type ModdableHost } from "tencent-iothub-xs";
import { verifyChain } from "tencent-iothub-xs/host/moddable/tls/chain";
import { sdkPrimitives } from "tencent-iothub-xs/host/moddable/tls/primitives";
import { Rejection } from "tencent-iothub-xs/host/moddable/tls/rejection";
import { isSignature } from "tencent-iothub-xs/host/moddable/tls/verify";
import {
  base64,
  base64Decode,
  hex,
  readRsaPrivateKey,
  sha256,
  utf8,
  utf8Decode,
} from "tencent-iothub-xs/src/entries/crypto";
import type { HttpRequest, HttpResponse } from "tencent-iothub-xs/src/entries/host";
import { Attempt, type PhaseTimeouts } from "tencent-iothub-xs/src/request/lifecycle";
import type { SocketClass } from "tencent-iothub-xs/test/support/tcp-io.cases";

/** Of the machine, after a collection: heap.c. */
declare function native(name: string): () => number;
const heapUsed = native("xs_test_heapUsed");

const LIMIT_MS = 300000;
const control = createHost({ storage: false });
let host: ModdableHost | undefined;
let device: Device | undefined;

interface Outcome {
  ok: boolean;
  [name: string]: unknown;
}

function failure(error: unknown): Outcome {
  const { code, message, phase, stale, gatewayCode, status } = error as IotHubError & Record<string, unknown>;
  const cause = (error as { cause?: unknown }).cause;
  return {
    ok: false,
    code: code ?? "none",
    message,
    phase,
    stale,
    gatewayCode,
    status,
    cause: cause === undefined ? undefined : String(cause),
  };
}

async function attempt(action: () => Promise<object>): Promise<Outcome> {
  try {
    return { ok: true, ...(await action()) };
  } catch (error) {
    return failure(error);
  }
}

const operations: Record<string, (command: any) => Promise<object>> = {
  /** A new host; the one before is closed. */
  async host({ options }) {
    device?.close();
    device = undefined;
    host?.close();
    const { trustAnchors, clientCertificate, clientKey } = options;
    host = createHost({
      ...options,
      trustAnchors: trustAnchors?.map(base64Decode),
      clientCertificate: clientCertificate?.map(base64Decode),
      clientKey: clientKey && base64Decode(clientKey),
    });
    return { digest: host.digest !== undefined, rsa: host.rsa !== undefined };
  },
  async device({ options }) {
    device?.close();
    const { credential } = options;
    device = new Device(
      {
        ...options,
        credential: credential.privateKey
          ? { privateKey: credential.der ? base64Decode(credential.privateKey) : credential.privateKey }
          : credential,
      },
      host,
    );
    return {};
  },
  async publish({ messages, timeoutMs }) {
    const outcomes: Outcome[] = [];
    for (const message of messages) {
      outcomes.push(await attempt(() => (device as Device).publish(message, { timeoutMs })));
    }
    return { outcomes };
  },
  /** Wakes one after the other: a host and a device each, which publish once. The session of an earlier one is forgotten. */
  async wakes({ host: hostOptions, device: deviceOptions, count }) {
    await operations.host({ options: hostOptions });
    await (host as ModdableHost).forget();
    const resumed: (boolean | undefined)[] = [];
    for (let i = 0; i < count; i++) {
      await operations.host({ options: hostOptions });
      await operations.device({ options: deviceOptions });
      const { timing } = await (device as Device).publish({ topic: "data", payload: `${i}`, qos: 1 });
      resumed.push(timing.resumed);
    }
    const openBytes = heapUsed();
    device?.close();
    host?.close();
    device = host = undefined;
    const heapBytes = heapUsed();
    return { resumed, heapBytes, heldBytes: openBytes - heapBytes };
  },
  /** Several at once. */
  async burst({ messages, timeoutMs }) {
    const outcomes = messages.map((message: any) => attempt(() => (device as Device).publish(message, { timeoutMs })));
    return { outcomes: await Promise.all(outcomes) };
  },
  /** One request past the core. */
  async send({ request, options, closeAfterMs }) {
    const { http, timer } = host as ModdableHost;
    const closing = closeAfterMs === undefined ? undefined : timer.set(() => http.close(), closeAfterMs);
    const outcome = await attempt(async () => {
      const whole = { method: "POST", headers: {}, ...request, body: utf8(request.body) };
      const response = await send(host as ModdableHost, whole, options);
      return { ...response, body: utf8Decode(response.body) };
    });
    timer.clear(closing);
    return { outcome };
  },
  async cancel({ message, afterMs }) {
    let listener: (() => void) | undefined;
    const signal = {
      aborted: false,
      addEventListener(_type: "abort", added: () => void) {
        listener = added;
      },
      removeEventListener() {
        listener = undefined;
      },
    };
    (host as ModdableHost).timer.set(() => {
      signal.aborted = true;
      listener?.();
    }, afterMs);
    return { outcomes: [await attempt(() => (device as Device).publish(message, { signal }))] };
  },
  async synchronize() {
    const { clock } = host as ModdableHost;
    return { outcome: await attempt(() => clock.synchronize().then(() => ({ nowMs: clock.nowMs() }))) };
  },
  async synchronizeTwice() {
    const { clock } = host as ModdableHost;
    await Promise.all([clock.synchronize(), clock.ready(), clock.synchronize()]);
    return { nowMs: clock.nowMs() };
  },
  async random({ count }) {
    const { random } = host as ModdableHost;
    // As the core does before its first nonce.
    await random.ready?.();
    const values: string[] = [];
    for (let i = 0; i < count; i++) values.push(hex(random.bytes(8)));
    return { values };
  },
  async store({ values }) {
    const { storage } = host as ModdableHost;
    if (!storage) throw new Error("no storage");
    for (const [key, value] of Object.entries(values)) {
      if (value === null) await storage.delete(key);
      else await storage.set(key, value as string);
    }
    return {};
  },
  async stored() {
    const { storage } = host as ModdableHost;
    if (!storage) throw new Error("no storage");
    const values: Record<string, string | undefined> = {};
    for (const key of await storage.keys()) values[key] = await storage.get(key);
    return { values };
  },
  async storeBadly() {
    const { storage } = host as ModdableHost;
    if (!storage) throw new Error("no storage");
    return {
      outcomes: [
        await attempt(() => storage.set("", "x").then(() => ({}))),
        await attempt(() => storage.set("sixteen-letters.", "x").then(() => ({}))),
        await attempt(() => storage.set("big", "x".repeat(4000)).then(() => ({}))),
      ],
    };
  },
  async native({ key, text }) {
    const { digest, rsa } = host as ModdableHost;
    const bytes = utf8(text);
    return {
      digest: digest && hex(digest.sha256(bytes)),
      portable: hex(sha256(bytes)),
      signature: rsa && base64(rsa.sign(readRsaPrivateKey(base64Decode(key)).der, bytes)),
    };
  },
  /** Runs a case of the list for TCP sockets with the SDK's. */
  async tcp({ name, port }) {
    const { tcpIoCases } = await import("tencent-iothub-xs/test/support/tcp-io.cases");
    const found = tcpIoCases.find((each) => each.name === name);
    if (!found) throw new Error(`There is no case "${name}" for TCP sockets.`);
    return { outcome: await found.client(TCP as unknown as SocketClass, port) };
  },
  /** Runs a recorded handshake on the SDK's session. */
  async replay({ each }) {
    const { replay } = await import("tencent-iothub-xs/test/support/tls-replay");
    return replay(each);
  },
  /** Judges a chain; several times where the time counts. */
  async chain({ chain, anchors, host, nowMs, times = 1 }) {
    const ders = chain.map(base64Decode);
    const trust = { anchors: anchors.map(base64Decode), pins: [], acceptAnything: false, nowMs: () => nowMs };
    const start = Date.now();
    let reason = "";
    for (let i = 0; i < times; i++) {
      try {
        verifyChain(ders, host, trust, sdkPrimitives);
      } catch (error) {
        if (!(error instanceof Rejection)) throw error;
        reason = error.message;
      }
    }
    return { reason, ms: (Date.now() - start) / times };
  },
  async signature({ key, hash, message, signature }) {
    const read = Object.fromEntries(
      Object.entries(key).map(([name, value]) => [
        name,
        name === "type" || name === "curve" ? value : base64Decode(value as string),
      ]),
    );
    const parts = [base64Decode(message)];
    return {
      good: isSignature(sdkPrimitives, read as any, { key: key.type, hash }, base64Decode(signature), parts),
    };
  },
  // The conformance suite is loaded when it is asked for: the other tests run in a heap without it.
  /** The names of all its cases that were built into this app. */
  async cases() {
    const { suites } = await import("tencent-iothub-xs/test/conformance/suites");
    return { suites: Object.entries(suites).map(([suite, cases]) => [suite, cases.map((each) => each.name)]) };
  },
  /** Runs one of its cases; `input` is JSON. */
  async conformance({ suite, name, input }) {
    const { Check } = await import("tencent-iothub-xs/test/conformance/check");
    const { suites } = await import("tencent-iothub-xs/test/conformance/suites");
    const found = suites[suite]?.find((each) => each.name === name);
    if (!found) throw new Error(`There is no case "${name}" in the suite "${suite}".`);
    const check = new Check();
    const outcome = await attempt(async () => {
      await found.run(check, input === undefined ? undefined : JSON.parse(input));
      return {};
    });
    return { outcome, checks: check.count };
  },
};

/** Sends one request with the limits that the core keeps. */
async function send(
  by: ModdableHost,
  request: HttpRequest,
  { timeoutMs = LIMIT_MS, maxResponseBytes = 16384, phaseTimeoutsMs }: SendOptions,
): Promise<HttpResponse> {
  const limits = { attemptTimeoutMs: timeoutMs, phaseTimeoutsMs, maxResponseBytes, fresh: false };
  const attempt = new Attempt(by, limits);
  try {
    return await attempt.send(request);
  } finally {
    attempt.end();
  }
}

interface SendOptions {
  readonly timeoutMs?: number;
  readonly maxResponseBytes?: number;
  readonly phaseTimeoutsMs?: PhaseTimeouts;
}

async function ask(result: object): Promise<any> {
  const { body } = await send(
    control,
    {
      scheme: "http",
      host: "127.0.0.1",
      port: Number(config.control),
      method: "POST",
      path: "/",
      headers: {},
      body: utf8(JSON.stringify(result)),
    },
    { timeoutMs: LIMIT_MS, maxResponseBytes: 262144 },
  );
  return JSON.parse(utf8Decode(body));
}

async function run(): Promise<void> {
  let result: object = { started: true };
  for (;;) {
    const command = await ask(result);
    if (command.op === "end") break;
    try {
      result = await operations[command.op](command);
    } catch (error) {
      result = { thrown: failure(error) };
    }
  }
}

run().then(
  () => trace("ended\n"),
  (error) => trace(`control failed: ${error}\n`),
);
