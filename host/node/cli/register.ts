/** `tencent-iothub register`: a credential for a device, kept in a file before anything is printed. */

import { type FileHandle, open, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { type RegisterOptions, type Registration, register } from "../../../src/provisioning/register.js";
import type { ClientEvent } from "../../../src/request/client.js";
import { createHost } from "../index.js";
import { CliError, exitCodes } from "./failure.js";
import { readCa, readKey, readSecret, readTextFile } from "./files.js";
import { colorsFor, type Io, printLine } from "./io.js";
import { missing } from "./publish.js";
import { readSettings, type Settings } from "./settings.js";

export interface RegisterArguments extends Settings {
  readonly profile?: string;
  readonly out?: string;
  readonly force?: boolean;
  readonly clientCert?: string;
  readonly clientKey?: string;
  readonly json?: boolean;
  readonly debug?: boolean;
}

type Kind = "psk" | "certificate" | "own certificate";

export async function registerDevice(io: Io, given: RegisterArguments): Promise<void> {
  const { profile, out, force = false, clientCert, clientKey, json = false, debug = false, ...flags } = given;
  const settings = await readSettings(flags, profile, io.env);
  const { productId, deviceName, region, url, timeoutMs } = settings;
  if (productId === undefined) throw missing("the ProductId", "--product-id", "TENCENT_IOTHUB_PRODUCT_ID");
  if (deviceName === undefined) throw missing("the DeviceName", "--device-name", "TENCENT_IOTHUB_DEVICE_NAME");
  if ((clientCert === undefined) !== (clientKey === undefined)) {
    throw new CliError("USAGE", "A certificate of one's own needs both --client-cert and --client-key.");
  }
  if ((out === undefined) === (clientCert === undefined)) {
    throw new CliError("USAGE", "Give either --out or a certificate of one's own.", {
      hint: "--out FILE is where the new psk or private key goes; with --client-cert there is nothing to keep.",
    });
  }
  if (given.productSecret !== undefined) {
    const c = colorsFor(io.stderr, io.env);
    printLine(
      io.stderr,
      `${c.yellow("warning:")} a ProductSecret on the command line is seen by other users and kept in the shell's history; use --product-secret-file or TENCENT_IOTHUB_PRODUCT_SECRET.`,
    );
  }
  const options: RegisterOptions = {
    productId,
    deviceName,
    productSecret: await readProductSecret(settings),
    region,
    url,
    timeoutMs,
    clientCert: clientCert === undefined ? undefined : await readTextFile(clientCert, "certificate"),
    privateKey: clientKey === undefined ? undefined : await readKey(clientKey),
    // By the clock as it is: who calls this wants to see what the gateway says.
    clockCorrection: false,
    onEvent: debug ? (event: ClientEvent) => printLine(io.stderr, `debug: ${JSON.stringify(event)}`) : undefined,
  };
  const host = createHost({ ca: settings.ca === undefined ? undefined : await readCa(settings.ca) });
  // Opened before the gateway is asked: a secret that cannot be kept must not be issued.
  const files = out === undefined ? undefined : await CredentialFiles.open(out, force);
  let registration: Registration;
  let kind: Kind;
  try {
    registration = await register(options, host);
    kind =
      clientCert !== undefined ? "own certificate" : registration.certificate === undefined ? "psk" : "certificate";
    await files?.keep(registration);
  } finally {
    await files?.close();
    host.http.close();
  }
  const { requestId, state } = registration;
  const certificateFile = kind === "certificate" ? files?.certificatePath : undefined;
  if (json) {
    printLine(
      io.stdout,
      JSON.stringify({ productId, deviceName, requestId, state, credential: kind, file: out, certificateFile }),
    );
    return;
  }
  const c = colorsFor(io.stdout, io.env);
  const known = state === undefined ? "" : state === 0 ? "a new device" : "a device that was known";
  printLine(io.stdout, `${c.green("registered")}  ${productId}/${deviceName}  ${known}`.trimEnd());
  const where = out === undefined ? "" : ` in ${out}${certificateFile === undefined ? "" : ` and ${certificateFile}`}`;
  printLine(io.stdout, `credential  ${kind === "certificate" ? "private key and certificate" : kind}${where}`);
  printLine(io.stdout, `RequestId   ${requestId}`);
}

/** The file for the psk or private key, and the one beside it for the certificate. */
class CredentialFiles {
  readonly certificatePath: string;
  readonly #path: string;
  readonly #draft: string;
  readonly #handle: FileHandle;
  #written = false;

  private constructor(path: string, draft: string, handle: FileHandle) {
    this.certificatePath = `${path}.crt`;
    this.#path = path;
    this.#draft = draft;
    this.#handle = handle;
  }

  /** @throws {CliError} FILE_EXISTS, FILE_UNWRITABLE */
  static async open(path: string, force: boolean): Promise<CredentialFiles> {
    const draft = `${path}.${process.pid}.new`;
    if (!force && (await exists(path))) {
      throw new CliError("FILE_EXISTS", `The file ${path} is there already, perhaps with the device's credential.`, {
        exitCode: exitCodes.credential,
        hint: "Registering again may invalidate the credential before; --force does it all the same.",
      });
    }
    try {
      return new CredentialFiles(path, draft, await open(draft, "wx", 0o600));
    } catch (cause) {
      throw unwritable(path, cause);
    }
  }

  /** Safe on the disk when it resolves; what stood there before is replaced as a whole. */
  async keep(registration: Registration): Promise<void> {
    try {
      const secret = registration.certificate === undefined ? `${registration.secret}\n` : registration.privateKey;
      await this.#handle.writeFile(secret);
      await this.#handle.sync();
      this.#written = true;
      await rename(this.#draft, this.#path);
      await this.#syncFolder();
    } catch (cause) {
      const where = this.#written ? ` It is in ${this.#draft} instead.` : "";
      throw unwritable(this.#path, cause, where);
    }
    if (registration.certificate === undefined) return;
    try {
      await writeFile(this.certificatePath, registration.certificate);
    } catch (cause) {
      throw unwritable(this.certificatePath, cause);
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
    // Where it could not be renamed, it holds the only copy.
    if (!this.#written) await rm(this.#draft, { force: true });
  }

  /** The name of a renamed file is safe only when its folder has been written (fsync(2), NOTES). */
  async #syncFolder(): Promise<void> {
    const folder = await open(dirname(this.#path), "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch {
    return false;
  }
}

function unwritable(path: string, cause: unknown, where = ""): CliError {
  const { code } = cause as NodeJS.ErrnoException;
  return new CliError("FILE_UNWRITABLE", `The credential cannot be written to ${path} (${code}).${where}`, {
    exitCode: exitCodes.credential,
    cause,
  });
}

async function readProductSecret({ productSecret, productSecretFile }: Settings): Promise<string> {
  if (productSecretFile !== undefined) return readSecret(productSecretFile, "ProductSecret file");
  if (productSecret !== undefined) return productSecret;
  throw new CliError("USAGE", "The ProductSecret is missing.", {
    exitCode: exitCodes.credential,
    hint: "Give --product-secret-file, or set TENCENT_IOTHUB_PRODUCT_SECRET or TENCENT_IOTHUB_PRODUCT_SECRET_FILE.",
  });
}
