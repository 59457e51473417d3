/** Primitives for the verification of certificate chains, with node:crypto: those of the command line, and counted. */

import type { SignaturePrimitives } from "../../host/moddable/tls/verify.js";
import { nodePrimitives } from "../../tools/cli/node-primitives.js";

export { nodePrimitives };

/** The same, counting the verified signatures. */
export function countingPrimitives(): SignaturePrimitives & { checks: number } {
  const counting = {
    checks: 0,
    hash: nodePrimitives.hash,
    rsaPublic(...parameters: Parameters<SignaturePrimitives["rsaPublic"]>) {
      counting.checks++;
      return nodePrimitives.rsaPublic(...parameters);
    },
    ecdsaVerify(...parameters: Parameters<SignaturePrimitives["ecdsaVerify"]>) {
      counting.checks++;
      return nodePrimitives.ecdsaVerify(...parameters);
    },
  };
  return counting;
}
