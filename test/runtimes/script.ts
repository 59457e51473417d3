/** The program as a script for Node, Deno and Bun: reads the task from a file and prints the report. */
import { readFileSync } from "node:fs";
import { createHost } from "../../host/node/index.js";
import { publish, run } from "./program.js";

const task = JSON.parse(readFileSync(process.argv[2] as string, "utf8"));
const report = await run(task);
const onNodeHost = await publish(task, task.urls.https, createHost({ trustAnchors: task.ca }));
console.log(JSON.stringify({ ...report, outcomes: { ...report.outcomes, "Node host": onNodeHost } }));
