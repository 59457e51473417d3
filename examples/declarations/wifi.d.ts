/**
 * Declarations used by the examples that npm's typings of the Moddable SDK lack. If `MODDABLE` names an SDK,
 * `npm run types` also compiles the examples with its typings, without this file.
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
