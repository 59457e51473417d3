/** `tencent-iothub flash`: builds the app for a board and flashes it, for the cloud or for a gateway on this computer. */

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type Gateway, localAddresses } from "../gateway/index.js";
import { platformOf } from "./boards.js";
import { CliError, exitCodes } from "./failure.js";
import {
  type Config,
  deskConfig,
  findProgram,
  mcconfig,
  openProject,
  type Project,
  readJson,
  startDeskGateway,
  stateFolder,
  writeManifest,
} from "./firmware.js";
import { printLine, type Streams } from "./io.js";

export interface FlashArguments {
  readonly project: string;
  readonly board: string;
  readonly desk?: boolean;
  readonly host?: string;
  readonly port?: number;
  readonly xsbug?: boolean;
}

const SECRETS = "secrets.json";
const DESK_PORT = 8443;
const wifiNames = ["wifi", "wifiPassword"] as const;
const cloudNames = ["productId", "deviceName", "psk", "productSecret"] as const;

export async function flash(io: Streams, given: FlashArguments): Promise<void> {
  const { desk = false } = given;
  const project = openProject(io, given.project);
  checkIdf(project);
  const secrets = await readSecrets(project, desk);
  const UPLOAD_PORT = serialPort(io.env.UPLOAD_PORT);
  const platform = platformOf(given.board);
  const options = { parameters: given.xsbug ? ["-d"] : [], env: { UPLOAD_PORT } };
  if (!desk) {
    const { config } = await readApp(project);
    await writeManifest(project, "flash", secrets);
    printLine(
      io.stdout,
      `flashing ${given.board} on ${UPLOAD_PORT}, for ${config.url || config.region || "ap-guangzhou"}`,
    );
    await mcconfig(io, project, platform, "flash", options);
    return;
  }
  const host = given.host ?? deskAddress(io);
  const interrupted = new Promise<void>((resolve) => io.onInterrupt(resolve));
  const gateway: Gateway = await startDeskGateway(io, project, { port: given.port ?? DESK_PORT, host });
  try {
    await writeManifest(project, "desk", { ...secrets, ...deskConfig(gateway, host) }, gateway.ca);
    printLine(io.stdout, `flashing ${given.board} on ${UPLOAD_PORT}, for the gateway on this computer`);
    if (!(await mcconfig(io, project, platform, "desk", { ...options, interrupted }))) return;
    printLine(io.stdout, `the gateway waits for the board (port ${gateway.port} must be open here); stop with Ctrl-C`);
    await interrupted;
  } finally {
    await gateway.close();
  }
}

/** @throws {CliError} IDF_MISSING */
function checkIdf({ env }: Project): void {
  const hint = "Install it as the Moddable SDK's documentation of the ESP32 says.";
  if (!env.IDF_PATH)
    throw new CliError("IDF_MISSING", "IDF_PATH is not set: it names the folder of ESP-IDF.", { hint });
  if (!existsSync(env.IDF_PATH)) {
    throw new CliError("IDF_MISSING", `IDF_PATH names ${env.IDF_PATH}, which does not exist.`, { hint });
  }
  if (findProgram("idf.py", env.PATH as string) === undefined) {
    throw new CliError("IDF_MISSING", "idf.py is not on the PATH of this terminal.", {
      hint: `Run: . ${join(env.IDF_PATH, "export.sh")}`,
    });
  }
}

/**
 * Returns the board's port.
 * @param chosen UPLOAD_PORT
 * @throws {CliError} SERIAL_PORT_MISSING
 */
export function serialPort(
  chosen: string | undefined,
  platform: NodeJS.Platform = process.platform,
  list: () => string[] = () => readdirSync("/dev"),
): string {
  const isNamed = platform === "win32";
  if (chosen) {
    if (isNamed || existsSync(chosen)) return chosen;
    throw new CliError(
      "SERIAL_PORT_MISSING",
      `UPLOAD_PORT is ${chosen}, which does not exist: is the board connected?`,
    );
  }
  if (isNamed) {
    throw new CliError(
      "SERIAL_PORT_MISSING",
      "UPLOAD_PORT is not set: it names the board's serial port, such as COM3.",
    );
  }
  const pattern = platform === "darwin" ? /^cu\.(usb|SLAB|wch)/ : /^tty(USB|ACM)\d/;
  const ports = list()
    .filter((name) => pattern.test(name))
    .sort();
  if (ports.length === 1) return `/dev/${ports[0]}`;
  if (ports.length === 0)
    throw new CliError("SERIAL_PORT_MISSING", "No serial port was found: is the board connected?");
  // ESP-IDF would take the first one that replies.
  throw new CliError("SERIAL_PORT_MISSING", `There are ${ports.length} serial ports: set UPLOAD_PORT to one of them.`, {
    hint: ports.map((name) => `/dev/${name}`).join(", "),
  });
}

/**
 * Reads Wi-Fi, and for the cloud the device's credential.
 * @throws {CliError} FILE_UNREADABLE, INVALID_SETTINGS
 */
async function readSecrets(project: Project, desk: boolean): Promise<Config> {
  const invalid = (text: string) =>
    new CliError("INVALID_SETTINGS", `${SECRETS} ${text}.`, { exitCode: exitCodes.credential });
  const all = await readJson(project, SECRETS);
  for (const [name, value] of Object.entries(all)) {
    if (![...wifiNames, ...cloudNames].includes(name as never)) {
      throw invalid(
        `has an unknown setting ${JSON.stringify(name)}; settings that are not secret belong in manifest.json`,
      );
    }
    if (typeof value !== "string") throw invalid(`needs a text for ${JSON.stringify(name)}`);
  }
  if (!all.wifi) throw invalid('has no Wi-Fi network in "wifi"');
  const names = desk ? wifiNames : [...wifiNames, ...cloudNames];
  if (!desk) {
    const missing = (["productId", "deviceName"] as const).find((name) => !all[name]);
    if (missing !== undefined) throw invalid(`has no ${JSON.stringify(missing)}`);
    if (!all.psk && !all.productSecret) throw invalid('has neither "psk" nor "productSecret"');
  }
  return Object.fromEntries(names.filter((name) => all[name]).map((name) => [name, all[name]]));
}

/**
 * Reads the app's manifest.
 * @throws {CliError} INVALID_SETTINGS if it has settings of the desk's gateway
 */
async function readApp(project: Project): Promise<{ config: Record<string, unknown> }> {
  const manifest = await readJson(project, "manifest.json");
  if (JSON.stringify(manifest).includes(stateFolder)) {
    throw new CliError("INVALID_SETTINGS", `manifest.json names ${stateFolder}, the gateway on this computer.`, {
      hint: "flash --desk adds its settings by itself; the app for the cloud must not contain them.",
    });
  }
  return { config: (manifest.config ?? {}) as Record<string, unknown> };
}

/** The address by which the board reaches this computer. @throws {CliError} ADDRESS_MISSING */
function deskAddress(io: Streams): string {
  const found = localAddresses(io.networkInterfaces).usable.find(({ address }) => !address.startsWith("127."));
  if (found === undefined) {
    throw new CliError("ADDRESS_MISSING", "This computer has no private IPv4 address that a board could reach.", {
      hint: "Join the board's network, or name an address with --host.",
    });
  }
  return found.address;
}
