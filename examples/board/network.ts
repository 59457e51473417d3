import WiFi from "embedded:network/interface/wifi";
import config from "mc/config";
import Timer from "timer";

const RETRY_MS = 5000;
/** `connection` of ECMA-419 from which on the board has an address. */
const ADDRESSED = 500;
/** Below it nothing is under way. */
const CONNECTING = 300;

let started: Promise<void> | undefined;

/**
 * Connects to the network that the manifest's `wifi` and `wifiPassword` name, and again whenever it is lost. Resolves
 * when the board has got its first address.
 */
export function startNetwork(): Promise<void> {
  started ??= new Promise((resolve) => {
    const wifi = new WiFi({
      onChanged(this: WiFi) {
        if (this.connection === ADDRESSED) resolve();
        else if (this.connection < CONNECTING) Timer.set(connect, RETRY_MS);
      },
    });
    const connect = () => {
      try {
        if (wifi.connection < CONNECTING)
          wifi.connect({ SSID: config.wifi, password: config.wifiPassword || undefined });
      } catch {
        Timer.set(connect, RETRY_MS);
      }
    };
    connect();
  });
  return started;
}
