/** A local gateway over HTTPS in a separate process; responds to each message with its counts. */
import { startGateway } from "../../tools/gateway/index.js";

const gateway = await startGateway({ devices: JSON.parse(process.argv[2]), https: true });
process.on("message", () => process.send?.(gateway.counts));
process.on("disconnect", () => process.exit(0));
process.send?.({ url: gateway.url, ca: gateway.ca });
