import { createModdableHost, useMachine } from "../support/moddable-machine.js";
import { testMatrix } from "./check.js";

useMachine();

testMatrix({
  name: "Moddable",
  schemes: ["http", "https"],
  // A Buffer's slice is a view, which no device knows.
  create: ({ rootDer }) => createModdableHost({ trustAnchors: [Uint8Array.from(rootDer)] }),
});
