import type { DeviceRegistry } from "../gateway/devices.js";
import type { ReceivedRequest } from "../gateway/received.js";

/** What is known of a device. */
export interface DeviceView {
  readonly productId: string;
  readonly deviceName: string;
  /** False for a device that only a request names. */
  readonly registered: boolean;
  readonly credential?: "psk" | "publicKey";
  /** Time of the last request with a right signature, in milliseconds since 1970. */
  lastSeenMs?: number;
  /** Time of the last request in the device's name, whether or not it sent it. */
  lastRequestMs?: number;
  accepted: number;
  refused: number;
}

const MAX_DEVICES = 500;

/** Counts requests by device. */
export class DeviceLog {
  readonly #registry: DeviceRegistry;
  /** The one with the latest request is the last. */
  readonly #seen = new Map<string, DeviceView>();

  constructor(registry: DeviceRegistry) {
    this.#registry = registry;
  }

  add(request: ReceivedRequest, atMs: number): void {
    const { productId, deviceName, accepted, verifiedBy } = request;
    if (productId === undefined || deviceName === undefined) return;
    const key = `${productId}/${deviceName}`;
    const device: DeviceView = this.#seen.get(key) ?? {
      productId,
      deviceName,
      registered: false,
      accepted: 0,
      refused: 0,
    };
    device.lastRequestMs = atMs;
    // Anyone can send a request in a device's name; only a signature shows that it was there.
    if (verifiedBy !== undefined) device.lastSeenMs = atMs;
    if (accepted) device.accepted++;
    else device.refused++;
    this.#seen.delete(key);
    this.#seen.set(key, device);
    if (this.#seen.size > MAX_DEVICES) this.#seen.delete(this.#seen.keys().next().value as string);
  }

  /** Returns at most 500 devices, by name: those of the last requests, and registered ones that sent none. */
  list(): DeviceView[] {
    const views = new Map<string, DeviceView>();
    for (const [key, device] of [...this.#seen].reverse()) views.set(key, this.#withRecord(device));
    for (const { productId, devices } of this.#registry.products.values()) {
      for (const deviceName of devices.keys()) {
        if (views.size >= MAX_DEVICES) break;
        const key = `${productId}/${deviceName}`;
        if (views.has(key)) continue;
        views.set(key, this.#withRecord({ productId, deviceName, registered: true, accepted: 0, refused: 0 }));
      }
    }
    return [...views.values()].sort((a, b) => compare(a.productId, b.productId) || compare(a.deviceName, b.deviceName));
  }

  #withRecord(device: DeviceView): DeviceView {
    const record = this.#registry.find(device.productId, device.deviceName);
    return record === undefined
      ? { ...device, registered: false }
      : { ...device, registered: true, credential: record.credential.kind };
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
