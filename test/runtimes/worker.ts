/** The program as a worker for workerd: gets the task as a request, and responds with the report. */
import { createHost } from "../../host/fetch/index.js";
import { run, type Task } from "./program.js";

declare const Response: new (body: string) => unknown;

// workerd starts no module that sends, waits or draws random bytes before there is a request: creating a host does not.
createHost();

export default {
  async fetch(request: { json(): Promise<Task> }): Promise<unknown> {
    return new Response(JSON.stringify(await run(await request.json())));
  },
};
