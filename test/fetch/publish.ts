/** Publishes once, and prints the status or the error's code: `publish.ts URL PSK`. */
import { Device, IotHubError } from "../../host/fetch/index.js";

const [url, secret] = process.argv.slice(2);
const device = new Device({ productId: "P1", deviceName: "d1", credential: { secret }, url, retry: false });
try {
  console.log((await device.publish({ topic: "data", payload: "x" })).status);
} catch (error) {
  console.log(error instanceof IotHubError ? error.code : String(error));
}
device.close();
