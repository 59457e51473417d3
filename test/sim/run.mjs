// Runs the library on the simulator of the Moddable SDK: `npm run test:sim`.
import { existsSync } from "node:fs";

const sdk = process.env.MODDABLE;
if (!sdk || !existsSync(`${sdk}/tools/VERSION`)) {
  console.log("Simulator tests are skipped: MODDABLE does not name a Moddable SDK.");
} else {
  await import("../support/typescript.mjs");
  const { main } = await import("./main.ts");
  process.exitCode = await main(process.argv.slice(2));
}
