/** Joins the network that `wifi` and `wifiPassword` in secrets.json name, and again whenever it is lost. */

import WiFi from "embedded:network/interface/wifi";
import config from "mc/config";
import Timer from "timer";

const RETRY_MS = 5000;
/** `connection` of ECMA-419: below it, no connection is being made. */
const CONNECTING = 300;

export function startWifi() {
  const wifi = new WiFi({
    onChanged() {
      if (wifi.connection < CONNECTING) later("disconnected");
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
    trace(`Wi-Fi "${config.wifi}": ${reason}; next attempt in ${RETRY_MS / 1000} s\n`);
    Timer.set(connect, RETRY_MS);
  };
  connect();
}
