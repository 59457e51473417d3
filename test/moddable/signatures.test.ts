/** Signatures by the stand-ins for the SDK and by Node's cryptography; `test:sim` has the SDK judge the same list. */

import { afterAll, expect, test } from "@jest/globals";
import { sdkPrimitives } from "../../host/moddable/tls/primitives.js";
import { isSignature } from "../../host/moddable/tls/verify.js";
import { removeGlobals } from "../../mocks/moddable/index.js";
import { signatureCases } from "../chains/signatures.js";
import { nodePrimitives } from "../support/node-primitives.js";

const cases = signatureCases();

afterAll(removeGlobals);

test.each(cases.map((each) => [each.good, each.name, each] as const))(
  "%s: %s",
  (good, _name, { key, hash, signature, message }) => {
    const parts = [message.subarray(0, 3), message.subarray(3)];
    for (const primitives of [sdkPrimitives, nodePrimitives]) {
      expect(isSignature(primitives, key, { key: key.type, hash }, signature, parts)).toBe(good);
    }
  },
);

test("RSA and EC keys do not verify each other's signatures", () => {
  for (const { key, hash, signature, message } of cases) {
    const other = key.type === "ec" ? "rsa" : "ec";
    expect(isSignature(nodePrimitives, key, { key: other, hash }, signature, [message])).toBe(false);
  }
});
