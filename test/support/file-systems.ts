/** Misbehaving file systems on top of a real one. */

import { basename, dirname, join } from "node:path";
import { type FileSystem, nodeFileSystem, type OpenFile } from "../../host/node/file-system.js";

export interface FileCall {
  readonly name: keyof FileSystem | keyof OpenFile;
  /** Path of the call: for `rename` the new one, for an open file the path with which it was opened. */
  readonly path: string;
}

export function fileError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}

/**
 * Calls `before` ahead of each call of a file system; the call fails with its exception. Waiting takes no time.
 * @param after called when the call has taken effect; the call fails with its exception
 */
export function intercepted(
  before: (call: FileCall) => void,
  after: (call: FileCall) => void = () => {},
  fs: FileSystem = nodeFileSystem,
): FileSystem {
  const wrap =
    (name: FileCall["name"], pathOf: (args: unknown[]) => string, call: (...args: never[]) => unknown) =>
    async (...args: unknown[]) => {
      const about = { name, path: pathOf(args) };
      before(about);
      const result = await call(...(args as never[]));
      try {
        after(about);
      } catch (error) {
        if (name === "open") await closeQuietly(result as OpenFile);
        throw error;
      }
      return result;
    };
  const wrapFile = (file: OpenFile, path: string): OpenFile => {
    const methods = ["write", "truncate", "sync", "close"] as const;
    return Object.fromEntries(
      methods.map((name) => {
        const call = wrap(name, () => path, file[name].bind(file));
        // A file that cannot be closed cleanly is closed nevertheless (close(2), NOTES).
        return [
          name,
          name === "close" ? (...args: unknown[]) => call(...args).finally(() => closeQuietly(file)) : call,
        ];
      }),
    ) as unknown as OpenFile;
  };
  const names = Object.keys(fs) as (keyof FileSystem)[];
  const wrapped = Object.fromEntries(
    names.map((name) => [
      name,
      wrap(name, (args) => String(args[name === "rename" ? 1 : 0]), fs[name] as (...args: never[]) => unknown),
    ]),
  ) as unknown as FileSystem;
  return {
    ...wrapped,
    open: async (path, flags, mode) => wrapFile(await wrapped.open(path, flags, mode), path),
    wait: async (ms) => before({ name: "wait", path: String(ms) }),
  };
}

/** Node's file system without sync, for tests of many operations without power loss. */
export const unsynchronized: FileSystem = {
  ...nodeFileSystem,
  open: async (path, flags, mode) => {
    const file = await nodeFileSystem.open(path, flags, mode);
    return {
      write: file.write.bind(file),
      truncate: file.truncate.bind(file),
      sync: async () => {},
      close: file.close.bind(file),
    };
  },
};

function closeQuietly(file: OpenFile): Promise<void> {
  return file.close().catch(() => {});
}

/**
 * A folder like on Windows: case-preserving and case-insensitive, trailing dots and spaces are dropped, device names
 * are not files, and a folder cannot be synchronized.
 */
export function windowsLike(): FileSystem {
  const real = async (path: string): Promise<string> => {
    const name = basename(path).replace(/[. ]+$/, "");
    if (/^(con|prn|aux|nul|com[0-9]|lpt[0-9])$/i.test(name.split(".")[0])) throw fileError("EPERM");
    if (/[<>:"/\\|?*]/.test(name)) throw fileError("EINVAL");
    const entries = await nodeFileSystem.readdir(dirname(path)).catch(() => []);
    const same = entries.find((entry) => entry.name.toLowerCase() === name.toLowerCase());
    return join(dirname(path), same?.name ?? name);
  };
  const fs: FileSystem = {
    ...nodeFileSystem,
    lstat: async (path) => nodeFileSystem.lstat(await real(path)),
    open: async (path, flags, mode) => nodeFileSystem.open(await real(path), flags, mode),
    readFile: async (path) => nodeFileSystem.readFile(await real(path)),
    rename: async (from, to) => nodeFileSystem.rename(await real(from), await real(to)),
    unlink: async (path) => nodeFileSystem.unlink(await real(path)),
  };
  const folders = new Set<string>();
  return intercepted(
    ({ name, path }) => {
      if (name === "readdir" || name === "mkdir") folders.add(path);
      if (name === "sync" && folders.has(path)) throw fileError("EPERM");
    },
    undefined,
    fs,
  );
}
