/** `ssl/prf`: RFC 5246 section 5, with SHA-256. */

import { createHmac } from "node:crypto";

export default function PRF(
  _session: object,
  secret: ArrayBuffer,
  label: string,
  seed: ArrayBuffer,
  length: number,
): ArrayBuffer {
  const key = Buffer.from(secret);
  const whole = Buffer.concat([Buffer.from(label), Buffer.from(seed)]);
  const parts: Buffer[] = [];
  let a: Buffer = whole;
  for (let size = 0; size < length; size += 32) {
    a = createHmac("sha256", key).update(a).digest();
    parts.push(createHmac("sha256", key).update(a).update(whole).digest());
  }
  return Uint8Array.from(Buffer.concat(parts).subarray(0, length)).buffer;
}
