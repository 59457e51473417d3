/** A CPU profile of the thread that runs the boards. `node --cpu-prof` would lose it: Artillery ends its workers by exit. */

import { writeFileSync } from "node:fs";
import { Session } from "node:inspector";

export class Profiler {
  readonly #session = new Session();
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
    this.#session.connect();
    this.#session.post("Profiler.enable");
    this.#session.post("Profiler.setSamplingInterval", { interval: 1000 });
    this.#session.post("Profiler.start");
  }

  stop(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#session.post("Profiler.stop", (error, result) => {
        if (error) return reject(error);
        writeFileSync(this.#path, JSON.stringify(result.profile));
        this.#session.disconnect();
        resolve();
      });
    });
  }
}
