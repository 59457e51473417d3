/** Types of the library that the boards use. */
export type { DeviceEvent, DeviceOptions, Host, NodeHost } from "../../host/node/index.js";
