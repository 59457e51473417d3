/** Runs the command line in this process, with streams, environment and signals controlled by the test. */

import type { Streams } from "../../tools/cli/io.js";
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
  /** A stream of lines that a test writes. */
  readonly input?: AsyncIterable<string>;
  readonly networkInterfaces?: Streams["networkInterfaces"];
  readonly onOutput?: (all: string) => void;
}

export async function run(args: readonly string[], around: Surroundings = {}): Promise<Run> {
  let stdout = "";
  let stderr = "";
  const code = await main(args, {
    stdin: Object.assign(
      around.input ??
        (async function* () {
          yield around.stdin ?? "";
        })(),
      { isTTY: around.tty },
    ),
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
    networkInterfaces: around.networkInterfaces,
    onInterrupt: around.onInterrupt ?? (() => {}),
  });
  return { code, stdout, stderr };
}
