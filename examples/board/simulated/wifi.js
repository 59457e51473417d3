import Timer from "timer";

/** The Wi-Fi interface of ECMA-419, where the computer's own network is used. */
export default class WiFi {
  /** @type {((property: "connection" | "address") => void) | undefined} */
  #onChanged;
  #connection = 200;

  /** @param {{ onChanged?: (property: "connection" | "address") => void }} options */
  constructor(options) {
    this.#onChanged = options.onChanged;
  }

  get connection() {
    return this.#connection;
  }

  /** @param {{ SSID: string, password?: string }} _options */
  connect(_options) {
    Timer.set(() => {
      this.#connection = 500;
      this.#onChanged?.("connection");
    });
  }
}
