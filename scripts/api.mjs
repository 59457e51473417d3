// Writes the library's API to api.md: the exported declarations of every entry, so that reviewers see each change of it.
//
//     npm run api [-- --check]
//
// `--check` writes nothing, and fails if api.md differs or if an export or an option has no doc comment.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const root = fileURLToPath(new URL("..", import.meta.url));
const FILE = "api.md";

/** Source of each entry by its import specifier. Entries of a platform include the root's exports. */
const entries = {
  "tencent-iothub-xs/core": "src/index.ts",
  "tencent-iothub-xs/node": "host/node/index.ts",
  "tencent-iothub-xs/fetch": "host/fetch/index.ts",
  "tencent-iothub-xs/moddable": "host/moddable/index.ts",
  "tencent-iothub-xs/http": "host/moddable/index-http.ts",
  "tencent-iothub-xs/signing": "src/entries/signing.ts",
  "tencent-iothub-xs/crypto": "src/entries/crypto.ts",
  "tencent-iothub-xs/host": "src/entries/host.ts",
  "tencent-iothub-xs/topics": "src/topics/topics.ts",
  "tencent-iothub-xs/anchors": "host/anchors/index.ts",
};

/** Returns the report, and the parts of the API without a doc comment as `entry: name`. */
export function readApi() {
  const { config } = ts.readConfigFile(join(root, "test/tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, join(root, "test"));
  const files = Object.values(entries).map((file) => join(root, file));
  const declarations = ["sdk", "crypt", "storage"].map((name) => join(root, `host/moddable/declarations/${name}.d.ts`));
  const program = ts.createProgram([...files, ...declarations.filter((file) => existsSync(file))], {
    ...options,
    noEmit: false,
    declaration: true,
    emitDeclarationOnly: true,
    removeComments: true,
    outDir: "/out",
    rootDir: root,
  });
  const checker = program.getTypeChecker();
  /** Statements of a source's declarations, by the names that they declare. */
  const emitted = new Map();
  const statementsOf = (source) => {
    const known = emitted.get(source.fileName);
    if (known !== undefined) return known;
    const statements = new Map();
    program.emit(
      source,
      (_path, text) => {
        const file = ts.createSourceFile("x.d.ts", text, ts.ScriptTarget.Latest, true);
        for (const statement of file.statements) {
          const names = ts.isVariableStatement(statement)
            ? statement.declarationList.declarations.map(({ name }) => name.getText(file))
            : [statement.name?.text];
          for (const name of names) {
            const text = statement.getText(file).replace(/^export (default )?(declare )?/, "");
            statements.set(name, [...(statements.get(name) ?? []), text]);
          }
        }
      },
      undefined,
      true,
    );
    emitted.set(source.fileName, statements);
    return statements;
  };

  const undocumented = new Set();
  const sections = [];
  const rootNames = new Map();
  for (const [entry, file] of Object.entries(entries)) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(join(root, file)));
    const blocks = [];
    let inherited = 0;
    for (const symbol of checker.getExportsOfModule(module)) {
      const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
      const [declaration] = target.declarations;
      const where = relative(root, declaration.getSourceFile().fileName);
      if (!isDocumented(checker, target)) undocumented.add(`${where}: ${symbol.name}`);
      for (const member of optionsOf(target)) {
        if (!isDocumented(checker, member)) undocumented.add(`${where}: ${symbol.name}.${member.name}`);
      }
      if (entry === "tencent-iothub-xs/core") rootNames.set(symbol.name, target);
      else if (rootNames.get(symbol.name) === target) {
        inherited++;
        continue;
      }
      const text = statementsOf(declaration.getSourceFile()).get(target.name);
      if (text === undefined) throw new Error(`${where} has no declaration of ${target.name}.`);
      blocks.push([symbol.name, text.join("\n")]);
    }
    blocks.sort(([a], [b]) => (a < b ? -1 : 1));
    const head = `## \`${entry}\`\n\n${blocks.length} exports${inherited > 0 ? `, and ${inherited} of \`tencent-iothub-xs/core\`` : ""}.`;
    sections.push(`${head}\n\n\`\`\`ts\n${blocks.map(([, text]) => text).join("\n\n")}\n\`\`\``);
  }
  const intro =
    "# API\n\nMade by `npm run api`; a test fails while it differs from the sources. Only what the entries export is part of the API,\nand of the types that it mentions those members that it needs.";
  return { report: `${[intro, ...sections].join("\n\n")}\n`, undocumented: [...undocumented].sort() };
}

/** Returns the members of an options interface. */
function optionsOf(symbol) {
  return symbol.name.endsWith("Options") && symbol.flags & ts.SymbolFlags.Interface
    ? [...(symbol.members?.values() ?? [])].filter((member) => member.flags & ts.SymbolFlags.Property)
    : [];
}

function isDocumented(checker, symbol) {
  return ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim() !== "";
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { report, undocumented } = readApi();
  if (process.argv.includes("--check")) {
    for (const name of undocumented) console.error(`No doc comment: ${name}`);
    const isCurrent = existsSync(join(root, FILE)) && readFileSync(join(root, FILE), "utf8") === report;
    if (!isCurrent) console.error(`${FILE} differs from the sources; run: npm run api`);
    process.exitCode = isCurrent && undocumented.length === 0 ? 0 : 1;
  } else {
    writeFileSync(join(root, FILE), report);
  }
}
