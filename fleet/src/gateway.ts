/**
 * The local gateway as a process of its own, so that it has a core of its own, and the engine another. Talks to its parent
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
  /** Readings in accepted messages. */
  readonly readings: number;
  readonly registrations: number;
  /** Devices by the number of readings that came from each. */
  readonly devicesByReadings: Readonly<Record<number, number>>;
  /** CPU time of this process in seconds. */
  readonly cpuSeconds: number;
}

process.once("message", async ({ devices, productSecret, https }: Start) => {
  let readings = 0;
  let registrations = 0;
  const byDevice = new Map<string, number>();
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
      const content: unknown = JSON.parse(payload.toString());
      const count = Array.isArray(content) ? content.length : 1;
      readings += count;
      const device = `${productId}/${deviceName}`;
      byDevice.set(device, (byDevice.get(device) ?? 0) + count);
    },
  });
  const counts = (): Counts => {
    const { requests, accepted, refused, connections, tlsResumptions } = gateway.counts;
    const devicesByReadings: Record<number, number> = {};
    for (const count of byDevice.values()) devicesByReadings[count] = (devicesByReadings[count] ?? 0) + 1;
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
      registrations,
      devicesByReadings,
      cpuSeconds: (user + system) / 1e6,
    };
  };
  process.on("message", () => process.send?.(counts()));
  process.on("disconnect", () => gateway.close());
  process.send?.(counts());
});
