/** Prints the outcome of requests and readings. */

/**
 * Setting to check for an error code.
 * @type {Readonly<Record<string, string>>}
 */
const settings = Object.freeze({
  INVALID_PRODUCT_ID: "productId",
  INVALID_DEVICE_NAME: "deviceName",
  INVALID_CREDENTIAL: "psk",
  INVALID_PRODUCT_SECRET: "productSecret",
  NOT_PROVISIONED: "productSecret",
  WRONG_PRODUCT_SECRET: "productSecret",
  INVALID_REGION: "region",
  INVALID_URL: "url",
});

/**
 * Formats an error as one line: its code, its message, and the setting to check.
 * @param {any} error
 * @returns {string}
 */
export function describe(error) {
  const setting = settings[error.code];
  return `${error.code ?? "error"}: ${error.message}${setting ? ` Check the setting ${setting}.` : ""}`;
}

/**
 * For `onEvent`: prints each failed attempt with its reason.
 * @param {import("tencent-iothub-xs").DeviceEvent} event
 */
export function printEvent(event) {
  if (isStorageStopped(event)) trace(`${describe(event)}\n`);
  if (event.type !== "retry" && event.type !== "error") return;
  const { requestPhase, status, gatewayCode } = event;
  let where = "";
  if (requestPhase !== undefined) where = ` (while: ${requestPhase})`;
  else if (status !== undefined) where = ` (HTTP ${status}${gatewayCode === undefined ? "" : `, ${gatewayCode}`})`;
  const next = event.type === "retry" ? `; attempt ${event.attempt + 1} in ${seconds(event.delayMs)}` : "";
  trace(`${describe(event)}${where}${next}\n`);
}

/**
 * Whether the storage accepts no more writes until a restart.
 * @param {{ readonly type: string }} event
 */
export function isStorageStopped(event) {
  return event.type === "storage";
}

/**
 * For `outbox.onFlushed`: prints why messages remain, and when they are retried.
 * @param {import("tencent-iothub-xs").FlushReport} report
 */
export function printFlush({ reason, remaining, error, nextFlushMs }) {
  if (reason === "empty" || reason === "closed") return;
  const next = nextFlushMs === undefined ? "" : `; sent again in ${seconds(nextFlushMs)}`;
  trace(`${remaining} readings wait, ${reason}${error ? ` (${describe(error)})` : ""}${next}\n`);
}

/** @param {number} ms */
function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}
