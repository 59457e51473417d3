import { createModdableHost, useMachine } from "../support/moddable-machine.js";
import { testMatrix } from "./check.js";

useMachine();

testMatrix({
  name: "Moddable",
  schemes: ["http", "https"],
  // A Buffer's slice is a view, which no device knows. With False Start it is a race whether a reset or the server's
  // Finished is seen first; tls-session.test.ts has its faults.
  create: ({ rootDer }) => createModdableHost({ trustAnchors: [Uint8Array.from(rootDer)], falseStart: false }),
});
