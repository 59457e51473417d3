import Timer from "timer";

/** Simulated Wi-Fi interface of ECMA-419: the computer is already connected. */
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
