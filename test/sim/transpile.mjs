// Stands in for tsc while mcconfig builds the test app: tsc checks every file's imports anew, which takes minutes. The
// same sources are type-checked as a whole by `npm run types`.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { stripTypes } from "../../scripts/strip-types.mjs";

const { compilerOptions, files } = JSON.parse(readFileSync(process.argv[process.argv.indexOf("-p") + 1], "utf8"));
for (const file of files) {
  const { code, map } = await stripTypes(file, { sourceMaps: true });
  const output = join(compilerOptions.outDir, file.replace(/\.ts$/, ".js"));
  mkdirSync(dirname(output), { recursive: true });
  writeFileSync(output, `${code}\n//# sourceMappingURL=${output.split("/").pop()}.map\n`);
  writeFileSync(`${output}.map`, JSON.stringify({ ...JSON.parse(map), sources: [relative(dirname(output), file)] }));
}
