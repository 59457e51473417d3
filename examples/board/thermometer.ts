import Analog from "embedded:io/analog";
import config from "mc/config";

/** Millivolts that an ESP32 reads as the largest number. */
const FULL_SCALE = 3300;

/** A TMP36 at an analog input: 500 mV at 0 °C, 10 mV more for each degree. */
export class Thermometer {
  readonly #input = new Analog({ pin: Number(config.sensorPin) });

  /** Degrees Celsius. */
  read(): number {
    const millivolts = (this.#input.read() / ((1 << this.#input.resolution) - 1)) * FULL_SCALE;
    return Math.round(millivolts - 500) / 10;
  }
}
