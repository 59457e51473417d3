import { expect, test } from "@jest/globals";
import { createModdableHost, useMachine } from "../host/moddable-machine.js";
import { checkMatrix } from "./check.js";

useMachine();

test("every fault, on the Moddable host", async () => {
  await checkMatrix({ name: "Moddable", schemes: ["http"], create: () => createModdableHost() });
  expect.hasAssertions();
}, 180_000);
