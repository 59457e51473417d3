/** ESP32: see `../platform.ts`. */

import getResetReason from "resetReason";
import Instrumentation from "instrumentation";
import Net from "net";

/** `CHANNEL` is documented, and the SDK's typings lack it; they also leave out that each of these may be unknown. */
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

/** The generator of the chip; the bootloader feeds it with noise before the radio does. */
export const hasHardwareRandom: boolean = true;

/**
 * MAC address of the Wi-Fi station, or of Ethernet on a board without Wi-Fi; undefined before the network is started.
 *
 * An address or a name of the network may be asked for only afterwards: before `esp_netif_init`, ESP-IDF's search for
 * the interface fails an assertion, and the board reboots. And without naming the interface, the access point's address
 * would come while a board is being set up, and none at all while it is station and access point in one.
 */
export function macAddress(): string | undefined {
  if (isWifiInitialized()) return status.get("MAC", "station");
  return isNetworkStarted() ? status.get("MAC", "ethernet") : undefined;
}

/**
 * What the board knows of itself, but for its uptime. Free memory comes from the SDK's instrumentation, which is compiled
 * into debug builds and those with `INSTRUMENT=1`; elsewhere it is undefined.
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
 * True once Wi-Fi is initialised, or a DNS server is known, as over Ethernet. Before, lwIP has no thread that a socket
 * could be opened on: another assertion.
 */
export function isNetworkStarted(): boolean {
  return isWifiInitialized() || status.get("DNS").length > 0;
}

/** Goes to the Wi-Fi driver alone, which reports an error while it is not initialised. */
function isWifiInitialized(): boolean {
  return status.get("CHANNEL") !== undefined;
}

/**
 * What a failed write to NVS means. The SDK's message is the error's name, `ESP_ERR_NVS_NOT_ENOUGH_SPACE`, or where
 * `CONFIG_ESP_ERR_TO_NAME_LOOKUP` is not set its number, `UNKNOWN ERROR 0x1105(4357)`; in a debug build the name of the
 * function follows. Every other failure may have come while a page was being copied (`ESP_ERR_NO_MEM` 0x101,
 * `ESP_ERR_INVALID_STATE` 0x103).
 */
export const readStorageFailure: (error: unknown) => "full" | "stopped" | "failed" = (error) => {
  const message = String((error as Error | undefined)?.message);
  const isFull = message.startsWith("ESP_ERR_NVS_NOT_ENOUGH_SPACE") || message.includes("ERROR 0x1105(");
  return isFull ? "full" : "stopped";
};
