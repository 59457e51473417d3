import { test } from "@jest/globals";
import { createHost } from "../../host/node/index.js";
import { checkMatrix } from "./check.js";

test("every fault, on the Node host", async () => {
  await checkMatrix({ name: "Node", schemes: ["http", "https"], create: ({ root }) => createHost({ ca: root }) });
}, 180_000);
