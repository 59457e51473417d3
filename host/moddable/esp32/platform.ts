/** ESP32: see `../platform.ts`. */

import getResetReason from "resetReason";
import Instrumentation from "instrumentation";
import Net from "net";

/** `CHANNEL` is documented but missing in the SDK's typings, which also omit that each value may be unknown. */
interface NetworkStatus {
  get(property: "CHANNEL" | "RSSI"): number | undefined;
  get(property: "MAC", interfaceName: "station" | "ethernet"): string | undefined;
  get(property: "DNS"): string[];
}

interface MachineVitals {
  readonly resetReason?: string;
  readonly freeHeapBytes?: number;
  readonly rssiDbm?: number;
}

const status = Net as unknown as NetworkStatus;

/** The chip's generator; the bootloader provides entropy until the radio does. */
export const hasHardwareRandom: boolean = true;

/**
 * Returns the MAC address of the Wi-Fi station, or of Ethernet on a board without Wi-Fi; undefined before the network
 * is started.
 *
 * Must not query the interface earlier: before `esp_netif_init`, the lookup in ESP-IDF fails an assertion, and the
 * board reboots. The interface is named, since the default is the access point's address during setup, and none at all
 * in combined station and access point mode.
 */
export function macAddress(): string | undefined {
  if (isWifiInitialized()) return status.get("MAC", "station");
  return isNetworkStarted() ? status.get("MAC", "ethernet") : undefined;
}

/**
 * Reads the board's vitals except its uptime. Free memory comes from the SDK's instrumentation, which only debug builds
 * and builds with `INSTRUMENT=1` contain; otherwise it is undefined.
 */
export function readVitals(): MachineVitals {
  const { reason, string } = getResetReason();
  return {
    resetReason: string === "Invalid" ? `reason ${reason}` : string,
    freeHeapBytes: Instrumentation.get(Instrumentation.map("System Free Memory")),
    rssiDbm: isWifiInitialized() ? status.get("RSSI") : undefined,
  };
}

/**
 * Whether Wi-Fi is initialized, or (for Ethernet) a DNS server is known. Before that, lwIP has no thread, and opening a
 * socket fails an assertion.
 */
export function isNetworkStarted(): boolean {
  return isWifiInitialized() || status.get("DNS").length > 0;
}

/** Queries only the Wi-Fi driver, which reports an error while it is not initialized. */
function isWifiInitialized(): boolean {
  return status.get("CHANNEL") !== undefined;
}

/**
 * Classifies a failed write to NVS. The SDK's message is the error's name, `ESP_ERR_NVS_NOT_ENOUGH_SPACE`, or without
 * `CONFIG_ESP_ERR_TO_NAME_LOOKUP` its number, `UNKNOWN ERROR 0x1105(4357)`; debug builds append the function's name.
 * Any other failure may have happened during a page copy (`ESP_ERR_NO_MEM` 0x101, `ESP_ERR_INVALID_STATE` 0x103).
 */
export const readStorageFailure: (error: unknown) => "full" | "stopped" | "failed" = (error) => {
  const message = String((error as Error | undefined)?.message);
  const isFull = message.startsWith("ESP_ERR_NVS_NOT_ENOUGH_SPACE") || message.includes("ERROR 0x1105(");
  return isFull ? "full" : "stopped";
};
