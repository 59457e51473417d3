/** `tencent-iothub dev`: runs the app in the simulator against a gateway on this computer. */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { CliError, exitCodes } from "./failure.js";
import {
  deskConfig,
  findProgram,
  mcconfig,
  openProject,
  type Program,
  start,
  startDeskGateway,
  writeManifest,
} from "./firmware.js";
import { colorsFor, printLine, type Streams } from "./io.js";

export interface DevArguments {
  readonly project: string;
  readonly port?: number;
}

const TARGET = "sim";

export async function dev(io: Streams, given: DevArguments): Promise<void> {
  const project = openProject(io, given.project);
  const isLinux = process.platform === "linux";
  if (isLinux && !io.env.DISPLAY && !io.env.WAYLAND_DISPLAY) {
    throw new CliError("DISPLAY_MISSING", "The simulator has a window, and DISPLAY is not set.", {
      hint: "Without a screen: xvfb-run npm run dev",
    });
  }
  const interrupted = new Promise<"interrupted">((resolve) => io.onInterrupt(() => resolve("interrupted")));
  const gateway = await startDeskGateway(io, project, { port: given.port ?? 0 });
  let simulator: Program | undefined;
  try {
    const folder = join(project.folder, "build", TARGET);
    // All simulators of a computer share one file of preferences otherwise.
    const file = { root: `${join(folder, "preferences")}/` };
    await writeManifest(project, TARGET, { ...deskConfig(gateway, "localhost"), file }, gateway.ca);
    // The SDK does not create it, and keeps nothing without it.
    await mkdir(file.root, { recursive: true });
    const c = colorsFor(io.stdout, io.env);
    // The simulator stays open when the app's virtual machine has ended.
    let abort = () => {};
    const aborted = new Promise<"aborted">((resolve) => {
      abort = () => resolve("aborted");
    });
    const printed = (line: string) => {
      if (line.includes("XS abort")) abort();
      return `${c.cyan("sim    ")} ${line}`;
    };
    if (isLinux) {
      // The rule that also starts the simulator ends all others of the computer first.
      if (!(await mcconfig(io, project, "sim", TARGET, { parameters: ["-t", "build"], interrupted }))) return;
      const library = join(folder, "bin/lin/mc/release", TARGET, "mc.so");
      const command = ["mcsim", join(project.sdk, "build/simulators"), library];
      // Without stdbuf, what the app traces stays in a buffer.
      if (findProgram("stdbuf", project.env.PATH as string) !== undefined) command.unshift("stdbuf", "-oL");
      simulator = start(io, project, command[0], command.slice(1), printed);
      printLine(io.stdout, "the app runs; stop with Ctrl-C");
    } else {
      await mcconfig(io, project, "sim", TARGET, { interrupted });
    }
    const end = await Promise.race([interrupted, aborted, ...(simulator ? [simulator.ended] : [])]);
    if (end === "aborted") {
      throw new CliError("APP_ABORTED", "The app has aborted; what it printed last is above.", {
        exitCode: exitCodes.other,
      });
    }
  } finally {
    await simulator?.stop();
    await gateway.close();
  }
}
