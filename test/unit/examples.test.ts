import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "@jest/globals";

const board = new URL("../../examples/board/", import.meta.url);
// jest's mapping of `.js` to TypeScript would look for a source that is not there.
const { celsius } = await import(fileURLToPath(new URL("tmp36.js", board)));

/** What the SDK's calibrated input gives on an ESP32 for a voltage: `modules/io/analog/esp32/_analog.c`, 12 dB. */
function sdkReading(millivolts: number, resolution: number): number {
  const full = (1 << resolution) - 1;
  return Math.min(full, Math.trunc((Math.trunc(millivolts) * full) / 2450));
}

describe("the thermometer of the examples", () => {
  test.each([12, 13])("reads a TMP36 to a tenth of a degree, at %d bits", (resolution) => {
    for (let millivolts = 150; millivolts <= 1750; millivolts++) {
      const expected = (millivolts - 500) / 10;
      expect(Math.abs(celsius(sdkReading(millivolts, resolution), resolution) - expected)).toBeLessThanOrEqual(0.1001);
    }
  });

  test("reads 750 mV as 25 °C", () => {
    expect(celsius(sdkReading(750, 12), 12)).toBeCloseTo(25, 0);
  });
});

describe("the pin of the sensor", () => {
  const { config, platforms } = JSON.parse(readFileSync(new URL("pins.json", board), "utf8"));
  // Inputs of ADC1, by the tables of the same file of the SDK.
  const adc1: [RegExp, number[]][] = [
    [/^esp32\/esp32c3/, [0, 1, 2, 3, 4]],
    [/^esp32\/esp32c6/, [0, 1, 2, 3, 4, 5, 6]],
    [/^esp32\/esp32s3/, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]],
    [/^esp32$/, [32, 33, 34, 35, 36, 37, 38, 39]],
  ];

  test.each(["esp32", "esp32/esp32c3", "esp32/esp32c6", "esp32/esp32s3"])("is an input of ADC1 on %s", (platform) => {
    const { sensorPin } = platforms[platform]?.config ?? config;
    const [, pins] = adc1.find(([chip]) => chip.test(platform)) as [RegExp, number[]];
    expect(pins).toContain(sensorPin);
  });
});
