import Analog from "embedded:io/analog";
import config from "mc/config";
import { celsius } from "./tmp36.js";

/** A TMP36 at the analog input of the setting `sensorPin`. */
export class Thermometer {
  /** @type {Analog | undefined} */
  #input;

  constructor() {
    try {
      this.#input = new Analog({ pin: Number(config.sensorPin) });
    } catch (error) {
      // Pins differ between chips: continue, and print what to set.
      trace(`Pin ${config.sensorPin} is not an analog input (${error}); set sensorPin=… to one of this board.\n`);
    }
  }

  /** @returns {number | undefined} degrees Celsius; undefined without an analog input */
  read() {
    return this.#input && celsius(this.#input.read(), this.#input.resolution);
  }
}
