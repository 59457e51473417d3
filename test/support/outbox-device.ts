/** A device with an outbox on a virtual host, and the outcomes of its messages. */

import {
  Device,
  type DeviceOptions,
  type DroppedMessage,
  type Host,
  type OutboxOptions,
  type StoredMessage,
} from "../../src/index.js";
import type { Outbox } from "../../src/outbox/outbox.js";
import { cleanups } from "./cleanups.js";
import { type Reply, taken, virtualHost } from "./virtual-host.js";

export function outboxDevice(
  reply: Reply = () => taken(),
  outbox: OutboxOptions = {},
  changes: Partial<Host> = {},
  options: Partial<DeviceOptions> = {},
) {
  const host = virtualHost(reply, changes);
  const delivered: StoredMessage[] = [];
  const dropped: DroppedMessage[] = [];
  let retried = 0;
  const device = new Device(
    {
      productId: "P",
      deviceName: "d",
      credential: { secret: "secret" },
      rateLimit: false,
      outbox: {
        flushIntervalMs: 0,
        onDelivered: (message) => delivered.push(message),
        onDropped: (one) => dropped.push(one),
        onRetried: () => retried++,
        ...outbox,
      },
      ...options,
    },
    host,
  );
  // An open device would run forever in virtual time.
  cleanups.push(() => device.close());
  const payloads = () =>
    host.sent.map(({ request }) => JSON.parse(new TextDecoder().decode(request.body)).Payload as string);
  const box = device.outbox as Outbox;
  return { host, device, box, delivered, dropped, payloads, retried: () => retried };
}

/** Resolves when all pending promise jobs are done, without firing timers. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 100; i++) await Promise.resolve();
}

export const reading = (payload: unknown) => ({ topic: "data", payload: payload as string });
