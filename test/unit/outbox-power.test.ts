/** The power is cut at every single operation of a storage, in every way; then the device starts again. */

import { describe, expect, test } from "@jest/globals";
import { classifyError } from "../../src/errors.js";
import { type DroppedMessage, IotHubError, NetworkError, type Storage, type StoredMessage } from "../../src/index.js";
import { Outbox } from "../../src/outbox/outbox.js";
import { type Cut, cuts, Flash } from "../support/storage.js";
import { virtualHost } from "../support/virtual-host.js";

const bounds = { maxMessages: 6, maxBytes: 60000 };
const STORE_AFTER_MS = 5000;
/** Each message by itself, or many in one. */
type Form = "singly" | "in batches" | "before they are stored" | "in batches before they are stored";
const forms: readonly Form[] = ["singly", "in batches", "before they are stored", "in batches before they are stored"];

/** What the world outside the device knows. */
class World {
  readonly flash = new Flash();
  /** Readings in the order in which the app handed them over. */
  readonly offered: string[] = [];
  /** Those whose enqueue has resolved. */
  readonly accepted = new Set<string>();
  readonly received: string[] = [];
  readonly refused = new Set<string>();
  readonly droppedFull = new Set<string>();
  readonly falseAlarms: DroppedMessage[] = [];
  /** The highest sequence number of this life. */
  highest = -1;
  /** What was being sent, or was acknowledged and not deleted yet, when the power was cut. */
  inFlight: string[] = [];
  cuts = 0;
  /** Messages that had more than one reading. */
  batches = 0;
  /** What the gateway has acknowledged. */
  readonly acknowledged = new Set<string>();
  /** Acknowledgements that came after the reading had been stored. */
  late = 0;
  #requests = 0;
  readonly #form: Form;

  constructor(form: Form = "singly") {
    this.#form = form;
  }

  get sendsFirst(): boolean {
    return this.#form.endsWith("stored");
  }

