import { readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

const isFile = (path) => statSync(path, { throwIfNoEntry: false })?.isFile() === true;

/** Returns every file that a file imports, including itself; other modules by their name. */
export function closure(entry, known = new Map()) {
  const seen = new Set();
  const todo = [entry];
  while (todo.length > 0) {
    const path = todo.pop();
    if (seen.has(path)) continue;
    seen.add(path);
    // A name in a template may look like an import and be none.
    if (!isFile(path)) continue;
    let imports = known.get(path);
    if (imports === undefined) {
      const code = readFileSync(path, "utf8");
      const pattern = /^(?:import|export)\b(?!\s+type\b)[^;"']*?["']([^"'\s]+)["']|\bimport\(\s*["']([^"'\s]+)["']/gm;
      imports = [...code.matchAll(pattern)].map(([, one, other]) => {
        const name = one ?? other;
        if (!name.startsWith(".")) return name;
        const target = resolve(dirname(path), name);
        const typed = target.replace(/\.js$/, ".ts");
        return isFile(typed) ? typed : target;
      });
      known.set(path, imports);
    }
    todo.push(...imports);
  }
  return seen;
}
