/** Compiles TypeScript for jest; `npm run types` checks the types. */
import ts from "typescript";

export default {
  process(source, fileName) {
    const compilerOptions = { target: "ES2022", module: "ESNext", inlineSourceMap: true, inlineSources: true };
    return { code: ts.transpileModule(source, { fileName, compilerOptions }).outputText };
  },
};
