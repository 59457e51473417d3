// Fails the run for warnings of jest's main process, and says which ones are let through everywhere.
import { allowedWarnings, describeWarning, isAllowed, reported } from "./watch.mjs";

export default class GuardReporter {
  #warnings = [];
  #note = (warning) => {
    if (!isAllowed(warning)) this.#warnings.push(warning);
  };

  #watching;

  constructor({ watch, watchAll }) {
    this.#watching = watch || watchAll;
    process.on("warning", this.#note);
  }

  onRunStart() {
    for (const { name, message, reason } of allowedWarnings) {
      process.stderr.write(`Let through: ${name} ${message}, because ${reason}.\n`);
    }
  }

  onRunComplete(_contexts, { numFailedTestSuites }) {
    process.off("warning", this.#note);
    this.#warnings = this.#warnings.filter((warning) => !reported.has(warning));
    for (const warning of this.#warnings) process.stderr.write(`${describeWarning(warning)}\n`);
    // What a file has left open would keep the process for ever; unreferenced, this does not keep it any longer itself.
    if (numFailedTestSuites > 0 && !this.#watching) setTimeout(() => process.exit(1), 2000).unref();
  }

  getLastError() {
    const [first] = this.#warnings;
    return first === undefined ? undefined : new Error(describeWarning(first));
  }
}
