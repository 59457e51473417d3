// The library's local gateway as a child process, with devices made up for the run.
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { root } from "./build.mjs";

export const productId = "FLEET12345";
export const productSecret = randomBytes(12).toString("base64");

/**
 * @param {number} count
 * @param {number} registering how many of them have no credential yet
 * @returns {{ readonly csv: string; readonly devices: Record<string, { psk: string }> }}
 */
export function makeDevices(count, registering) {
  /** @type {Record<string, { psk: string }>} */
  const devices = {};
  const lines = ["ProductId,DeviceName,DevicePsk"];
  for (let i = 0; i < count; i++) {
    const deviceName = `board${String(i).padStart(6, "0")}`;
    const psk = randomBytes(16).toString("base64");
    // Spread evenly, so that every run has some.
    const registers = Math.floor(((i + 1) * registering) / count) > Math.floor((i * registering) / count);
    if (!registers) devices[deviceName] = { psk };
    lines.push(`${productId},${deviceName},${registers ? "" : psk}`);
  }
  return { csv: `${lines.join("\n")}\n`, devices };
}

/** @param {Record<string, { psk: string }>} devices @param {boolean} https */
export async function startGateway(devices, https = false) {
  const child = fork(`${root}build/gateway.mjs`, { stdio: "inherit" });
  const counts = async () => {
    child.send("counts");
    const [message] = await once(child, "message");
    return message;
  };
  child.send({ devices: { [productId]: devices }, productSecret, https });
  const [{ url, ca }] = await once(child, "message");
  return { url, ca, counts, close: () => child.connected && child.disconnect(), process: child };
}
