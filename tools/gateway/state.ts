import { randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { type Authority, makeAuthority, readAuthority } from "./authority.js";
import type { DeviceDescription, DeviceRegistry, DevicesDescription, RegisteredDevice } from "./devices.js";
import { GatewayError } from "./errors.js";

/** Product and device with which a gateway starts that was given no devices. */
export interface SampleDevice {
  readonly productId: string;
  readonly deviceName: string;
  readonly psk: string;
  /** ProductSecret, so that boards can register themselves. */
  readonly productSecret: string;
}

const files = {
  /** Key and certificate of the CA in one file, so that no crash can part them. */
  authority: "ca.key",
  /** The certificate alone, to be given to clients. */
  certificate: "ca.pem",
  /** The same in DER, with the name of the resource that apps for Moddable read. */
  der: "gateway-root.der",
  sample: "sample.json",
  devices: "registrations.json",
} as const;

const secretMode = 0o600;
const isPosix = process.platform !== "win32";

/**
 * The folder in which a gateway keeps its CA, its sample device and the devices that registered, over restarts. Files are
 * replaced whole: after a crash or a power loss, each is either the old one or the new one.
 */
export class GatewayState {
  readonly folder: string;

  /**
   * Opens the folder. It is created with mode 0700 when there is something to keep.
   *
   * @throws {GatewayError} STATE_UNUSABLE
   */
  constructor(folder: string) {
    this.folder = folder;
    let mode: number;
    try {
      mode = statSync(folder).mode;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      throw unusable(`The state folder ${folder} cannot be used`, error);
    }
    if (isPosix && (mode & 0o022) !== 0) {
      throw new GatewayError(
        "STATE_UNUSABLE",
        `Other users can change the state folder ${folder} (mode ${octal(mode)}): run chmod 700 ${folder}.`,
      );
    }
  }

  #createFolder(): void {
    try {
      if (mkdirSync(this.folder, { recursive: true, mode: 0o700 }) === undefined) return;
      // mkdir subtracts the umask, which may even take away the owner's rights.
      chmodSync(this.folder, 0o700);
    } catch (error) {
      throw unusable(`The state folder ${this.folder} cannot be created`, error);
    }
    // The folder ignores itself, whatever project it is in: it contains secrets.
    this.#write(".gitignore", "*\n");
  }

  /** Path of the CA's certificate, PEM. */
  get certificateFile(): string {
    return join(this.folder, files.certificate);
  }

  /**
   * Returns the CA; creates one if there is none.
   *
   * @param names DNS names that a new CA may issue besides local ones
   * @throws {GatewayError} STATE_UNUSABLE, STATE_DAMAGED, INVALID_OPTION
   */
  authority(names: readonly string[], nowMs: number): Authority {
    const authority = this.#authority(names, nowMs);
    if (this.#read(files.certificate) !== authority.certificate) {
      this.#write(files.certificate, authority.certificate, 0o644);
      this.#write(files.der, authority.der, 0o644);
    }
    return authority;
  }

  #authority(names: readonly string[], nowMs: number): Authority {
    const text = this.#read(files.authority);
    if (text === undefined) {
      const made = makeAuthority(names, nowMs);
      // Of two gateways that start at the same time, one creates the CA and the other reads it.
      if (this.#create(files.authority, made.key + made.certificate)) return made;
      return this.#authority(names, nowMs);
    }
    try {
      return readAuthority(text);
    } catch (error) {
      const path = this.#path(files.authority);
      throw new GatewayError(
        "STATE_DAMAGED",
        `${path} is damaged (${(error as Error).message}): restore it, or delete it for a new CA, which boards then need.`,
      );
    }
  }

  /**
   * Returns the sample device; creates one if there is none.
   *
   * @throws {GatewayError} STATE_UNUSABLE, STATE_DAMAGED
   */
  sample(): SampleDevice {
    const made = makeSample();
    const text = this.#read(files.sample);
    if (text === undefined) {
      if (this.#create(files.sample, `${JSON.stringify(made, null, 2)}\n`)) return made;
      return this.sample();
    }
    const value = this.#parse(files.sample, text);
    const isSample = (Object.keys(made) as (keyof SampleDevice)[]).every((name) => typeof value[name] === "string");
    if (!isSample) throw this.#damaged(files.sample, "it does not describe a device");
    return value as unknown as SampleDevice;
  }

  /**
   * Gives a registry the devices that registered earlier, and saves those that register from now on.
   *
   * @throws {GatewayError} STATE_UNUSABLE, STATE_DAMAGED
   */
  keep(registry: DeviceRegistry): void {
    for (const [productId, devices] of Object.entries(this.#registrations())) {
      // A product that is not described at present keeps its devices in the file.
      if (!registry.products.has(productId)) continue;
      for (const [deviceName, device] of Object.entries(devices)) {
        try {
          registry.restore(productId, deviceName, device);
        } catch (error) {
          throw this.#damaged(files.devices, (error as Error).message.replace(/\.$/, ""));
        }
      }
    }
    registry.onRegistered = (productId, deviceName, device) => {
      // Read again: another gateway may use the same folder.
      const all = this.#registrations();
      all[productId] = { ...all[productId], [deviceName]: device };
      this.#write(files.devices, `${JSON.stringify(all)}\n`);
    };
  }

  #registrations(): Record<string, Record<string, RegisteredDevice>> {
    const text = this.#read(files.devices);
    if (text === undefined) return {};
    const all = this.#parse(files.devices, text);
    for (const devices of Object.values(all)) {
      if (typeof devices !== "object" || devices === null) throw this.#damaged(files.devices, "a product is no object");
    }
    return all as Record<string, Record<string, RegisteredDevice>>;
  }

  #parse(name: string, text: string): Record<string, unknown> {
    try {
      const value = JSON.parse(text);
      if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
    } catch {}
    throw this.#damaged(name, "it is not a JSON object");
  }

  #damaged(name: string, reason: string): GatewayError {
    const path = this.#path(name);
    return new GatewayError(
      "STATE_DAMAGED",
      `${path} is damaged (${reason}): restore it, or delete it to begin without it.`,
    );
  }

  #path(name: string): string {
    return join(this.folder, name);
  }

  #read(name: string): string | undefined {
    const path = this.#path(name);
    try {
      const { mode } = statSync(path);
      if (isPosix && name !== files.certificate && (mode & 0o077) !== 0) {
        throw new GatewayError(
          "STATE_UNUSABLE",
          `Other users can read ${path} (mode ${octal(mode)}), which contains secrets: run chmod 600 ${path}.`,
        );
      }
      return readFileSync(path, "utf8");
    } catch (error) {
      if (error instanceof GatewayError) throw error;
      if ((error as NodeJS.ErrnoException).code === "ENOENT" && !isLink(path)) return undefined;
      throw unusable(`${path} cannot be read`, error);
    }
  }

  /** Replaces a file whole. */
  #write(name: string, text: string | Uint8Array, mode = secretMode): void {
    this.#place(name, text, mode, (from, to) => renameSync(from, to));
  }

  /** Creates a file whole. @returns false if it exists */
  #create(name: string, text: string): boolean {
    try {
      this.#place(name, text, secretMode, (from, to) => {
        try {
          linkSync(from, to);
        } catch (error) {
          // FAT and some network file systems have no links.
          if (!["EPERM", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"].includes(String((error as NodeJS.ErrnoException).code))) {
            throw error;
          }
          copyFileSync(from, to, constants.COPYFILE_EXCL);
        }
        rmSync(from);
      });
      return true;
    } catch (error) {
      if (((error as GatewayError).cause as NodeJS.ErrnoException)?.code === "EEXIST") return false;
      throw error;
    }
  }

  #place(name: string, text: string | Uint8Array, mode: number, place: (from: string, to: string) => void): void {
    this.#createFolder();
    const path = this.#path(name);
    const temporary = `${path}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`;
    try {
      const file = openSync(temporary, "wx", mode);
      try {
        const bytes = Buffer.from(text as string);
        for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      place(temporary, path);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw unusable(`${path} cannot be written`, error);
    }
  }
}

/** Returns a sample device with new secrets. */
export function makeSample(): SampleDevice {
  return {
    productId: "SAMPLE0001",
    deviceName: "sensor1",
    psk: randomBytes(16).toString("base64"),
    productSecret: randomBytes(18).toString("base64url"),
  };
}

/** Description of a registry with nothing but the sample. */
export function describeSample({ productId, deviceName, psk, productSecret }: SampleDevice): DevicesDescription {
  const device: DeviceDescription = { psk };
  return { products: { [productId]: { productSecret, devices: { [deviceName]: device } } } };
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink();
  } catch {
    return false;
  }
}

function octal(mode: number): string {
  return (mode & 0o777).toString(8).padStart(4, "0");
}

function unusable(what: string, error: unknown): GatewayError {
  const { code } = error as NodeJS.ErrnoException;
  return new GatewayError("STATE_UNUSABLE", `${what} (${code ?? "unknown error"}).`, error);
}