  /** @param gateway "slow": every other response comes when the reading has been stored already */
  outbox(storage: Storage, gateway: "up" | "down" | "picky" | "slow" = "up"): Outbox<string> {
    const host = virtualHost(() => {
      throw new Error("unused");
    });
    this.highest = -1;
    return new Outbox<string>(
      {
        storage,
        timer: host.timer,
        random: host.random,
        clock: host.clock,
        nowMs: () => host.clock.nowMs(),
        classify: classifyError,
        send: async (message) => {
          const names = namesIn(message.payload);
          this.inFlight = names;
          this.received.push(...names);
          this.saw(message.sequence + names.length - 1);
          await Promise.resolve();
          if (gateway === "down") {
            this.received.splice(-names.length);
            throw new NetworkError("CONNECTION_REFUSED", "connect", "m");
          }
          if (gateway === "picky" && names.some((name) => name.endsWith("!"))) {
            this.received.splice(-names.length);
            if (names.length === 1) this.refused.add(names[0]);
            // Cannot be sent at all, which needs no evidence: order is kept.
            throw new IotHubError("PAYLOAD_TOO_LARGE", "m");
          }
          this.batches += names.length > 1 ? 1 : 0;
          if (gateway === "slow" && this.#requests++ % 2 === 0) {
            await new Promise<void>((resolve) => host.timer.set(resolve, STORE_AFTER_MS + 1000));
            this.late++;
          }
          for (const name of names) this.acknowledged.add(name);
          return names[0];
        },
      },
      {
        ...bounds,
        flushIntervalMs: 0,
        ...(this.sendsFirst && { storeAfterMs: STORE_AFTER_MS }),
        ...(this.#form.startsWith("in batches") && { batch: { maxReadings: 4, maxBytes: 6000 } }),
        onDelivered: (message) => {
          this.inFlight = this.inFlight.filter((name) => name !== nameOf(message));
        },
        onDropped: (dropped) => {
          if (dropped.reason === "evicted") this.droppedFull.add(nameOf(dropped.message as StoredMessage));
          if (dropped.reason === "corrupt") this.falseAlarms.push(dropped);
        },
      },
    );
  }

  /** Numbers rise within a life; after a restart they may come again. */
  saw(sequence: number): void {
    this.highest = Math.max(this.highest, sequence);
  }

  async enqueue(outbox: Outbox<string>, name: string, padding = 0): Promise<void> {
    this.offered.push(name);
    const before = this.highest;
    const payload = JSON.stringify({ name: name.padEnd(padding) });
    const { sequence } = await outbox.enqueue({ topic: "data", payload, isObject: true, qos: 1, endpoint: 0 });
    expect(sequence).toBeGreaterThan(before);
    this.saw(sequence);
    this.accepted.add(name);
    const isStored = [...this.flash.values.values()].some((text) => text.includes(`"${name}`));
    const isSafe = isStored || this.acknowledged.has(name) || this.droppedFull.has(name) || this.refused.has(name);
    expect({ name, isSafe }).toEqual({ name, isSafe: true });
  }
}

function nameOf({ payload }: StoredMessage): string {
  return namesIn(payload)[0];
}

function namesIn(payload: string): string[] {
  const value = JSON.parse(payload);
  return (Array.isArray(value) ? value : [value]).map(({ name }) => name.trimEnd());
}

/** Three times three starts: readings small and large, refused and delivered, more than there is room for. */
async function life(world: World, at: number, cut: Cut): Promise<"cut" | "done"> {
  const { storage, off } = world.flash.start(at, cut);
  const work = async () => {
    for (const round of [1, 2, 3]) {
      const [two, three] = round === 2 ? [2000, 3900] : [0, 0];
      let outbox = world.outbox(storage, "down");
      await world.enqueue(outbox, `a${round}`);
      await world.enqueue(outbox, `b${round}!`);
      await world.enqueue(outbox, `c${round}`, three);
      await outbox.flush();
      outbox.close();

      outbox = world.outbox(storage, "picky");
      await world.enqueue(outbox, `d${round}`, two);
      await outbox.flush();
      await world.enqueue(outbox, `e${round}`);
      await outbox.flush();
      await world.enqueue(outbox, `f${round}`);
      await Promise.all([outbox.flush(), world.enqueue(outbox, `g${round}`, two)]);
      outbox.close();

      outbox = world.outbox(storage, world.sendsFirst ? "slow" : "up");
      await outbox.flush();
      for (const name of "hijklm") await world.enqueue(outbox, `${name}${round}`, name === "i" ? two : 0);
      await world.enqueue(outbox, `n${round}`, three);
      await world.enqueue(outbox, `o${round}`);
      await outbox.flush();
      outbox.close();
    }
  };
  return Promise.race([work().then(() => "done" as const), off.then(() => "cut" as const)]);
}

/** The start after a power cut: everything is delivered, and the numbers go on. */
async function recover(world: World, at = Number.POSITIVE_INFINITY, cut: Cut = "nothing"): Promise<"cut" | "done"> {
  const { storage, off } = world.flash.start(at, cut);
  const work = async () => {
    const outbox = world.outbox(storage);
    await outbox.flush();
    await world.enqueue(outbox, `z${world.cuts}`);
    expect((await outbox.flush()).reason).toBe("empty");
  };
  return Promise.race([work().then(() => "done" as const), off.then(() => "cut" as const)]);
}

function check(world: World, twiceAllowed: readonly string[]): void {
  const { offered, accepted, received, refused, droppedFull } = world;
  const firsts = received.filter((name, i) => received.indexOf(name) === i);
  // None lost.
  const gone = [...accepted].filter((name) => !firsts.includes(name) && !refused.has(name) && !droppedFull.has(name));
  // A power cut during an eviction prevents its report.
  expect(gone.length).toBeLessThanOrEqual(1);
  // The oldest is another where the first ones were sent before they were stored.
  for (const name of gone) expect(name).toMatch(world.sendsFirst ? /^[h-k]/ : /^[hi]/);
  if (gone.length > 0) expect(offered.some((name) => name === `n${gone[0].slice(1)}`)).toBe(true);
  // In order.
  expect(firsts).toEqual(offered.filter((name) => firsts.includes(name)));
  // None twice, except what was in flight.
  const again = received.filter((name, i) => received.indexOf(name) !== i);
  const allowed = [...twiceAllowed];
  for (const name of again) {
    expect(allowed).toContain(name);
    allowed.splice(allowed.indexOf(name), 1);
  }
  // Nothing is left behind.
  expect([...world.flash.values.keys()]).toEqual([]);
}

async function operationsOfALife(form: Form): Promise<number> {
  const world = new World(form);
  expect(await life(world, Number.POSITIVE_INFINITY, "nothing")).toBe("done");
  await recover(world);
  check(world, []);
  expect(world.refused).toEqual(new Set(["b1!", "b2!", "b3!"]));
  expect(world.droppedFull.size).toBeGreaterThan(0);
  expect(world.late > 3).toBe(world.sendsFirst);
  expect(world.falseAlarms).toEqual([]);
  expect(world.batches > 2).toBe(form.startsWith("in batches"));
  return world.flash.operations;
}

describe.each(forms)("readings sent %s", (form) => {
  // What is acknowledged first touches the storage less.
  const least = form.endsWith("stored") ? 140 : 180;

  test.each(cuts)("survive a power cut with %s of the operation done, in order and once", async (cut) => {
    const operations = await operationsOfALife(form);
    expect(operations).toBeGreaterThan(least);
    let cutShort = 0;
    for (let at = 1; at <= operations; at++) {
      const world = new World(form);
      if ((await life(world, at, cut)) === "cut") cutShort++;
      world.cuts = 1;
      const inFlight = world.inFlight;
      expect(await recover(world)).toBe("done");
      check(world, inFlight);
    }
    expect(cutShort).toBeGreaterThan(least);
  });

  test("survive a second power cut at every operation of the next start", async () => {
    const operations = await operationsOfALife(form);
    for (let at = 1; at <= operations; at += 13) {
      for (let second = 1; ; second++) {
        const world = new World(form);
        await life(world, at, cuts[at % cuts.length]);
        world.cuts = 1;
        const allowed = [...world.inFlight];
        world.inFlight = [];
        const end = await recover(world, second, cuts[second % cuts.length]);
        allowed.push(...world.inFlight);
        world.cuts = 2;
        if (end === "cut") expect(await recover(world)).toBe("done");
        check(world, allowed);
        if (end === "done") break;
      }
    }
  });
});
