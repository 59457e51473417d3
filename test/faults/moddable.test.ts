import { test } from "@jest/globals";
import { createModdableHost, useMachine } from "../support/moddable-machine.js";
import { checkMatrix } from "./check.js";

useMachine();

test("every fault, on the Moddable host", async () => {
  await checkMatrix({
    name: "Moddable",
    schemes: ["http", "https"],
    // A Buffer's slice is a view, which no device knows.
    create: ({ rootDer }) => createModdableHost({ certificates: [Uint8Array.from(rootDer)] }),
  });
}, 180_000);
