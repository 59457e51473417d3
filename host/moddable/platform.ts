/**
 * What differs between the machines that the Moddable SDK runs on: here all but ESP32, whose module of this name is
 * `esp32/platform.ts`. The manifest chooses by platform; as both go by one module name, neither may import by a
 * relative path.
 */

import Net from "net";

interface MachineVitals {
  readonly resetReason?: string;
  readonly freeHeapBytes?: number;
  readonly rssiDbm?: number;
}

/** True if `Math.random` draws from a hardware generator. A simulator repeats the same sequence at every start. */
export const hasHardwareRandom: boolean = false;

/** MAC address of the network interface, such as `"24:0A:C4:00:01:10"`; undefined where it is not known. */
export function macAddress(): string | undefined {
  return Net.get("MAC");
}

/** What the machine knows of itself, but for its uptime. */
export function readVitals(): MachineVitals {
  return { rssiDbm: Net.get("RSSI") };
}

/** False while opening a socket would end in a reboot. */
export function isNetworkStarted(): boolean {
  return true;
}

/** What a failed write of the key-value storage means: there is no room, nothing may be written any more, or neither. */
export const readStorageFailure: (error: unknown) => "full" | "stopped" | "failed" =
  // It carries no code: the same write may succeed later.
  () => "failed";
