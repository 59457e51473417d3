/**
 * Exclusive lock on a folder between processes. The owner listens on a Unix socket in it, which the kernel closes with
 * the process. A process id in a file would not do: it may have been reused, or belong to another container.
 *
 * A stale socket file cannot simply be replaced: if two processes find it stale, the slower one would delete the new
 * socket of the faster one. So every process listens on its own socket, under a unique name, and only then looks for
 * others. If two are looking, the one that listened later sees the other; the one with the higher name withdraws, and
 * the lower one waits for that. A socket that refuses connections is stale, and any process may delete it.
 */

import { createHash, randomBytes } from "node:crypto";
import { unlinkSync } from "node:fs";
import { chmod, lstat, mkdir, mkdtemp, readdir, rename, rmdir, symlink, unlink } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { IotHubError } from "../../src/errors.js";
import { codeOf, isMissing } from "./file-system.js";

export interface FolderLock {
  /** Never rejects. */
  release(): Promise<void>;
}

/** Platform-dependent functions, replaceable in tests. */
export interface LockMachine {
  /** Listens on a path. */
  listen(server: Server, path: string): Promise<void>;
  /** On Windows: name of the pipe for a folder, which the kernel deletes with its owner. */
  pipeOf?(folder: string): string;
  /** Folder for a short path to the locked folder, and for the lock itself if that folder cannot contain sockets. */
  readonly temporary: string;
}

/** `sun_path` has 104 bytes on macOS and BSD, 108 on Linux, with a NUL. */
const MAX_SOCKET_PATH = 103;
/** Maximum wait for the reply of a live process that may still be looking, in milliseconds. */
const REPLY_MS = 20_000;
const LOCK = /^%lock-[0-9a-f]{12}$/;
/** Names of sockets not yet listening, or interrupted before being renamed. */
const UNFINISHED = /^%bind-[0-9a-f]{12}$/;

export const thisMachine: LockMachine = {
  listen: (server, path) =>
    new Promise((resolve, reject) => {
      server.once("error", reject);
      // Exclusive: in a `cluster` worker, the primary would otherwise listen instead, and keep listening after the
      // worker's end.
      server.listen({ path, exclusive: true }, () => {
        server.off("error", reject);
        resolve();
      });
    }),
  ...(process.platform === "win32" && {
    pipeOf: (folder) => `\\\\.\\pipe\\tencent-iothub-${hashOf(folder.toLowerCase())}`,
  }),
  temporary: tmpdir(),
};

/**
 * Locks a folder for this process.
 *
 * Some file systems do not support sockets, such as folders shared by Windows, VirtualBox or Docker Desktop (EPERM,
 * ENOTSUP, EIO), or do not support connecting. The socket is then in the folder for temporary files, which containers
 * do not share. On a network share, processes of other machines are not detected.
 * @param folder its real path
 * @returns undefined if the file system is read-only, where no lock is needed
 * @throws {IotHubError} STORAGE_IN_USE
 * @throws {Error} the errors of the file system: ENOENT if there is no such folder
 */
export async function lockFolder(folder: string, machine: LockMachine = thisMachine): Promise<FolderLock | undefined> {
  if (machine.pipeOf) return lockByPipe(folder, machine.pipeOf(folder), machine);
  const place = await openPlace(folder, machine);
  const elsewhere = join(machine.temporary, `tencent-iothub-${process.getuid?.() ?? ""}-${hashOf(folder)}`);
  let other: Place | undefined;
  let candidate: Candidate | undefined;
  try {
    try {
      candidate = await standIn(place, machine);
    } catch (error) {
      const code = codeOf(error) ?? "";
      if (code === "EROFS") return undefined;
      if (["ENOENT", "ENOTDIR", "EMFILE", "ENFILE"].includes(code)) throw error;
      // For a missing folder, Node reports EACCES.
      await lstat(folder);
      await mkdir(elsewhere, { mode: 0o700 }).catch(() => {});
      if (!(await isOwn(elsewhere))) throw error;
      other = await openPlace(elsewhere, machine);
      candidate = await standIn(other, machine);
    }
    // Also look in the other place, which may be the only usable one for another process.
    if (await isOwn(elsewhere)) other ??= await openPlace(elsewhere, machine);
    for (const each of [place, other]) {
      if (each && (await isTaken(each, candidate.name))) throw inUse(folder);
    }
    candidate.decide();
    return candidate;
  } catch (error) {
    await candidate?.release();
    throw error;
  } finally {
    await place.close();
    await other?.close();
  }
}

/** A folder for sockets, with a path that is short enough for them. */
interface Place {
  readonly folder: string;
  readonly short: string;
  close(): Promise<void>;
}

async function openPlace(folder: string, machine: LockMachine): Promise<Place> {
  const name = "/%lock-0123456789ab".length;
  if (Buffer.byteLength(folder) + name <= MAX_SOCKET_PATH) return { folder, short: folder, close: async () => {} };
  // Through a link: the socket is still in the folder itself, where processes with another temporary folder look, too.
  const base = Buffer.byteLength(machine.temporary) + "/tih-012345/f".length + name <= MAX_SOCKET_PATH;
  const links = await mkdtemp(join(base ? machine.temporary : "/tmp", "tih-"));
  const short = join(links, "f");
  await symlink(folder, short, "dir");
  return {
    folder,
    short,
    close: async () => {
      await unlink(short).catch(() => {});
      await rmdir(links).catch(() => {});
    },
  };
}

