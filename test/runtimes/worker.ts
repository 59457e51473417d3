/** The program as a worker for workerd: gets the task as a request, and responds with the report. */
import { run, type Task } from "./program.js";

declare const Response: new (body: string) => unknown;

export default {
  async fetch(request: { json(): Promise<Task> }): Promise<unknown> {
    return new Response(JSON.stringify(await run(await request.json())));
  },
};
