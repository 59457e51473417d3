import WiFi from "embedded:network/interface/wifi";
import config from "mc/config";
import Timer from "timer";

const RETRY_MS = 5000;
/** `connection` of ECMA-419 once the board has an address. */
const ADDRESSED = 500;
/** Below it no connection is being made. */
const CONNECTING = 300;

/**
 * Joins the network that the settings `wifi` and `wifiPassword` name, and again whenever it is lost.
 * @returns {Promise<void>} resolves when the board has its first address
 */
export function startNetwork() {
  return new Promise((resolve) => {
    // The SDK's typings give `onChanged` no `this`: the variable is used instead.
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
