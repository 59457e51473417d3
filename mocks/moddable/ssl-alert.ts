/** `ssl/alert`. */

import { sealRecord } from "./ssl-record.js";
import type Session from "./ssl-session.js";

const CLOSE_NOTIFY = 0;

export default Object.freeze({
  name: "alert",

  packetize(session: Session, level: number, description: number): Uint8Array {
    return sealRecord(session, 21, Uint8Array.of(level, description));
  },

  /** Throws every alert except close_notify, regardless of its level. */
  unpacketize(session: Session, [level, description]: Uint8Array): void {
    if (description === undefined) throw new Error();
    session.alert = { level, description };
    if (description !== CLOSE_NOTIFY) throw new Error(`alert: ${level}, ${description}`);
  },
});
