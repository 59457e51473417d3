/** What `tencent-iothub init` creates, run as `npm run dev` does. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { main } from "../../tools/cli/main.js";
import type { ProgramTest } from "./programs.js";
import { type Display, environment } from "./simulator.js";
import type { Workshop } from "./workshop.js";

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command, and interrupts it when it has printed enough. */
async function run(argv: readonly string[], env: NodeJS.ProcessEnv, enough?: (output: string) => boolean) {
  let [stdout, stderr] = ["", ""];
  let interrupt = () => {};
  const outcome: Promise<Outcome> = main(argv, {
    stdin: (async function* () {})(),
    stdout: {
      write(text) {
        stdout += text;
        if (process.env.SIM_VERBOSE) process.stdout.write(`    | ${text}`);
        if (enough?.(stdout)) interrupt();
      },
    },
    stderr: { write: (text) => (stderr += text) },
    env,
    onInterrupt: (callback) => (interrupt = callback),
  }).then((code) => ({ code, stdout, stderr }));
  const { code } = await outcome;
  if (code !== 0) throw new Error(`${argv[0]} ended with ${code}: ${stderr}${stdout.slice(-2000)}`);
  return stdout;
}

export function projects(workshop: Workshop, display: Display): ProgramTest[] {
  return ["typescript", "javascript"].map((language) => ({
    name: `a new project in ${language}, npm run dev`,
    async run() {
      const project = join(workshop.folder, `init-${language}`);
      await run(["init", project, "--language", language], {});
      // The packages for tests come from a registry; the simulator does without.
      await writeFile(join(project, "package.json"), '{ "private": true, "type": "module" }');
      await workshop.install(project);
      const env = { ...environment, DISPLAY: display.name, G_MESSAGES_DEBUG: "" };
      const printed = await run(
        ["dev", "--project", project],
        env,
        (output) => /^ok /m.test(output) && /^sim +reading \d+ delivered$/m.test(output),
      );
      const failed = /^(refused|tls|dropped) .*$/m.exec(printed);
      if (failed !== null) throw new Error(failed[0]);
      const [, message] = /^ok .* (SAMPLE0001\/sensor1\/data .*?) hmacsha256/m.exec(printed) as RegExpExecArray;
      return message;
    },
  }));
}
