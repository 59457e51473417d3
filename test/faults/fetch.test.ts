import { createHost } from "../../host/fetch/index.js";
import { testMatrix } from "./check.js";

// Which connection a request gets, and so what a fault comes to, is decided by the version of Node's fetch.
testMatrix({ name: "fetch", schemes: ["http"], create: () => createHost() }, false);
