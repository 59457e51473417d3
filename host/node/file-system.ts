/** File system functions of the storage and the CLI, and the differences between file systems. */

import { lstat, mkdir, mkdtemp, open, readdir, readFile, rename, unlink } from "node:fs/promises";
import { setTimeout as wait } from "node:timers/promises";

/** The functions of `node:fs/promises` in use, so that tests can make any of them fail. */
export interface FileSystem {
  readonly lstat: (path: string) => Promise<{ isFile(): boolean; isDirectory(): boolean }>;
  readonly mkdir: (path: string, options: { recursive: true; mode: number }) => Promise<string | undefined>;
  readonly mkdtemp: (prefix: string) => Promise<string>;
  readonly open: (path: string, flags: string, mode?: number) => Promise<OpenFile>;
  readonly readdir: (path: string) => Promise<{ readonly name: string; isFile(): boolean }[]>;
  readonly readFile: (path: string) => Promise<Uint8Array>;
  readonly rename: (from: string, to: string) => Promise<void>;
  readonly unlink: (path: string) => Promise<void>;
  readonly wait: (ms: number) => Promise<unknown>;
}

/** The methods of a FileHandle in use. */
export interface OpenFile {
  write(bytes: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesWritten: number }>;
  truncate(length: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

export const nodeFileSystem: FileSystem = {
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir: (path) => readdir(path, { withFileTypes: true }),
  readFile,
  rename,
  unlink,
  wait,
};

const reasons: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EBUSY: "in use by another program",
  EDQUOT: "disk quota exceeded",
  EEXIST: "file exists",
  EIO: "I/O error",
  EISDIR: "is a directory",
  ELOOP: "too many symbolic links",
  EMFILE: "too many open files",
  ENAMETOOLONG: "name too long",
  ENFILE: "too many open files",
  ENOENT: "no such file or directory",
  ENOSPC: "no space left on device",
  ENOTDIR: "not a directory",
  EPERM: "operation not permitted",
  EROFS: "read-only file system",
};

/** Returns a reason with its code: `no space left on device (ENOSPC)`. */
export function describeFileError(error: unknown): string {
  const code = codeOf(error);
  if (code === undefined) return "unknown error";
  return reasons[code] === undefined ? code : `${reasons[code]} (${code})`;
}

export function isMissing(error: unknown): boolean {
  return codeOf(error) === "ENOENT";
}

export function codeOf(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

/**
 * Codes of a `sync` that the file system does not support, unlike failures (EIO, ENOSPC, EDQUOT, EROFS). PostgreSQL
 * (`fsync_fname_ext`) and Dovecot (`fdatasync_path`) ignore EBADF (NetBSD, AIX) and EINVAL (CIFS), coreutils (`shred`)
 * EISDIR (HP-UX) besides. FUSE and network file systems return ENOTSUP or ENOSYS.
 */
const SYNC_UNSUPPORTED: ReadonlySet<string | undefined> = new Set(["EBADF", "EINVAL", "EISDIR", "ENOSYS", "ENOTSUP"]);

/**
 * Same for a folder. Windows opens folders read-only and cannot flush them (EPERM, from ERROR_ACCESS_DENIED); NTFS
 * journals names itself.
 */
const FOLDER_SYNC_UNSUPPORTED: ReadonlySet<string | undefined> = new Set([...SYNC_UNSUPPORTED, "EPERM", "EACCES"]);

/** Writes all bytes at the beginning of the file and truncates the rest. */
export async function writeWhole(file: OpenFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, at);
    if (bytesWritten === 0) throw Object.assign(new Error("nothing was written"), { code: "EIO" });
    at += bytesWritten;
  }
  await file.truncate(bytes.length);
}

/** Waits until a file's content is on the disk, if the file system supports it. */
export async function syncFile(file: OpenFile): Promise<void> {
  try {
    await file.sync();
  } catch (error) {
    if (!SYNC_UNSUPPORTED.has(codeOf(error))) throw error;
  }
}

/** An open folder, to synchronize its names: a new file name is safe only after that (fsync(2), NOTES). */
export interface OpenFolder {
  /** Synchronizes the folder, if the file system supports it. Rejects if that fails. */
  sync(): Promise<void>;
  /** Never rejects. */
  close(): Promise<void>;
}

/**
 * Opens a folder. Call it before the change to be synchronized, so that a lack of file descriptors is detected first.
 */
export async function openFolder(fs: FileSystem, path: string): Promise<OpenFolder> {
  let handle: OpenFile | undefined;
  try {
    handle = await fs.open(path, "r");
  } catch (error) {
    if (!FOLDER_SYNC_UNSUPPORTED.has(codeOf(error))) throw error;
  }
  return {
    async sync() {
      try {
        await handle?.sync();
      } catch (error) {
        if (!FOLDER_SYNC_UNSUPPORTED.has(codeOf(error))) throw error;
      }
    },
    async close() {
      await handle?.close().catch(() => {});
    },
  };
}

/** Delays before further attempts in milliseconds: about one second in total. */
const BUSY_DELAYS_MS = [10, 20, 40, 80, 160, 320, 400];

/**
 * Repeats an operation on a file that another program has open. On Windows, and in folders shared by Windows, virus
 * scanners and indexers open each new file briefly; renaming, deleting or reading it then fails with one of these
 * codes. A permanent lack of permission costs one second.
 */
export async function whileBusy<T>(fs: FileSystem, operation: () => Promise<T>): Promise<T> {
  for (const delayMs of BUSY_DELAYS_MS) {
    try {
      return await operation();
    } catch (error) {
      if (!["EACCES", "EBUSY", "EPERM"].includes(codeOf(error) ?? "")) throw error;
      await fs.wait(delayMs);
    }
  }
  return await operation();
}
