import Analog from "embedded:io/analog";
import config from "mc/config";
import { celsius } from "./tmp36.js";

/** A TMP36 at the analog input that the setting `sensorPin` names. */
export class Thermometer {
  /** @type {Analog | undefined} */
  #input;

  constructor() {
    try {
      this.#input = new Analog({ pin: Number(config.sensorPin) });
    } catch (error) {
      // Pins differ from chip to chip: the app goes on and says what to set.
      trace(`Pin ${config.sensorPin} is no analog input here (${error}); set sensorPin=… to one of this board.\n`);
    }
  }

  /** @returns {number | undefined} degrees Celsius; undefined without an analog input */
  read() {
    return this.#input && celsius(this.#input.read(), this.#input.resolution);
  }
}
