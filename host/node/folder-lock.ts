/**
 * A folder that one process at a time may use. The owner listens on a Unix socket in it: the kernel ends that with the
 * process, whatever ends it, while a process id in a file may be another's by now, or mean another process in another
 * container.
 *
 * A socket file that outlives its process cannot simply be replaced: of two processes that find it dead, the slower one
 * would delete the socket that the faster one has just made. So every taker listens on its own socket, under a name
 * that never comes again, and only then looks for others. Of two that are both looking, the later one to begin listening
 * sees the other; the one with the higher name withdraws, and the lower one waits until the higher has done so. A socket
 * that refuses connections is dead for good, and anybody may delete it.
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

/** What differs between machines, and what tests replace. */
export interface LockMachine {
  /** Listens on a path. */
  listen(server: Server, path: string): Promise<void>;
  /** Name of a pipe that the kernel deletes with its owner, where sockets are not files: on Windows. */
  pipeOf?(folder: string): string;
  /** Where a short path to the folder is made, and where its lock is if the folder can hold no socket. */
  readonly temporary: string;
}

/** `sun_path` has 104 bytes on macOS and BSD, 108 on Linux, with a NUL. */
const MAX_SOCKET_PATH = 103;
/** How long a live process that does not reply may be one that is still looking, in milliseconds. */
const REPLY_MS = 20_000;
const LOCK = /^%lock-[0-9a-f]{12}$/;
/** Not yet listening, or cut off before it was renamed. */
const UNFINISHED = /^%bind-[0-9a-f]{12}$/;

export const thisMachine: LockMachine = {
  listen: (server, path) =>
    new Promise((resolve, reject) => {
      server.once("error", reject);
      // In a worker of `cluster`, the primary would listen in its place, and go on when it has ended.
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
 * Makes this process the owner of a folder.
 *
 * Some file systems hold no sockets: folders that Windows, VirtualBox or Docker Desktop share (EPERM, ENOTSUP, EIO), or
 * connect to none. The socket is then in the folder for temporary files, which processes in different containers do not
 * share. In a folder of a network share, nothing tells what processes of other machines do.
 * @param folder its real path
 * @returns undefined where the file system is read-only: nothing can be written that would need a lock
 * @throws {IotHubError} STORAGE_IN_USE
 * @throws what the file system reports: ENOENT if there is no such folder
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
      // For a folder that is missing, Node reports EACCES.
      await lstat(folder);
      await mkdir(elsewhere, { mode: 0o700 }).catch(() => {});
      if (!(await isOwn(elsewhere))) throw error;
      other = await openPlace(elsewhere, machine);
      candidate = await standIn(other, machine);
    }
    // Whoever could use only the other place must be seen from here, too.
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

/** A folder with sockets in it, with a path to it that is short enough for theirs. */
interface Place {
  readonly folder: string;
  readonly short: string;
  close(): Promise<void>;
}

async function openPlace(folder: string, machine: LockMachine): Promise<Place> {
  const name = "/%lock-0123456789ab".length;
  if (Buffer.byteLength(folder) + name <= MAX_SOCKET_PATH) return { folder, short: folder, close: async () => {} };
  // A link to it: the socket is in the folder all the same, where a process with other temporary files looks, too.
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

/** Whether it is a folder in which nobody else can put a socket. */
async function isOwn(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined);
  if (!found?.isDirectory()) return false;
  return process.getuid === undefined || (found.uid === process.getuid() && (found.mode & 0o22) === 0);
}

interface Candidate extends FolderLock {
  readonly name: string;
  /** Tells those who wait that they have come too late. */
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
      // Another user's process must be able to find out that nobody listens any more.
      await chmod(join(place.folder, unfinished), 0o666).catch(() => {});
      // Between binding and listening it refuses connections, and would be considered dead under its final name.
      await rename(join(place.folder, unfinished), file);
      keepUntilExit(file);
      // There are file systems that hold sockets and connect to none.
      if ((await probe(join(place.short, name))) !== "alive") {
        throw Object.assign(new Error("the socket refuses connections"), { code: "ENOTSUP" });
      }
      return { name, decide: () => server.decide(), release };
    } catch (error) {
      await release();
      await unlink(join(place.folder, unfinished)).catch(() => {});
      // Somebody took the unfinished one for dead; if not, the folder is gone.
      if (!isMissing(error) || attempts === 5) throw error;
      await lstat(place.folder);
    }
  }
}

/** Tells whoever connects that the folder has an owner, as soon as that is decided. It keeps no process alive. */
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

/** Whether another process has the folder, or will have it. Deletes the sockets of those that have ended. */
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
    // Names are random, so that it does not matter which of the two kinds of place they are in.
    const state = await probe(join(place.short, name), name > own && LOCK.test(name) ? REPLY_MS : undefined);
    if (state === "dead") await unlink(join(place.folder, name)).catch(() => {});
    if (state === "alive" && LOCK.test(name)) return true;
  }
  return false;
}

/**
 * Whether a process listens. If that cannot be determined, it counts as alive.
 * @param replyMs milliseconds to wait for what the process decides; undefined: do not wait
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
    // It has given way, or has ended.
    socket.on("close", () => finish("gone"));
  });
}

async function lockByPipe(folder: string, pipe: string, machine: LockMachine): Promise<FolderLock> {
  const server = new LockServer();
  try {
    await server.listen(pipe, machine);
  } catch (error) {
    // EACCES: another user's.
    throw ["EADDRINUSE", "EACCES"].includes(codeOf(error) ?? "") ? inUse(folder) : error;
  }
  server.decide();
  return { release: () => server.close() };
}

/** Files to delete when the process exits: the one thing that all locks of a process share. */
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
        // Whoever comes next finds it dead.
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
