/**
 * What the examples use of the Moddable SDK's own typings and npm's lack. `npm run types` compiles the examples without
 * this file, too, where `MODDABLE` names an SDK.
 */

declare module "embedded:network/interface/wifi" {
  class WiFi {
    constructor(options: { onChanged?: (property: "connection" | "address") => void });
    connect(options: { SSID: string; password?: string }): void;
    /** 200 disconnected, 300 connecting, 400 connected, 500 with an address. */
    readonly connection: number;
  }
  export default WiFi;
}
