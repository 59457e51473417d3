/** Readings of this machine, like those of a small sensor. */

import { readdir, readFile } from "node:fs/promises";
import { availableParallelism, freemem, loadavg, totalmem, uptime } from "node:os";
import { join } from "node:path";

export interface Readings {
  /** Degrees Celsius; undefined without a sensor. */
  readonly temperatureC: number | undefined;
  /** Source of the temperature. */
  readonly temperatureFrom: string | undefined;
  /** Mean number of runnable processes over the last minute. */
  readonly load1: number;
  readonly cores: number;
  readonly freeMemoryBytes: number;
  readonly totalMemoryBytes: number;
  readonly uptimeSeconds: number;
  readonly takenAtMs: number;
}

/** Reads the sensors. @param sys mount point of sysfs */
export async function takeReadings(sys = "/sys"): Promise<Readings> {
  const temperature = await readTemperature(sys);
  return {
    temperatureC: temperature?.celsius,
    temperatureFrom: temperature?.from,
    load1: Math.round(loadavg()[0] * 100) / 100,
    cores: availableParallelism(),
    freeMemoryBytes: freemem(),
    totalMemoryBytes: totalmem(),
    uptimeSeconds: Math.floor(uptime()),
    takenAtMs: Date.now(),
  };
}

/** Returns the first plausible temperature of the thermal zones or else the hardware monitors. */
async function readTemperature(sys: string): Promise<{ celsius: number; from: string } | undefined> {
  const places = [
    { folder: join(sys, "class/thermal"), entry: /^thermal_zone\d+$/, file: /^temp$/ },
    { folder: join(sys, "class/hwmon"), entry: /^hwmon\d+$/, file: /^temp\d+_input$/ },
  ];
  for (const { folder, entry, file } of places) {
    for (const name of (await list(folder)).filter((n) => entry.test(n))) {
      for (const input of (await list(join(folder, name))).filter((n) => file.test(n))) {
        const path = join(folder, name, input);
        const celsius = await readMillidegrees(path);
        if (celsius !== undefined) return { celsius, from: path };
      }
    }
  }
  return undefined;
}

async function list(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch {
    return [];
  }
}

async function readMillidegrees(path: string): Promise<number | undefined> {
  try {
    const value = Number((await readFile(path, "latin1")).trim()) / 1000;
    // Absent sensors read as 0, -273 or 127 and more on some boards.
    return value > -60 && value < 125 && value !== 0 ? Math.round(value * 10) / 10 : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Encodes the readings as 16 bytes, big-endian, for a binary payload: seconds since 1970 (4), hundredths of a degree
 * (2, signed; 0x8000 for none), hundredths of the load (2), free memory in KiB (4), uptime in seconds (4).
 */
export function packReadings(readings: Readings): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(readings.takenAtMs / 1000));
  view.setInt16(4, readings.temperatureC === undefined ? -0x8000 : Math.round(readings.temperatureC * 100));
  view.setUint16(6, Math.min(0xffff, Math.round(readings.load1 * 100)));
  view.setUint32(8, Math.min(0xffffffff, Math.floor(readings.freeMemoryBytes / 1024)));
  view.setUint32(12, readings.uptimeSeconds);
  return bytes;
}
