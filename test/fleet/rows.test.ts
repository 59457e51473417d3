/** Rows of a CSV for virtual boards, and the slices that several runs take of them. */
import { describe, expect, test } from "@jest/globals";
import { divide, readRows, sliceOf } from "../../fleet/src/rows.js";
import { readSettings } from "../../fleet/src/settings.js";

describe("rows of the console's CSV", () => {
  test("are read by the names of the columns, in any order and with columns of others", () => {
    const csv = '\ufeffRemark,Device Name,devicePsk,product_id\r\n"a, ""b""",board1,AAAA,P1\r\n,board2,,P1\r\n\r\n';
    expect(readRows(csv)).toEqual([
      { productId: "P1", deviceName: "board1", psk: "AAAA" },
      { productId: "P1", deviceName: "board2", psk: undefined },
    ]);
    expect(readRows("设备名称,设备密钥\nboard1,AAAA", "P2")).toEqual([
      { productId: "P2", deviceName: "board1", psk: "AAAA" },
    ]);
  });

  test("that cannot be used are named by their line, never by their content", () => {
    const secret = "c2VjcmV0c2VjcmV0";
    expect(() => readRows(`name,psk\nboard1,${secret}`, "P")).toThrow("The CSV has no column DeviceName.");
    expect(() => readRows(`DeviceName,DevicePsk\nboard1,AAAA\n,${secret}`, "P")).toThrow(
      /^Line 3 of the CSV has no device\.$/,
    );
    expect(() => readRows(`DeviceName,DevicePsk\nboard1,${secret}`)).toThrow(/^Line 2 of the CSV has no device\.$/);
    expect(() => readRows(`DeviceName,DevicePsk\nb,AAAA\nb,${secret}`, "P")).toThrow(
      /^Line 3 of the CSV has a device of an earlier line\.$/,
    );
  });

  test("are divided among runs without an overlap and without a rest", () => {
    const rows = Array.from({ length: 1003 }, (_, i) => i);
    for (const runs of [1, 2, 3, 7, 64]) {
      const slices = divide(rows.length, runs).map(({ offset, count }) => sliceOf(rows, offset, count));
      expect(slices.flat()).toEqual(rows);
      const counts = slices.map(({ length }) => length);
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    }
  });

  test("that are wanted and are not there stop the run", () => {
    expect(() => sliceOf([1, 2, 3], 2, 2)).toThrow("Devices 2 to 3 are wanted, but there are only 3.");
    expect(sliceOf([1, 2, 3], 2, 1)).toEqual([3]);
  });
});

describe("settings of a run", () => {
  const least = { DEVICE_URL: "http://127.0.0.1:1", DEVICE_CSV: "devices.csv", DEVICE_COUNT: "10" };

  test("have a rhythm of one reading a minute", () => {
    expect(readSettings(least)).toMatchObject({ offset: 0, count: 10, intervalSeconds: 60, jitter: 0.2, outage: 0 });
  });

  test("never lead to the public service without a region", () => {
    expect(() => readSettings({ ...least, DEVICE_URL: "" })).toThrow("Set either DEVICE_URL or DEVICE_REGION.");
    expect(() => readSettings({ ...least, DEVICE_REGION: "ap-guangzhou" })).toThrow(/^Set either/);
  });

  test("need credentials, or what it takes to register", () => {
    const { DEVICE_CSV: _, ...rest } = least;
    expect(() => readSettings({ ...rest, PRODUCT_ID: "P" })).toThrow(
      /^Set DEVICE_CSV, or PRODUCT_ID and PRODUCT_SECRET/,
    );
    expect(readSettings({ ...rest, PRODUCT_ID: "P", PRODUCT_SECRET: "s" }).prefix).toBe("board");
  });

  test.each([
    ["DEVICE_COUNT", "1.5", "an integer from 1 to 1000000"],
    ["DEVICE_COUNT", "many", "an integer from 1 to 1000000"],
    ["DEVICE_OFFSET", "-1", "an integer from 0 to 10000000"],
    ["FLEET_JITTER", "2", "a number from 0 to 1"],
    ["FLEET_INTERVAL", "1e9", "a number from 0 to 86400"],
  ])("reject %s=%s", (name, value, range) => {
    expect(() => readSettings({ ...least, [name]: value })).toThrow(`${name} must be ${range}.`);
  });

  test("come from Artillery's variables, too, as numbers", () => {
    expect(readSettings({ ...least, DEVICE_COUNT: 25, DEVICE_OFFSET: 50 })).toMatchObject({ offset: 50, count: 25 });
  });
});
