/**
 * The local gateway as a separate process, so that it and the engine each have a core. Talks to its parent
 * over IPC: gets its devices, tells its URL, and its counts when asked.
 */

import { type DeviceDescription, startGateway } from "../../tools/gateway/index.js";

interface Start {
  readonly devices: Readonly<Record<string, Readonly<Record<string, DeviceDescription>>>>;
  readonly productSecret: string;
  readonly https: boolean;
}

/** What the gateway counted itself. */
export interface Counts {
  readonly url: string;
  readonly ca?: string;
  readonly requests: number;
  readonly accepted: number;
  readonly refused: number;
  readonly connections: number;
  readonly tlsResumptions: number;
  /** Readings in accepted messages, each counted once: a message whose response was lost comes again. */
  readonly readings: number;
  readonly duplicates: number;
  readonly registrations: number;
  /** Devices by the number of readings that came from each. */
  readonly devicesByReadings: Readonly<Record<number, number>>;
  /** CPU time of this process in seconds. */
  readonly cpuSeconds: number;
}

process.once("message", async ({ devices, productSecret, https }: Start) => {
  let duplicates = 0;
  let registrations = 0;
  /** Numbers of the readings of each device. */
  const byDevice = new Map<string, Set<number>>();
  const products = Object.fromEntries(
    Object.entries(devices).map(([productId, devices]) => [productId, { productSecret, devices }]),
  );
  const gateway = await startGateway({
    devices: { products },
    https,
    maxReceived: 0,
    maxNonces: 1_000_000,
    onRequest: ({ accepted, payload, productId, deviceName, registrationState }) => {
      if (!accepted) return;
      if (registrationState !== undefined) registrations++;
      if (payload === undefined) return;
      const content: { readonly n: number } | readonly { readonly n: number }[] = JSON.parse(payload.toString());
      const device = `${productId}/${deviceName}`;
      const numbers = byDevice.get(device) ?? new Set();
      byDevice.set(device, numbers);
      for (const { n } of Array.isArray(content) ? content : [content]) {
        if (numbers.has(n)) duplicates++;
        numbers.add(n);
      }
    },
  });
  const counts = (): Counts => {
    const { requests, accepted, refused, connections, tlsResumptions } = gateway.counts;
    const devicesByReadings: Record<number, number> = {};
    let readings = 0;
    for (const { size } of byDevice.values()) {
      readings += size;
      devicesByReadings[size] = (devicesByReadings[size] ?? 0) + 1;
    }
    const { user, system } = process.cpuUsage();
    return {
      url: gateway.url,
      ca: gateway.ca,
      requests,
      accepted,
      refused,
      connections,
      tlsResumptions,
      readings,
      duplicates,
      registrations,
      devicesByReadings,
      cpuSeconds: (user + system) / 1e6,
    };
  };
  process.on("message", () => process.send?.(counts()));
  process.on("disconnect", () => gateway.close());
  process.send?.(counts());
});
