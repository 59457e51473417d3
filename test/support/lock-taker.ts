/**
 * A process that locks a storage folder on request. Arguments: the folder. Each message of the parent is one
 * attempt; the reply is `"taken"` or the error's code.
 */

import { createStorage } from "../../host/node/storage.js";

const storage = createStorage(process.argv[2]);
process.on("message", async (message) => {
  try {
    if (message === "close") await storage.close();
    else await storage.set(`taken-${process.pid % 1000}`, "1");
    process.send?.("taken");
  } catch (error) {
    process.send?.((error as { code?: string }).code ?? String(error));
  }
});
process.send?.("ready");
