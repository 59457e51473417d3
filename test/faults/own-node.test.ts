import { createHost } from "../../host/node/index.js";
import { testOwnResponses } from "./own-responses.js";

testOwnResponses({
  name: "Node",
  schemes: ["http", "https"],
  create: ({ root }) => createHost({ trustAnchors: root }),
});
