// jest's environment for Node, in which a test file also fails for what it leaves: a warning of the process, an unhandled
// rejection after its last test, a server, socket, timer or child process.
import { TestEnvironment } from "jest-environment-node";
import { describeWarning, isAllowed, OpenHandles, reported } from "./watch.mjs";

/** For what is being closed; a busy machine needs some of it, and a file that leaves nothing needs none. */
const CLOSING_MS = 20_000;
const turn = () => new Promise((resolve) => setImmediate(resolve));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export default class GuardedEnvironment extends TestEnvironment {
  #warnings = [];
  #note = (warning) => {
    if (!isAllowed(warning)) this.#warnings.push(warning);
  };
  #handles;
  #closingMs;

  constructor(config, context) {
    super(config, context);
    this.#closingMs = config.projectConfig.testEnvironmentOptions.closingMs ?? CLOSING_MS;
  }

  async setup() {
    await super.setup();
    process.on("warning", this.#note);
    this.#handles = new OpenHandles(this.global);
  }

  async handleTestEvent(event, state) {
    if (event.name === "run_finish") state.unhandledErrors.push(...(await this.#leftovers()));
  }

  async teardown() {
    this.#handles?.stop();
    await super.teardown();
    await turn();
    process.off("warning", this.#note);
    const [late] = this.#warnings;
    if (late !== undefined) throw plainError(describeWarning(late));
  }

  async #leftovers() {
    const rejections = [];
    const note = (reason) => rejections.push(reason);
    process.on("unhandledRejection", note);
    // What is emitted on the next tick has come after two turns.
    await turn();
    await turn();
    const end = performance.now() + this.#closingMs;
    let open = this.#handles.list();
    while (open.length > 0 && performance.now() < end) {
      await pause(10);
      open = this.#handles.list();
    }
    process.off("unhandledRejection", note);
    const warnings = this.#warnings.splice(0);
    for (const warning of warnings) reported.add(warning);
    const found = warnings.map(describeWarning);
    found.push(...rejections.map((reason) => `Unhandled rejection: ${reason?.stack ?? reason}`));
    if (open.length > 0) found.push(`Left open by this file: ${open.join("; ")}`);
    return found.map(plainError);
  }
}

/** Without a stack, which would point here. */
function plainError(message) {
  const error = new Error(message);
  error.stack = `Error: ${message}`;
  return error;
}
