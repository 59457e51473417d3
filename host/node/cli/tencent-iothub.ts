#!/usr/bin/env node
import { main } from "./main.js";

const interrupts: (() => void)[] = [];

// A reader that has gone (`| head`) changes neither what is done nor the exit code. A command that runs until it is
// interrupted ends when nobody reads it any more.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE" && error.code !== "EOF") throw error;
    if (stream === process.stdout) for (const callback of interrupts) callback();
  });
}

process.exitCode = await main(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  onInterrupt(callback) {
    interrupts.push(callback);
    process.once("SIGINT", callback);
    process.once("SIGTERM", callback);
  },
});
