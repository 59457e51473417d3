/** What npm's typings of the Moddable SDK lack, for the editor; mcconfig uses the SDK's own. */

declare module "embedded:network/interface/wifi" {
  export default class WiFi {
    constructor(options: { onChanged?: (property: "connection" | "address") => void });
    connect(options: { SSID: string; password?: string }): void;
    /** 200 disconnected, 300 connecting, 400 connected, 500 with an address. */
    readonly connection: number;
  }
}
