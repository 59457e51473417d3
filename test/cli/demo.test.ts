import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { packReadings, takeReadings } from "../../tools/cli/readings.js";
import { file } from "../support/cli-fixture.js";
import { run } from "../support/run-cli.js";

describe("demo", () => {
  test("publishes with a PSK and with a certificate, and shows device and gateway", async () => {
    const { code, stdout, stderr } = await run(["demo"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.match(/^ {2}✓ /gm)).toHaveLength(11);
    expect(stdout.match(/identical/g)).toHaveLength(8);
    expect(stdout.match(/hmacsha256 verified with the device's key/g)).toHaveLength(5);
    expect(stdout.match(/hmacsha256 verified with the ProductSecret; a new device/g)).toHaveLength(1);
    expect(stdout).toMatch(/second start {2}uses the stored credential, no registration/);
    expect(stdout).toMatch(/gateway {3}INF\|[^|]+\|started with the stored credential/);
    expect(stdout.match(/rsa-sha256 verified with the certificate's public key/g)).toHaveLength(3);
    expect(stdout).toContain("运行时间");
    expect(stdout.trimEnd().split("\n").at(-1)).toMatch(/^8 of 8 messages published, verified and received/);
  });

  test("prints the same as JSON", async () => {
    const { code, stdout } = await run(["demo", "--json"]);
    expect(code).toBe(0);
    const { published, failed, messages } = JSON.parse(stdout);
    expect({ published, failed }).toEqual({ published: 8, failed: 0 });
    expect(new Set(messages.map(({ requestId }: { requestId: string }) => requestId)).size).toBe(8);
  });
});

describe("readings", () => {
  test("read the temperature from a thermal zone, or else a hardware monitor, or else report none", async () => {
    const sys = file("sys");
    const put = async (path: string, content: string) => {
      await mkdir(join(sys, path, ".."), { recursive: true });
      await writeFile(join(sys, path), content);
    };
    expect((await takeReadings(sys)).temperatureC).toBeUndefined();
    await put("class/hwmon/hwmon0/name", "nvme\n");
    await put("class/hwmon/hwmon0/temp1_input", "-273150\n");
    await put("class/hwmon/hwmon1/temp2_input", "38850\n");
    const fromMonitor = await takeReadings(sys);
    expect(fromMonitor.temperatureC).toBe(38.9);
    expect(fromMonitor.temperatureFrom).toBe(join(sys, "class/hwmon/hwmon1/temp2_input"));
    await put("class/thermal/cooling_device0/temp", "1000\n");
    await put("class/thermal/thermal_zone0/temp", "47123\n");
    expect((await takeReadings(sys)).temperatureC).toBe(47.1);
  });

  test("fit into 16 bytes", async () => {
    const readings = { ...(await takeReadings()), takenAtMs: 1_700_000_000_500, load1: 1.5, uptimeSeconds: 77 };
    const view = new DataView(packReadings({ ...readings, temperatureC: -4.5, freeMemoryBytes: 2048 }).buffer);
    const fields = [view.getUint32(0), view.getInt16(4), view.getUint16(6), view.getUint32(8), view.getUint32(12)];
    expect(fields).toEqual([1_700_000_000, -450, 150, 2, 77]);
    expect(new DataView(packReadings({ ...readings, temperatureC: undefined }).buffer).getInt16(4)).toBe(-0x8000);
  });
});
