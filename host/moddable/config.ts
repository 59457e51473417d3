import config from "mc/config";
import Preference from "preference";
import type { DeviceOptions } from "../../src/device.js";
import { IotHubError } from "../../src/errors.js";
import type { ProvisionedDeviceOptions } from "../../src/provisioning/provision.js";

/** Domain of the preferences from which settings are read. */
const DOMAIN = "tencent-iothub";

const NAMES = Object.freeze(["productId", "deviceName", "psk", "productSecret", "region", "url"] as const);

type Settings = { -readonly [Name in (typeof NAMES)[number]]?: string };

/**
 * Reads the firmware's settings: `productId`, `deviceName`, `psk`, `productSecret`, `region` and `url`, each from the
 * preferences (domain `tencent-iothub`) or else from the manifest's `config`, which `mcconfig … productId=… psk=…`
 * overrides. Keep secrets in the preferences: `config` is part of every copy of the firmware.
 */
export function readSettings(): Settings {
  const settings: Settings = {};
  for (const name of NAMES) {
    const value = preference(name) ?? config[name];
    if (typeof value === "string" && value !== "") settings[name] = value;
  }
  return settings;
}

/**
 * Completes a device's options with {@link readSettings}.
 * @throws {IotHubError} INVALID_CREDENTIAL if there is neither a credential nor a PSK
 */
export function completeOptions(options: Partial<DeviceOptions> = {}): DeviceOptions {
  const settings = readSettings();
  const { psk } = settings;
  const credential = options.credential ?? (psk === undefined ? undefined : { secret: psk });
  if (credential === undefined) {
    throw new IotHubError(
      "INVALID_CREDENTIAL",
      "The device needs a credential in its options, or a psk in the preferences or the manifest's config.",
    );
  }
  return { ...complete(settings, options), credential } as DeviceOptions;
}

/** Completes the options of provisioning with {@link readSettings}. */
export function completeProvisioning(options: Partial<ProvisionedDeviceOptions> = {}): ProvisionedDeviceOptions {
  const settings = readSettings();
  const { productSecret } = settings;
  return { ...(productSecret && { productSecret }), ...complete(settings, options) } as ProvisionedDeviceOptions;
}

function complete<Options extends Partial<ProvisionedDeviceOptions>>(settings: Settings, options: Options) {
  const { productId, deviceName, region, url } = settings;
  const anywhere = options.region !== undefined || options.url !== undefined;
  return {
    ...(productId === undefined ? undefined : { productId }),
    ...(deviceName === undefined ? undefined : { deviceName }),
    ...(anywhere || url !== undefined || region === undefined ? undefined : { region }),
    ...(anywhere || url === undefined ? undefined : { url }),
    ...options,
  };
}

function preference(name: string): unknown {
  try {
    return Preference.get(DOMAIN, name);
  } catch {
    return undefined;
  }
}
