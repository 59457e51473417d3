import Timer from "timer";

/** An analog input as the SDK's on an ESP32, with a TMP36 on it, in a room between 20 and 25 °C. */
export default class Analog {
  /** @type {number} bits */
  resolution = 12;
  #celsius = 22;

  /** @param {{ pin: number }} _options */
  constructor(_options) {
    Timer.repeat(() => {
      this.#celsius = Math.min(25, Math.max(20, this.#celsius + Math.random() - 0.5));
    }, 1000);
  }

  /** @returns {number} of 4095 for 2450 mV, as the calibrated input at 12 dB */
  read() {
    return Math.trunc(((500 + 10 * this.#celsius) * 4095) / 2450);
  }
}
