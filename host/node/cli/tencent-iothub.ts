#!/usr/bin/env node
import { main } from "./main.js";

let interrupt = (): void => {};

// A reader that has gone (`| head`) is no failure of the command: what is left is done unseen, and the exit code tells
// how it went. Only what would go on for ever ends, as there is nobody left to see it.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  interrupt();
});
// Diagnostics that cannot be written have nowhere to be reported, and do not change the outcome.
process.stderr.on("error", () => {});

process.exitCode = await main(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  onInterrupt(callback) {
    interrupt = callback;
    process.once("SIGINT", callback);
    process.once("SIGTERM", callback);
  },
});
