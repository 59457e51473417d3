/**
 * A server that misbehaves in a flight of its handshake, on the stand-in; `npm run test:sim` has the SDK's session meet
 * it.
 */

import { expect, test } from "@jest/globals";
import { Device } from "../../src/index.js";
import { cleanups } from "../support/cleanups.js";
import { psk } from "../support/keys.js";
import { expectedResumptions, misbehaviors, startMisbehaving } from "../support/misbehaving-tls.js";
import { createModdableHost, useMachine } from "../support/moddable-machine.js";

useMachine();

const cases = misbehaviors.flatMap((each) =>
  (["ecdsa", "rsa"] as const).map((keyType) => [each.name, keyType, each] as const),
);

test.each(cases)("%s (%s) loses no message, and the next session is resumed", async (_name, keyType, each) => {
  const server = await startMisbehaving(each, keyType);
  cleanups.push(server.close);
  const host = createModdableHost({ trustAnchors: Uint8Array.from(server.rootDer), keepAliveMs: 0 });
  const options = { productId: "P", deviceName: "D", credential: { secret: psk }, retry: false as const };
  const device = new Device({ ...options, url: `https://localhost:${server.port}` }, host);
  for (let i = 0; i < 3; i++) expect((await device.publish({ topic: "data", payload: `${i}` })).status).toBe(200);
  device.close();
  expect(server.seen.resumed).toEqual(expectedResumptions(each));
  expect(server.seen.alerts).toEqual(each.alert === undefined ? [] : [each.alert]);
});
