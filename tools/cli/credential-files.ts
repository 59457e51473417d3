/**
 * Files of a credential that the gateway issues only once: registering again may revoke it. File names and disk space
 * are reserved before the request; afterwards every step is tried even if the previous one failed, and the result lists
 * where each part is.
 */

import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import type { Registration } from "tencent-iothub-xs";
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
} from "../../host/node/file-system.js";
import { CliError, exitCodes } from "./failure.js";

/** Where a part of a credential is. */
export interface KeptPart {
  readonly what: "psk" | "private key" | "certificate";
  /** Absent if it could not be written anywhere. */
  readonly path?: string;
  /** Why `path` is not the requested file, or may be lost. */
  readonly problem?: string;
  readonly content: Uint8Array;
}

/** Larger than any registration response, and so than the key and certificate in it. */
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
   * Reserves names and disk space for a credential.
   * @param path file for the PSK or private key; a certificate is written to `<path>.crt`
   * @param force replace existing files
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
      // Another registration may have ended since; from now on none can begin.
      await check();
      return new CredentialFiles(fs, force, folder, secret, certificate);
    } catch (cause) {
      await secret?.discard();
      await certificate?.discard();
      await folder?.close();
      throw cause instanceof CliError ? cause : unwritable(path, describeFileError(cause), cause);
    }
  }

  /** Writes a credential to its files, or to other files if that fails. Never rejects. */
  async keep(registration: Registration): Promise<KeptPart[]> {
    const parts: { what: KeptPart["what"]; draft: Draft; content: Uint8Array }[] =
      registration.certificate === undefined
        ? [{ what: "psk", draft: this.#secret, content: Buffer.from(`${registration.secret}\n`) }]
        : [
            { what: "private key", draft: this.#secret, content: bytesOf(registration.privateKey) },
            { what: "certificate", draft: this.#certificate, content: bytesOf(registration.certificate) },
          ];
    const kept: KeptPart[] = [];
    // All parts are written before the first is renamed, so that they exist whatever fails.
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

  /** Deletes drafts without a credential. Never rejects. */
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
      // Readable only by its owner.
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

/** A file next to its target, with room for a credential, which is later renamed to the target. */
class Draft {
  readonly target: string;
  readonly path: string;
  readonly #fs: FileSystem;
  #file: OpenFile | undefined;
  /** Whether it contains a complete credential, here or at the target. */
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
      // No process id in its name, so that it also excludes a second registration, and can be found later.
      draft = new Draft(fs, target, await fs.open(path, "wx", mode));
    } catch (cause) {
      if (codeOf(cause) !== "EEXIST") throw cause;
      throw new CliError(
        "FILE_EXISTS",
        `The file ${path} already exists: another registration is in progress, or was interrupted.`,
        {
          exitCode: exitCodes.credential,
          hint: "If no other registration is in progress, check the file: it may contain the device's credential. Otherwise delete it.",
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
    // Synchronized data is on the disk, whatever close reports.
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
  // Renaming would replace it, even a link or a device such as /dev/stdout.
  if (!entry.isFile()) throw unwritable(path, entry.isDirectory() ? "is a directory" : "not a regular file");
  if (force) return;
  throw new CliError("FILE_EXISTS", `The file ${path} already exists and may contain the device's credential.`, {
    exitCode: exitCodes.credential,
    hint: "Registering again may revoke the existing credential; use --force to do it anyway.",
  });
}

async function isThere(fs: FileSystem, path: string): Promise<boolean> {
  try {
    await fs.lstat(path);
    return true;
  } catch {
    // If unknown, renaming will tell.
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
