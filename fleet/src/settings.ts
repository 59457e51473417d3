/** Settings of a run, from the environment or from Artillery's `--variables`, which reach workers in a cloud as well. */

export interface Settings {
  /** URL of a gateway, or a region of the public service: one of them must be given. */
  readonly url: string | undefined;
  readonly region: string | undefined;
  /** Path of the CSV with the devices; without one, devices are named by `prefix` and register. */
  readonly csv: string | undefined;
  readonly productId: string | undefined;
  readonly productSecret: string | undefined;
  readonly prefix: string;
  /** The devices of this run: `count` of them from the row `offset`. */
  readonly offset: number;
  readonly count: number;
  /** Readings that each board takes before it is switched off. */
  readonly readings: number;
  /** Time between two readings of a board in seconds, and the part of it by which each may differ. */
  readonly intervalSeconds: number;
  readonly jitter: number;
  /** Readings in a batch of the profile `batch`. */
  readonly batch: number;
  /** Probability that a board loses its network after a reading, and for how many seconds. */
  readonly outage: number;
  readonly outageSeconds: number;
  /** Whether node:crypto signs; otherwise the same code as on a board. */
  readonly native: boolean;
  /** Path of trust anchors in PEM, for HTTPS with a private CA. */
  readonly trustAnchors: string | undefined;
  /** Path for a CPU profile of the engine's worker. */
  readonly profile: string | undefined;
}

/** @throws Error that names the variable */
export function readSettings(variables: Readonly<Record<string, unknown>>): Settings {
  const text = (name: string): string | undefined => {
    const value = variables[name];
    return value === undefined || value === null || value === "" ? undefined : String(value);
  };
  const number = (name: string, initial: number | undefined, min: number, max: number, isWhole = true): number => {
    const given = text(name);
    if (given === undefined && initial === undefined) throw new Error(`${name} is not set.`);
    const value = given === undefined ? (initial as number) : Number(given);
    if (!(value >= min && value <= max) || (isWhole && !Number.isInteger(value))) {
      throw new Error(`${name} must be ${isWhole ? "an integer" : "a number"} from ${min} to ${max}.`);
    }
    return value;
  };
  const [url, region] = [text("DEVICE_URL"), text("DEVICE_REGION")];
  // No default: nobody should load the public service by accident.
  if ((url === undefined) === (region === undefined)) throw new Error("Set either DEVICE_URL or DEVICE_REGION.");
  const settings: Settings = {
    url,
    region,
    csv: text("DEVICE_CSV"),
    productId: text("PRODUCT_ID"),
    productSecret: text("PRODUCT_SECRET"),
    prefix: text("DEVICE_PREFIX") ?? "board",
    offset: number("DEVICE_OFFSET", 0, 0, 10_000_000),
    count: number("DEVICE_COUNT", undefined, 1, 1_000_000),
    readings: number("FLEET_READINGS", 10, 1, 1_000_000),
    intervalSeconds: number("FLEET_INTERVAL", 60, 0, 86_400, false),
    jitter: number("FLEET_JITTER", 0.2, 0, 1, false),
    batch: number("FLEET_BATCH", 10, 1, 1000),
    outage: number("FLEET_OUTAGE", 0, 0, 1, false),
    outageSeconds: number("FLEET_OUTAGE_SECONDS", 120, 0, 86_400, false),
    native: text("FLEET_NATIVE") !== "false",
    trustAnchors: text("DEVICE_CA"),
    profile: text("FLEET_PROFILE"),
  };
  if (settings.csv === undefined && (settings.productId === undefined || settings.productSecret === undefined)) {
    throw new Error("Set DEVICE_CSV, or PRODUCT_ID and PRODUCT_SECRET for devices that register.");
  }
  return settings;
}
