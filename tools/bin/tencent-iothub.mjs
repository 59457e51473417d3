#!/usr/bin/env node
// Committed, so that npm can link the command before the first build of a checkout.
import { existsSync } from "node:fs";

const built = new URL("../dist/tencent-iothub.js", import.meta.url);
if (existsSync(built)) {
  await import(built.href);
} else {
  console.error("error: NOT_BUILT: This checkout has not been built; npm run build does it.");
  process.exitCode = 1;
}
