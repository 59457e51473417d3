import Timer from "timer";

/** Simulated analog input of an ESP32 with a TMP36 in a room at 20 to 25 °C. */
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

  /** @returns {number} 4095 for 2450 mV, like the calibrated input at 12 dB */
  read() {
    return Math.trunc(((500 + 10 * this.#celsius) * 4095) / 2450);
  }
}
