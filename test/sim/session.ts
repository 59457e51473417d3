/** What a test of the suite gets to work with: the app on the simulator, gateways, and a list of what does not hold. */
import { generateKeyPairSync } from "node:crypto";
import { type Gateway, type GatewayOptions, startGateway } from "../../tools/gateway/index.js";
import type { Control } from "./control.js";
import type { Simulator } from "./simulator.js";

const PRODUCT = "ABCDEFGHIJ";
const PSK = "c2ltdWxhdG9yLXRlc3Qta2V5MTIz";
export const identity = { productId: PRODUCT, deviceName: "sim", credential: { secret: PSK } };
export const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const devices = {
  products: {
    [PRODUCT]: {
      devices: {
        sim: { psk: PSK },
        rsa: { publicKey: rsa.publicKey.export({ type: "spki", format: "pem" }) as string },
      },
    },
  },
};

/** For what is expected to come: generous, as a machine that is busy with other things is slow. */
export const GENEROUS_MS = 120_000;
/** For what is expected not to come. It counts from the beginning of the phase, however long those before it took. */
export const PATIENCE_MS = 2000;
/** Between the reading of a clock there and the comparison here: a wrong era or year is off by far more. */
export const CLOCK_LAG_MS = 60_000;
export const phases = ["connect", "tls", "write", "first-byte", "read"];

/** What a single attempt comes to. */
export const singly = { timeoutMs: GENEROUS_MS, retry: { maxAttempts: 1, attemptTimeoutMs: GENEROUS_MS } };

/** Collects what does not hold, so that one run shows everything. */
export class Expectations {
  readonly failures: string[] = [];

  equal(actual: unknown, expected: unknown, what: string): void {
    const [a, e] = [JSON.stringify(actual), JSON.stringify(expected)];
    if (a !== e) this.failures.push(`${what}: expected ${e}, got ${a}`);
  }

  ok(value: unknown, what: string): void {
    if (!value) this.failures.push(what);
  }
}

/** What a test gets to work with. */
export class Session {
  readonly #control: Control;
  readonly #simulator: Simulator;
  readonly #gateways: Gateway[] = [];

  constructor(control: Control, simulator: Simulator) {
    this.#control = control;
    this.#simulator = simulator;
  }

  async run(op: string, parameters: object = {}): Promise<any> {
    const result = await this.#control.run({ op, ...parameters }, this.#simulator.ended);
    if (result.thrown) throw new Error(`${op}: ${JSON.stringify(result.thrown)}`);
    return result;
  }

  /** Processor time of the simulator so far, in milliseconds. */
  cpuMs(): Promise<number> {
    return this.#simulator.cpuMs();
  }

  async gateway(options: GatewayOptions = {}): Promise<Gateway> {
    const gateway = await startGateway({ devices, ...options });
    this.#gateways.push(gateway);
    return gateway;
  }

  /** A host that trusts the gateway, and a device that publishes to it. */
  async device(
    gateway: Gateway,
    host: object = {},
    more: { name?: string } & Record<string, unknown> = {},
  ): Promise<void> {
    const trustAnchors = gateway.certificates && [gateway.certificates.rootDer.toString("base64")];
    await this.run("host", { options: { trustAnchors, ...host } });
    const { name, ...options } = more;
    const url = name ? gateway.url.replace("127.0.0.1", name) : gateway.url;
    await this.run("device", { options: { ...identity, url, ...singly, ...options } });
  }

  /** Outcomes of publishing these payloads. */
  async publish(payloads: readonly string[], timeoutMs?: number, op = "publish"): Promise<any[]> {
    const messages = payloads.map((payload) => ({ topic: "data", payload, qos: 1 }));
    return (await this.run(op, { messages, timeoutMs })).outcomes;
  }

  async release(): Promise<void> {
    await Promise.all(this.#gateways.splice(0).map((gateway) => gateway.close()));
  }
}

export type Test = (session: Session, expect: Expectations) => Promise<string>;