/** Whether it is a folder in which no other user can create a socket. */
async function isOwn(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined);
  if (!found?.isDirectory()) return false;
  return process.getuid === undefined || (found.uid === process.getuid() && (found.mode & 0o22) === 0);
}

interface Candidate extends FolderLock {
  readonly name: string;
  /** Rejects waiting processes. */
  decide(): void;
}

/** Listens under a unique name in a folder. */
async function standIn(place: Place, machine: LockMachine): Promise<Candidate> {
  for (let attempts = 1; ; attempts++) {
    const id = randomBytes(6).toString("hex");
    const [unfinished, name] = [`%bind-${id}`, `%lock-${id}`];
    const file = join(place.folder, name);
    const server = new LockServer();
    const release = async () => {
      held.delete(file);
      await unlink(file).catch(() => {});
      await server.close();
    };
    try {
      await server.listen(join(place.short, unfinished), machine);
      // Other users' processes must be able to detect a stale socket.
      await chmod(join(place.folder, unfinished), 0o666).catch(() => {});
      // Between bind and listen it refuses connections, and would be considered stale under its final name.
      await rename(join(place.folder, unfinished), file);
      keepUntilExit(file);
      // Some file systems contain sockets but cannot connect to them.
      if ((await probe(join(place.short, name))) !== "alive") {
        throw Object.assign(new Error("the socket refuses connections"), { code: "ENOTSUP" });
      }
      return { name, decide: () => server.decide(), release };
    } catch (error) {
      await release();
      await unlink(join(place.folder, unfinished)).catch(() => {});
      // Another process deleted the unfinished socket as stale; otherwise the folder is gone.
      if (!isMissing(error) || attempts === 5) throw error;
      await lstat(place.folder);
    }
  }
}

/**
 * Replies to connecting processes whether the folder is locked, once that is decided. Does not keep the process alive.
 */
class LockServer {
  readonly #server = createServer((socket) => this.#onConnection(socket));
  readonly #waiting = new Set<Socket>();
  #isDecided = false;

  constructor() {
    this.#server.on("error", () => {});
    this.#server.unref();
  }

  listen(path: string, machine: LockMachine): Promise<void> {
    return machine.listen(this.#server, path);
  }

  decide(): void {
    this.#isDecided = true;
    for (const socket of this.#waiting) socket.end("owner");
  }

  close(): Promise<void> {
    for (const socket of this.#waiting) socket.destroy();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #onConnection(socket: Socket): void {
    this.#waiting.add(socket);
    socket.unref();
    socket.on("error", () => {});
    socket.on("close", () => this.#waiting.delete(socket));
    socket.resume();
    if (this.#isDecided) socket.end("owner");
  }
}

/** Whether another process owns the folder, or will. Deletes stale sockets. */
async function isTaken(place: Place, own: string): Promise<boolean> {
  let names: string[];
  try {
    const entries = await readdir(place.folder, { withFileTypes: true });
    names = entries.filter((entry) => entry.isSocket()).map(({ name }) => name);
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
  for (const name of names.sort()) {
    if (name === own || !(LOCK.test(name) || UNFINISHED.test(name))) continue;
    // Names are unique across both kinds of place.
    const state = await probe(join(place.short, name), name > own && LOCK.test(name) ? REPLY_MS : undefined);
    if (state === "dead") await unlink(join(place.folder, name)).catch(() => {});
    if (state === "alive" && LOCK.test(name)) return true;
  }
  return false;
}

/**
 * Whether a process listens. If that cannot be determined, it counts as alive.
 * @param replyMs time to wait for the process's decision in milliseconds; undefined: do not wait
 */
function probe(path: string, replyMs?: number): Promise<"alive" | "dead" | "gone"> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    let timer: NodeJS.Timeout | undefined;
    const finish = (state: "alive" | "dead" | "gone") => {
      clearTimeout(timer);
      socket.destroy();
      resolve(state);
    };
    socket.on("connect", () => {
      if (replyMs === undefined) finish("alive");
      else timer = setTimeout(() => finish("alive"), replyMs);
    });
    socket.on("data", () => finish("alive"));
    socket.on("error", (error) => {
      const code = codeOf(error) ?? "";
      finish(code === "ECONNREFUSED" ? "dead" : ["ENOENT", "ECONNRESET", "EPIPE"].includes(code) ? "gone" : "alive");
    });
    // It has withdrawn, or has ended.
    socket.on("close", () => finish("gone"));
  });
}

async function lockByPipe(folder: string, pipe: string, machine: LockMachine): Promise<FolderLock> {
  const server = new LockServer();
  try {
    await server.listen(pipe, machine);
  } catch (error) {
    // EACCES: it belongs to another user.
    throw ["EADDRINUSE", "EACCES"].includes(codeOf(error) ?? "") ? inUse(folder) : error;
  }
  server.decide();
  return { release: () => server.close() };
}

/** Files to delete when the process exits, for all locks. */
const held = new Set<string>();
let isWatchingExit = false;

function keepUntilExit(file: string): void {
  held.add(file);
  if (isWatchingExit) return;
  isWatchingExit = true;
  process.on("exit", () => {
    for (const each of held) {
      try {
        unlinkSync(each);
      } catch {
        // The next process will find it stale.
      }
    }
  });
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

function inUse(folder: string): IotHubError {
  return new IotHubError("STORAGE_IN_USE", `The storage folder ${folder} is in use by another process.`);
}
