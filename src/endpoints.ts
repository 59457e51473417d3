/** Endpoints of the gateway that a device posts to: path and body encoding. */

import { utf8 } from "./crypto/utf8.js";
import { type CheckedMessage, encodeMessage, type Identity } from "./message.js";

export interface DeviceEndpoint {
  readonly path: string;
  encode(identity: Identity, content: CheckedMessage): Uint8Array;
}

export const publishEndpoint: DeviceEndpoint = Object.freeze({ path: "/device/publish", encode: encodeMessage });

/** The content has no topic; its payload is a JSON array of strings. */
export const logEndpoint: DeviceEndpoint = Object.freeze({
  path: "/device/reportlog",
  // Nothing in the identity needs an escape.
  encode: ({ productId, deviceName }: Identity, { payload }: CheckedMessage) =>
    utf8(`{"ProductId":"${productId}","DeviceName":"${deviceName}","Message":${payload}}`),
});

/** Indexes into {@link deviceEndpoints}. */
export const PUBLISH = 0;
export const REPORT_LOG = 1;

/** Endpoints by the number that an outbox stores with each message. Append only. */
export const deviceEndpoints: readonly DeviceEndpoint[] = Object.freeze([publishEndpoint, logEndpoint]);
