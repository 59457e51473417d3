/** Settings of a device, from the command line, the environment or a profile, in this order. */

import { dirname, resolve } from "node:path";
import { CliError } from "./failure.js";
import { readText } from "./files.js";
import { type Streams, wholeNumber } from "./io.js";

export interface Settings {
  productId?: string;
  deviceName?: string;
  topic?: string;
  qos?: number;
  psk?: string;
  pskFile?: string;
  keyFile?: string;
  productSecret?: string;
  productSecretFile?: string;
  region?: string;
  url?: string;
  trustAnchors?: string;
  timeoutMs?: number;
}

type Name = keyof Settings;

/** Settings with their environment variables and their types in a profile. */
export const settingNames: Readonly<Record<Name, { readonly env: string; readonly type: "string" | "number" }>> = {
  productId: { env: "TENCENT_IOTHUB_PRODUCT_ID", type: "string" },
  deviceName: { env: "TENCENT_IOTHUB_DEVICE_NAME", type: "string" },
  topic: { env: "TENCENT_IOTHUB_TOPIC", type: "string" },
  qos: { env: "TENCENT_IOTHUB_QOS", type: "number" },
  psk: { env: "TENCENT_IOTHUB_PSK", type: "string" },
  pskFile: { env: "TENCENT_IOTHUB_PSK_FILE", type: "string" },
  keyFile: { env: "TENCENT_IOTHUB_KEY_FILE", type: "string" },
  productSecret: { env: "TENCENT_IOTHUB_PRODUCT_SECRET", type: "string" },
  productSecretFile: { env: "TENCENT_IOTHUB_PRODUCT_SECRET_FILE", type: "string" },
  region: { env: "TENCENT_IOTHUB_REGION", type: "string" },
  url: { env: "TENCENT_IOTHUB_URL", type: "string" },
  trustAnchors: { env: "TENCENT_IOTHUB_TRUST_ANCHORS", type: "string" },
  timeoutMs: { env: "TENCENT_IOTHUB_TIMEOUT_MS", type: "number" },
};

export const profileVariable = "TENCENT_IOTHUB_PROFILE";

const names = Object.keys(settingNames) as Name[];
const files: readonly Name[] = ["pskFile", "keyFile", "productSecretFile", "trustAnchors"];
/** Mutually exclusive settings: a PSK on the command line overrides a key file in the profile. */
const groups: readonly (readonly Name[])[] = [
  ["psk", "pskFile", "keyFile"],
  ["productSecret", "productSecretFile"],
  ["region", "url"],
];

interface Layer {
  readonly from: string;
  readonly settings: Settings;
}

/**
 * Reads the settings. @param given settings from the command line
 * @throws {CliError} USAGE, FILE_UNREADABLE, INVALID_PROFILE
 */
export async function readSettings(
  given: Settings,
  profile: string | undefined,
  env: Streams["env"],
): Promise<Settings> {
  const layers: Layer[] = [
    { from: "the command line", settings: given },
    { from: "the environment", settings: fromEnvironment(env) },
  ];
  const path = profile ?? (env[profileVariable] || undefined);
  if (path !== undefined) layers.push({ from: `the profile ${path}`, settings: await readProfile(path) });

  const settings: Settings = {};
  for (const name of names) {
    const group = groups.find((members) => members.includes(name)) ?? [name];
    const layer = layers.find(({ settings: s }) => group.some((member) => s[member] !== undefined));
    if (layer === undefined) continue;
    const present = group.filter((member) => layer.settings[member] !== undefined);
    if (present.length > 1) {
      throw new CliError("USAGE", `Only one of ${present.join(" and ")} can be used; ${layer.from} contains both.`);
    }
    if (layer.settings[name] !== undefined) Object.assign(settings, { [name]: layer.settings[name] });
  }
  return settings;
}

function fromEnvironment(env: Streams["env"]): Settings {
  const settings: Record<string, unknown> = {};
  for (const name of names) {
    const { env: variable, type } = settingNames[name];
    const value = env[variable];
    // An empty variable counts as unset.
    if (value) settings[name] = type === "number" ? wholeNumber(value) : value;
  }
  return settings;
}

async function readProfile(path: string): Promise<Settings> {
  const invalid = (what: string) =>
    new CliError("INVALID_PROFILE", `The profile ${path} ${what}.`, {
      hint: `A profile is a JSON object with any of ${names.join(", ")}.`,
    });
  let profile: unknown;
  const content = await readText(path, "profile");
  try {
    profile = JSON.parse(content);
  } catch {
    // The parser's message quotes text near the error, which may be a key.
    throw invalid("is not valid JSON");
  }
  if (typeof profile !== "object" || profile === null || Array.isArray(profile)) throw invalid("is not a JSON object");
  const settings: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(profile)) {
    if (!Object.hasOwn(settingNames, name)) throw invalid(`has an unknown member ${JSON.stringify(name)}`);
    const { type } = settingNames[name as Name];
    if (typeof value !== type) throw invalid(`needs a ${type} for ${JSON.stringify(name)}`);
    settings[name] = files.includes(name as Name) ? resolve(dirname(path), value) : value;
  }
  return settings;
}
