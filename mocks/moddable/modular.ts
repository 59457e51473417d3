/** `modular`: arithmetic modulo m. */

import { inverse } from "./curve.js";

export default class Modular {
  constructor(readonly m: bigint) {}

  mulinv(a: bigint): bigint {
    return inverse(a, this.m);
  }
}
