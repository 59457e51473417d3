import Timer from "timer";

/** The Wi-Fi interface of ECMA-419 where the computer's own network is meant. */
export default class WiFi {
  readonly #onChanged: (this: WiFi) => void;
  #connection = 200;

  constructor(options: { onChanged(this: WiFi): void }) {
    this.#onChanged = options.onChanged;
  }

  get connection(): number {
    return this.#connection;
  }

  connect(_options: { readonly SSID: string; readonly password?: string }): void {
    Timer.set(() => {
      this.#connection = 500;
      this.#onChanged();
    });
  }
}
