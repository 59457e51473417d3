/** Runs the command line in this process, with streams, environment and signals controlled by the test. */

import { main } from "../../tools/cli/main.js";

export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Surroundings {
  readonly stdin?: string | Uint8Array;
  readonly env?: Record<string, string>;
  readonly tty?: boolean;
  readonly onInterrupt?: (callback: () => void) => void;
  readonly onOutput?: (all: string) => void;
}

export async function run(args: readonly string[], around: Surroundings = {}): Promise<Run> {
  let stdout = "";
  let stderr = "";
  const code = await main(args, {
    stdin: (async function* () {
      yield around.stdin ?? "";
    })(),
    stdout: {
      isTTY: around.tty,
      write: (text) => {
        stdout += text;
        around.onOutput?.(stdout);
      },
    },
    stderr: {
      isTTY: around.tty,
      write: (text) => {
        stderr += text;
      },
    },
    // Generous for busy machines: these steps do not depend on time.
    env: { TENCENT_IOTHUB_TIMEOUT_MS: "900000", ...around.env },
    onInterrupt: around.onInterrupt ?? (() => {}),
  });
  return { code, stdout, stderr };
}
