/**
 * Platform-specific functions for all platforms of the Moddable SDK except the ESP32, whose module of this name is
 * `esp32/platform.ts`. The manifest selects by platform; as both have the same module name, neither may use relative
 * imports.
 */

import Net from "net";

interface MachineVitals {
  readonly resetReason?: string;
  readonly freeHeapBytes?: number;
  readonly rssiDbm?: number;
}

/** True if `Math.random` draws from a hardware generator. A simulator repeats the same sequence at every start. */
export const hasHardwareRandom: boolean = false;

/** Returns the MAC address, such as `"24:0A:C4:00:01:10"`; undefined if it is not known. */
export function macAddress(): string | undefined {
  return Net.get("MAC");
}

/** Reads the vitals except the uptime. */
export function readVitals(): MachineVitals {
  return { rssiDbm: Net.get("RSSI") };
}

/** False while opening a socket would reboot the board. */
export function isNetworkStarted(): boolean {
  return true;
}

/** Classifies a failed write of the key-value storage: no room, no more writes until a restart, or another failure. */
export const readStorageFailure: (error: unknown) => "full" | "stopped" | "failed" =
  // The error has no code: the same write may succeed later.
  () => "failed";
