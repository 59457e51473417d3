#!/usr/bin/env node
import { main } from "./main.js";

const interrupts: (() => void)[] = [];

// Ignore EPIPE (`| head`): neither the work nor the exit status changes. Commands that run until interrupted end then.
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
