/** The system's cryptographic random generator. */

import { randomBytes } from "node:crypto";
import type { Random } from "../../src/host.js";

export function createRandom(): Random {
  return { bytes: (length) => new Uint8Array(randomBytes(length)) };
}
