import Timer from "timer";

/** An analog input of ECMA-419 with a TMP36 on it, in a room between 20 and 25 °C. */
export default class Analog {
  readonly resolution = 12;
  #celsius = 22;

  constructor(_options: { readonly pin: number }) {
    Timer.repeat(() => {
      this.#celsius = Math.min(25, Math.max(20, this.#celsius + Math.random() - 0.5));
    }, 1000);
  }

  read(): number {
    return Math.round(((500 + 10 * this.#celsius) / 3300) * 4095);
  }
}
