import { createHost } from "../../host/node/index.js";
import { testMatrix } from "./check.js";

testMatrix({ name: "Node", schemes: ["http", "https"], create: ({ root }) => createHost({ trustAnchors: root }) });
