// Compiles the `@example` blocks of doc comments, each as a module, against the entries of its platform.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";

/**
 * Folders with examples, and the entries from which their names are imported; other names are declared in `given`.
 */
const platforms = {
  node: {
    folders: ["src", "host/node"],
    base: "host/node/tsconfig.json",
    entries: ["host/node/index.ts", "src/entries/signing.ts", "src/entries/crypto.ts", "src/topics/topics.ts"],
    given: "const device: E0.Device, host: E0.Host, credential: E0.Credential, message: E0.Message, pem: string;",
  },
  moddable: {
    folders: ["host/moddable"],
    except: ["host/moddable/index-http.ts"],
    base: "host/moddable/tsconfig.json",
    entries: ["host/moddable/index.ts"],
    declarations: ["host/moddable/declarations/*.d.ts"],
    given: "const Resource: typeof import('Resource').default;",
  },
  http: {
    folders: ["host/moddable/index-http.ts"],
    base: "host/moddable/tsconfig.json",
    entries: ["host/moddable/index-http.ts"],
    declarations: ["host/moddable/declarations/*.d.ts"],
    given: "",
  },
  tools: {
    folders: ["tools/gateway", "tools/diagnose"],
    base: "tools/tsconfig.json",
    entries: ["tools/gateway/index.ts", "tools/diagnose/index.ts"],
    given: "const readFileSync: typeof import('node:fs').readFileSync;",
  },
};

/** Declared for the examples of every platform. */
const given = `const productId: string, deviceName: string, psk: string, productSecret: string;
const body: Uint8Array, key: Uint8Array, first: Uint8Array, second: Uint8Array;`;

/**
 * Returns the `@example` blocks of a source, without the comment's prefix.
 * @returns {{ line: number, code: string }[]}
 */
export function examplesOf(text) {
  return [...text.matchAll(/\/\*\*[\s\S]*?\*\//g)].flatMap(({ 0: comment, index }) => {
    const lines = comment.split("\n").map((line) => line.replace(/^\s*(?:\/\*\*|\*\/|\*) ?/, "").replace(/\*\/$/, ""));
    const first = text.slice(0, index).split("\n").length;
    const examples = [];
    for (const [at, line] of lines.entries()) {
      if (!line.startsWith("@example")) continue;
      const rest = lines.slice(at + 1);
      const end = rest.findIndex((next) => next.startsWith("@"));
      examples.push({
        line: first + at,
        code: rest
          .slice(0, end < 0 ? rest.length : end)
          .join("\n")
          .trimEnd(),
      });
    }
    return examples;
  });
}

/**
 * Writes a project for each platform below a folder.
 * @returns {string[]} folders of the projects, relative to the root
 */
export function writeDocExamples(root, cache) {
  return Object.entries(platforms).map(([name, platform]) => {
    const project = `${cache}/doc-examples/${name}`;
    rmSync(join(root, project), { recursive: true, force: true });
    mkdirSync(join(root, project), { recursive: true });
    const imports = exportsOf(root, platform);
    let count = 0;
    for (const file of sourcesIn(root, platform)) {
      for (const { line, code } of examplesOf(readFileSync(join(root, file), "utf8"))) {
        const declared = new Set([...code.matchAll(/\b(?:const|let|class|function) (\w+)/g)].map(([, id]) => id));
        const used = [...new Set(code.match(/\b[A-Za-z_]\w*/g))].filter((id) => imports.has(id) && !declared.has(id));
        const lines = used.map((id) => `import { ${id} } from "${join(root, imports.get(id))}";`);
        writeFileSync(
          join(root, project, `${file.replaceAll(/[/.]/g, "-")}-line-${line}.ts`),
          [...lines, code, "export {};\n"].join("\n"),
        );
        count++;
      }
    }
    if (count === 0) throw new Error(`No @example was found in ${platform.folders.join(", ")}.`);
    writeFileSync(
      join(root, project, "given.d.ts"),
      `import type * as E0 from "${join(root, platform.entries[0])}";\ndeclare global {\n${given}\n${platform.given}\n}\n`,
    );
    writeFileSync(join(root, project, "package.json"), '{ "type": "module" }');
    writeFileSync(join(root, project, "tsconfig.json"), JSON.stringify(configOf(root, platform)));
    return project;
  });
}

function sourcesIn(root, { folders, except = [] }) {
  return folders
    .flatMap((folder) =>
      folder.endsWith(".ts")
        ? [folder]
        : readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((name) => `${folder}/${name}`),
    )
    .filter((file) => /(?<!\.d)\.ts$/.test(file) && !except.includes(file))
    .sort();
}

function optionsOf(root, base) {
  const { config } = ts.readConfigFile(join(root, base), ts.sys.readFile);
  return ts.parseJsonConfigFileContent(config, ts.sys, join(root, base, ".."));
}

/** Returns the first entry that exports each name. */
function exportsOf(root, { base, entries, declarations = [] }) {
  const { options, fileNames } = optionsOf(root, base);
  const more = declarations.length > 0 ? fileNames.filter((file) => file.endsWith(".d.ts")) : [];
  const program = ts.createProgram([...entries.map((entry) => join(root, entry)), ...more], options);
  const checker = program.getTypeChecker();
  const names = new Map();
  for (const entry of entries) {
    for (const { name } of checker.getExportsOfModule(
      checker.getSymbolAtLocation(program.getSourceFile(join(root, entry))),
    )) {
      if (!names.has(name)) names.set(name, entry);
    }
  }
  return names;
}

function configOf(root, { base, declarations = [] }) {
  const { types = [] } = optionsOf(root, base).options;
  return {
    extends: join(root, base),
    compilerOptions: {
      rootDir: root,
      noUnusedLocals: false,
      allowImportingTsExtensions: true,
      // Names of packages would be looked up from the project's folder.
      types: types.map((type) => join(root, "node_modules", type === "node" ? "@types/node" : `${type}.d.ts`)),
    },
    include: ["*.ts", ...declarations.map((pattern) => join(root, pattern))],
    exclude: [],
  };
}
