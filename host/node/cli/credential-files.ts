/**
 * The files of a credential that the gateway issues once: registering again may invalidate it. Names and room on the
 * disk are taken before the gateway is asked; afterwards every step is tried whatever became of the one before, and the
 * outcome says where each part is.
 */

import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import type { Registration } from "../../../src/provisioning/register.js";
import {
  codeOf,
  describeFileError,
  type FileSystem,
  isMissing,
  type OpenFile,
  type OpenFolder,
  openFolder,
  syncFile,
  whileBusy,
  writeWhole,
} from "../file-system.js";
import { CliError, exitCodes } from "./failure.js";

/** Where a part of a credential is. */
export interface KeptPart {
  readonly what: "psk" | "private key" | "certificate";
  /** Absent where it could not be written anywhere. */
  readonly path?: string;
  /** Why `path` is not the file that was asked for, or may not last. */
  readonly problem?: string;
  readonly content: Uint8Array;
}

/** A registration's response is smaller, and so are the key and the certificate in it. */
const RESERVED_BYTES = 16_384;
const RESERVATION = "Reserved by tencent-iothub register. No credential has been received.\n";

export class CredentialFiles {
  readonly certificatePath: string;
  readonly #fs: FileSystem;
  readonly #force: boolean;
  readonly #folder: OpenFolder;
  readonly #secret: Draft;
  readonly #certificate: Draft;

  private constructor(fs: FileSystem, force: boolean, folder: OpenFolder, secret: Draft, certificate: Draft) {
    this.certificatePath = certificate.target;
    this.#fs = fs;
    this.#force = force;
    this.#folder = folder;
    this.#secret = secret;
    this.#certificate = certificate;
  }

  /**
   * Takes names and room for a credential.
   * @param path file for the psk or private key; a certificate goes to `<path>.crt`
   * @param force replace what is there
   * @throws {CliError} FILE_EXISTS, FILE_UNWRITABLE; no file is left then
   */
  static async open(fs: FileSystem, path: string, force: boolean): Promise<CredentialFiles> {
    const targets = [path, `${path}.crt`] as const;
    const check = async () => {
      for (const target of targets) await checkTarget(fs, target, force);
    };
    await check();
    let folder: OpenFolder | undefined;
    let secret: Draft | undefined;
    let certificate: Draft | undefined;
    try {
      folder = await openFolder(fs, dirname(path));
      secret = await Draft.create(fs, targets[0], 0o600);
      certificate = await Draft.create(fs, targets[1], 0o644);
      // Another registration may have ended since; from now on none begins.
      await check();
      return new CredentialFiles(fs, force, folder, secret, certificate);
    } catch (cause) {
      await secret?.discard();
      await certificate?.discard();
      await folder?.close();
      throw cause instanceof CliError ? cause : unwritable(path, describeFileError(cause), cause);
    }
  }

