/** What the examples use of the Moddable SDK and npm's typings do not declare. */

declare module "embedded:network/interface/wifi" {
  export default class WiFi {
    constructor(options: { onChanged(this: WiFi): void });
    connect(options: { SSID: string; password?: string }): void;
    /** 200 disconnected, 300 connecting, 400 connected, 500 with an address. */
    readonly connection: number;
  }
}
