import { createModdableHost, useMachine } from "../support/moddable-machine.js";
import { testOwnResponses } from "./own-responses.js";

useMachine();

testOwnResponses({
  name: "Moddable",
  schemes: ["http", "https"],
  create: ({ rootDer }) => createModdableHost({ trustAnchors: [Uint8Array.from(rootDer)] }),
});
