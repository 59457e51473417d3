/** The stand-in for the SDK's TCP socket: the cases that `npm run test:sim` runs with the SDK's own. */

import { expect, test } from "@jest/globals";
import TCP from "../../mocks/moddable/tcp.js";
import { useMachine } from "../support/moddable-machine.js";
import { type SocketClass, tcpIoCases } from "../support/tcp-io.cases.js";
import { withServer } from "../support/tcp-io-server.js";

useMachine();

test.each(tcpIoCases)("stand-in for TCP: $name", async (each) => {
  const outcome = await withServer(each, (port) => each.client(TCP as unknown as SocketClass, port));
  expect(outcome).toEqual(each.expected);
});
