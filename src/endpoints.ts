/** What a device posts of its own accord: a path each, and how content becomes a body. */

import { utf8 } from "./crypto/utf8.js";
import { type CheckedMessage, encodeMessage, type Identity } from "./message.js";

export interface DeviceEndpoint {
  readonly path: string;
  encode(identity: Identity, content: CheckedMessage): Uint8Array;
}

/** Numbers of {@link deviceEndpoints}. */
export const PUBLISH = 0;
export const REPORT_LOG = 1;

/** By the number that an outbox stores with what waits: more may follow at the end. */
export const deviceEndpoints: readonly DeviceEndpoint[] = Object.freeze([
  Object.freeze({ path: "/device/publish", encode: encodeMessage }),
  // The payload is a JSON array of texts; nothing in the identity needs an escape.
  Object.freeze({
    path: "/device/reportlog",
    encode: ({ productId, deviceName }: Identity, { payload }: CheckedMessage) =>
      utf8(`{"ProductId":"${productId}","DeviceName":"${deviceName}","Message":${payload}}`),
  }),
]);
