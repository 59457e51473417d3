import WiFi from "embedded:network/interface/wifi";
import config from "mc/config";
import Timer from "timer";

const RETRY_MS = 5000;
/** Value of `connection` (ECMA-419) once the board has an address. */
const ADDRESSED = 500;
/** Lower values mean disconnected. */
const CONNECTING = 300;

/**
 * Connects to the Wi-Fi network of the settings `wifi` and `wifiPassword`, and reconnects whenever it is lost.
 * @returns {Promise<void>} resolves when the board has its first address
 */
export function startNetwork() {
  return new Promise((resolve) => {
    // Uses the variable instead of `this`, which the SDK's typings do not declare for `onChanged`.
    const wifi = new WiFi({
      onChanged() {
        if (wifi.connection === ADDRESSED) resolve();
        else if (wifi.connection < CONNECTING) later("disconnected");
      },
    });
    const connect = () => {
      try {
        if (wifi.connection < CONNECTING) {
          wifi.connect({ SSID: config.wifi, password: config.wifiPassword || undefined });
        }
      } catch (error) {
        later(String(error));
      }
    };
    /** @param {string} reason */
    const later = (reason) => {
      const name = config.wifi ? `"${config.wifi}"` : "no name; set wifi=… and wifiPassword=…";
      trace(`Wi-Fi (${name}): ${reason}; next attempt in ${RETRY_MS / 1000} s\n`);
      Timer.set(connect, RETRY_MS);
    };
    connect();
  });
}
