/**
 * What a wake costs on the network and the machine: a cold one, one that resumes the session that is stored, and a
 * second publish. What crosses the network is counted and checked; times are shown, and judge nothing.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { KeyType } from "../../tools/gateway/index.js";
import { type Expectations, identity, type Session, singly } from "./session.js";

const RUNS = 30;

/** A relay that counts: bytes and pieces of both sides, and how often it was the client's turn. */
class Relay {
  sent = [0, 0];
  pieces = [0, 0];
  /** The connection itself, and whatever the client sends once something has come from the server. */
  roundTrips = 0;
  port = 0;
  readonly #target: number;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer({ noDelay: true }, (client) => {
    const server = connect({ port: this.#target, host: "127.0.0.1", noDelay: true });
    let isClientsTurn = true;
    this.roundTrips++;
    for (const [side, from, to] of [
      [0, client, server],
      [1, server, client],
    ] as const) {
      this.#sockets.add(from);
      from.on("error", () => {});
      from.on("close", () => to.destroy());
      from.on("data", (bytes) => {
        this.sent[side] += bytes.length;
        this.pieces[side]++;
        if (side === 0 && isClientsTurn) this.roundTrips++;
        isClientsTurn = side === 1;
        to.write(bytes);
      });
    }
  });

  constructor(target: number) {
    this.#target = target;
  }

  async open(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.port = (this.#server.address() as AddressInfo).port;
  }

  reset(): void {
    this.sent = [0, 0];
    this.pieces = [0, 0];
    this.roundTrips = 0;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1];

interface Figures {
  readonly roundTrips: number;
  /** Handshake and request until acknowledged, as the device tells it. */
  readonly ms: number;
  readonly tlsMs: number;
  /** Of the whole simulator, for all runs. */
  readonly cpuMs: number;
  readonly text: string;
}

export async function wake(session: Session, expect: Expectations, keyType: KeyType): Promise<string> {
  const gateway = await session.gateway({ https: { certificateOptions: { keyType } } });
  const relay = new Relay(gateway.port);
  await relay.open();
  const storage = `wake-${keyType}`;
  const trustAnchors = [gateway.certificates?.rootDer.toString("base64")];

  /** A start of the program each, up to the acknowledged reading; without `resumption`, on the connection before. */
  const measure = async (
    name: string,
    resumption?: "memory" | "storage",
    url = `https://localhost:${relay.port}`,
  ): Promise<Figures> => {
    const [ms, tlsMs, resumed]: [number[], number[], boolean[]] = [[], [], []];
    let counts = { sent: [0, 0], pieces: [0, 0], roundTrips: 0 };
    let cpuMs = 0;
    for (let run = 0; run < RUNS; run++) {
      if (resumption) {
        await session.run("host", { options: { trustAnchors, storage, resumption } });
        await session.run("device", { options: { ...identity, ...singly, url, rateLimit: false } });
      }
      relay.reset();
      const before = await session.cpuMs();
      const [outcome] = await session.publish(["21.5"]);
      cpuMs += (await session.cpuMs()) - before;
      expect.equal(outcome.status, 200, `${name}: ${outcome.code}`);
      const { timing = {} } = outcome;
      ms.push(timing.totalMs);
      tlsMs.push(timing.tlsMs ?? 0);
      if (timing.resumed !== undefined) resumed.push(timing.resumed);
      counts = { sent: relay.sent, pieces: relay.pieces, roundTrips: relay.roundTrips };
    }
    if (resumed.length > 0) expect.equal([...new Set(resumed)], [resumption === "storage"], `${name}: resumed`);
    const { sent, pieces, roundTrips } = counts;
    const text =
      `${name}: ${roundTrips} round trips, ${sent[0]} + ${sent[1]} bytes in ${pieces[0]} + ${pieces[1]} segments, ` +
      `${median(ms).toFixed(0)} ms (TLS ${median(tlsMs).toFixed(0)})`;
    return { roundTrips, ms: median(ms), tlsMs: median(tlsMs), cpuMs, text };
  };

  try {
    const cold = await measure("cold", "memory");
    // The first start with a storage leaves a session there.
    await session.run("host", { options: { trustAnchors, storage, resumption: "storage" } });
    const url = `https://localhost:${relay.port}`;
    await session.run("device", { options: { ...identity, ...singly, url } });
    await session.publish(["21.5"]);
    const resumed = await measure("resumed", "storage");
    const second = await measure("second publish");
    const trips = [cold, resumed, second].map(({ roundTrips }) => roundTrips);
    // A keep-alive connection is counted from its first request on.
    expect.equal(trips, [3, 3, 1], "round trips");
    // All that a start does but for TLS.
    const plain = await measure("plain", "memory", (await session.gateway()).url);
    const [full, short] = [cold, resumed].map(({ cpuMs }) => (cpuMs - plain.cpuMs) / RUNS);
    const cpu = `CPU of a handshake: ${full.toFixed(1)} ms full, ${short.toFixed(1)} ms resumed`;
    return [cold.text, resumed.text, second.text, cpu].join("; ");
  } finally {
    await relay.close();
  }
}