  /** Writes a credential to its files, or to others where that fails. Never rejects. */
  async keep(registration: Registration): Promise<KeptPart[]> {
    const parts: { what: KeptPart["what"]; draft: Draft; content: Uint8Array }[] =
      registration.certificate === undefined
        ? [{ what: "psk", draft: this.#secret, content: Buffer.from(`${registration.secret}\n`) }]
        : [
            { what: "private key", draft: this.#secret, content: bytesOf(registration.privateKey) },
            { what: "certificate", draft: this.#certificate, content: bytesOf(registration.certificate) },
          ];
    const kept: KeptPart[] = [];
    // All parts are written before the first is renamed: whatever comes then, they exist.
    for (const { draft, content } of parts) await draft.fill(content);
    for (const { what, draft, content } of parts) {
      kept.push({
        what,
        content,
        ...(draft.filled ? await draft.move(this.#force) : await this.#rescue(draft, content)),
      });
    }
    try {
      await this.#folder.sync();
    } catch (cause) {
      const problem = `may be lost in a power failure: ${describeFileError(cause)}`;
      return kept.map((part) => ({ problem, ...part }));
    }
    return kept;
  }

  /** Deletes drafts that hold nothing of a credential. Never rejects. */
  async close(): Promise<void> {
    await this.#secret.discard();
    await this.#certificate.discard();
    await this.#folder.close();
  }

  /** Writes to the system's folder for temporary files. */
  async #rescue(draft: Draft, content: Uint8Array): Promise<Pick<KeptPart, "path" | "problem">> {
    const problem = `cannot be written to ${draft.path}: ${draft.problem}`;
    const folder = tmpdir();
    try {
      // Readable by its owner alone.
      const path = join(await this.#fs.mkdtemp(join(folder, "tencent-iothub-")), basename(draft.target));
      const file = await this.#fs.open(path, "wx", 0o600);
      try {
        await writeWhole(file, content);
        await syncFile(file);
      } finally {
        await file.close().catch(() => {});
      }
      return { path, problem };
    } catch (cause) {
      return { problem: `${problem}, nor to a file in ${folder}: ${describeFileError(cause)}` };
    }
  }
}

/** A file beside its target, with room for a credential, that later takes the target's name. */
class Draft {
  readonly target: string;
  readonly path: string;
  readonly #fs: FileSystem;
  #file: OpenFile | undefined;
  /** It holds a whole credential, here or at the target. */
  filled = false;
  problem: string | undefined;

  private constructor(fs: FileSystem, target: string, file: OpenFile) {
    this.#fs = fs;
    this.target = target;
    this.path = draftOf(target);
    this.#file = file;
  }

  static async create(fs: FileSystem, target: string, mode: number): Promise<Draft> {
    const path = draftOf(target);
    let draft: Draft;
    try {
      // Without a process id in its name it also keeps two registrations apart, and is found again.
      draft = new Draft(fs, target, await fs.open(path, "wx", mode));
    } catch (cause) {
      if (codeOf(cause) !== "EEXIST") throw cause;
      throw new CliError(
        "FILE_EXISTS",
        `The file ${path} is there already: another registration is under way, or was cut short and left it.`,
        {
          exitCode: exitCodes.credential,
          hint: "If no other is under way, look into it: it may hold the device's credential. Otherwise delete it.",
          cause,
        },
      );
    }
    try {
      await writeWhole(draft.#file as OpenFile, Buffer.from(RESERVATION.padEnd(RESERVED_BYTES, "\n")));
      await syncFile(draft.#file as OpenFile);
      return draft;
    } catch (cause) {
      await draft.discard();
      throw cause;
    }
  }

  async fill(content: Uint8Array): Promise<void> {
    const file = this.#file as OpenFile;
    try {
      await writeWhole(file, content);
      this.filled = true;
      await syncFile(file);
    } catch (cause) {
      this.problem = describeFileError(cause);
      if (this.filled) this.problem = `may be lost in a power failure: ${this.problem}`;
    }
    await this.#close();
  }

  async move(force: boolean): Promise<Pick<KeptPart, "path" | "problem">> {
    const { problem } = this;
    try {
      if (!force && (await isThere(this.#fs, this.target))) throw Object.assign(new Error(), { code: "EEXIST" });
      await whileBusy(this.#fs, () => this.#fs.rename(this.path, this.target));
      return problem === undefined ? { path: this.target } : { path: this.target, problem };
    } catch (cause) {
      return { path: this.path, problem: `cannot be moved to ${this.target}: ${describeFileError(cause)}` };
    }
  }

  /** Deletes it unless it holds a credential. Never rejects. */
  async discard(): Promise<void> {
    await this.#close();
    if (!this.filled) await whileBusy(this.#fs, () => this.#fs.unlink(this.path)).catch(() => {});
  }

  async #close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    // What was synchronized is on the disk whatever closing says.
    await file?.close().catch(() => {});
  }
}

function draftOf(target: string): string {
  return `${target}.new`;
}

async function checkTarget(fs: FileSystem, path: string, force: boolean): Promise<void> {
  let entry: Awaited<ReturnType<FileSystem["lstat"]>>;
  try {
    entry = await fs.lstat(path);
  } catch (cause) {
    if (isMissing(cause)) return;
    throw unwritable(path, describeFileError(cause), cause);
  }
  // It would be replaced, be it a link or a device such as /dev/stdout.
  if (!entry.isFile()) throw unwritable(path, entry.isDirectory() ? "is a directory" : "not a regular file");
  if (force) return;
  throw new CliError("FILE_EXISTS", `The file ${path} is there already, perhaps with the device's credential.`, {
    exitCode: exitCodes.credential,
    hint: "Registering again may invalidate the credential before; --force does it all the same.",
  });
}

async function isThere(fs: FileSystem, path: string): Promise<boolean> {
  try {
    await fs.lstat(path);
    return true;
  } catch {
    // If that is unknown, renaming will show it.
    return false;
  }
}

function unwritable(path: string, reason: string, cause?: unknown): CliError {
  return new CliError("FILE_UNWRITABLE", `The credential cannot be written to ${path}: ${reason}.`, {
    exitCode: exitCodes.credential,
    cause,
  });
}

function bytesOf(content: string | Uint8Array): Uint8Array {
  return typeof content === "string" ? Buffer.from(content) : content;
}
