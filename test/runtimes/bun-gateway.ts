/** The local gateway over HTTPS, as run by Bun: prints where it listens, and ends with its standard input. */
import { startGateway } from "../../tools/gateway/index.js";

const [psk] = process.argv.slice(2);
const gateway = await startGateway({ https: true, devices: { products: { P1: { devices: { d1: { psk } } } } } });
console.log(JSON.stringify({ url: gateway.url, ca: gateway.ca }));
process.stdin.on("end", () => process.exit(0)).resume();
