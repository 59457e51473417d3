/** The layers of the project are held by a lint rule: what a file of each layer must not import is reported. */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

const root = fileURLToPath(new URL("../..", import.meta.url));
let folder: string;

/** Lints one file, as if it stood at this path of the project. @returns the rules that it breaks */
function rulesBrokenBy(path: string, source: string): string[] {
  const file = join(folder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, source);
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [join(root, "node_modules/@biomejs/biome/bin/biome"), "lint", "--reporter=github", "--max-diagnostics=100", path],
    { cwd: folder, encoding: "utf8" },
  );
  rmSync(file);
  const rules = [...stdout.matchAll(/title=lint\/([A-Za-z0-9/]+)/g)].map(([, rule]) => rule);
  if (status !== 0 && rules.length === 0) throw new Error(stderr || `biome ended with ${status}`);
  return rules;
}

const importing = (specifier: string) => `import * as it from "${specifier}";\nexport { it };\n`;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "layers-"));
  const config = JSON.parse(readFileSync(join(root, "biome.json"), "utf8"));
  // There is no repository whose ignore file could be read.
  delete config.vcs;
  delete config.$schema;
  writeFileSync(join(folder, "biome.json"), JSON.stringify(config));
  copyFileSync(join(root, ".gitattributes"), join(folder, ".gitattributes"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the lint rules hold the layers", () => {
  const forbidden: [string, string][] = [
    ["src/request/client.ts", "node:fs"],
    ["src/request/client.ts", "nock"],
    ["src/request/client.ts", "../../host/node/index.js"],
    ["src/crypto/aes.ts", "../../tools/gateway/index.js"],
    ["src/crypto/aes.ts", "../../test/support/fake-host.js"],
    ["host/node/http.ts", "../../src/index.js"],
    ["host/moddable/http.ts", "../../src/index.js"],
    ["host/moddable/http.ts", "../../mocks/moddable/tcp.js"],
    ["host/node/http.ts", "../../bench/jobs.mjs"],
    ["host/node/index.ts", "../../test/support/fake-host.js"],
    ["host/fetch/http.ts", "node:http"],
    ["host/fetch/http.ts", "undici"],
    ["host/fetch/http.ts", "../../src/index.js"],
    ["host/fetch/http.ts", "../node/classify.js"],
    ["host/fetch/http.ts", "../../tools/gateway/index.js"],
    ["host/fetch/index.ts", "node:timers"],
    ["host/fetch/index.ts", "../moddable/http-codec.js"],
    ["host/fetch/index.ts", "../../test/support/fake-host.js"],
    ["host/anchors/index.ts", "../../tools/gateway/index.js"],
    ["host/anchors/index.ts", "../../src/index.js"],
    ["tools/cli/demo.ts", "../../test/support/fake-host.js"],
    ["tools/cli/demo.ts", "../../src/errors.js"],
    ["tools/cli/demo.ts", "../../host/node/index.js"],
    ["tools/cli/demo.ts", "../../mocks/moddable/tcp.js"],
    ["tools/gateway/verify.ts", "tencent-iothub-xs"],
    ["tools/gateway/verify.ts", "tencent-iothub-xs/signing"],
    ["tools/gateway/verify.ts", "../cli/io.js"],
    ["tools/gateway/verify.ts", "../../src/signing/signer.js"],
    ["tools/gateway/verify.ts", "../../host/node/index.js"],
    ["tools/ui/server.ts", "tencent-iothub-xs"],
    ["tools/ui/server.ts", "../../src/signing/signer.js"],
    ["tools/ui/page/copies.js", "../../../host/node/index.js"],
    ["tools/diagnose/mistakes.ts", "../../src/signing/signer.js"],
    ["tools/diagnose/mistakes.ts", "../../host/node/index.js"],
    ["tools/diagnose/mistakes.ts", "../gateway/verify.js"],
    ["tools/diagnose/mistakes.ts", "node:fs"],
    ["tools/diagnose/mistakes.ts", "tencent-iothub-xs"],
    ["src/crypto/aes.ts", "../../tools/diagnose/index.js"],
    ["host/node/http.ts", "../../tools/diagnose/index.js"],
    ["host/moddable/index.ts", "../../tools/diagnose/index.js"],
    ["mocks/moddable/tcp.ts", "../../test/support/fake-host.js"],
    ["bench/jobs.mjs", "../test/xs/engine.test.js"],
    ["bench/jobs.mjs", "../test/unit/outbox.test.js"],
    ["bench/jobs.mjs", "../test/gateway/publish.test.js"],
    ["test/conformance/hash.cases.ts", "node:crypto"],
    ["test/conformance/tls.cases.ts", "../../host/moddable/tls/session.js"],
    ["test/conformance/hash.cases.ts", "../unit/outbox.test.js"],
    ["test/faults/matrix.ts", "../moddable/http.test.js"],
    ["test/support/servers.ts", "../node/http.test.js"],
    ["fleet/src/board.ts", "../../src/device.js"],
    ["fleet/src/board.ts", "../../host/moddable/index.js"],
    ["fleet/src/board.ts", "../../test/support/fake-host.js"],
    ["test/support/servers.ts", "../../bench/jobs.mjs"],
  ];
  test.each(forbidden)("%s must not import %s", (path, specifier) => {
    expect(rulesBrokenBy(path, importing(specifier))).toEqual(["style/noRestrictedImports"]);
  });

  const allowed: [string, string][] = [
    ["src/crypto/aes.ts", "../errors.js"],
    ["src/request/client.ts", "../crypto/aes.js"],
    ["host/moddable/http.ts", "../../src/errors.js"],
    ["host/moddable/index.ts", "../../src/index.js"],
    ["host/fetch/index.ts", "../../src/index.js"],
    ["host/fetch/http.ts", "../../src/errors.js"],
    ["host/fetch/http.ts", "./classify.js"],
    ["tools/cli/demo.ts", "../gateway/index.js"],
    ["tools/cli/diagnose.ts", "../diagnose/index.js"],
    ["tools/cli/demo.ts", "tencent-iothub-xs"],
    ["tools/cli/sign.ts", "tencent-iothub-xs/signing"],
    ["tools/cli/files.ts", "../../host/node/file-system.js"],
    ["tools/gateway/handle-request.ts", "../diagnose/diagnose.js"],
    ["tools/diagnose/mistakes.ts", "./fields.js"],
    ["tools/diagnose/mistakes.ts", "node:crypto"],
    ["test/conformance/hash.cases.ts", "../support/fake-host.js"],
    ["test/conformance/hash.cases.ts", "../../src/index.js"],
    ["test/faults/matrix.ts", "../support/keys.js"],
    ["test/moddable/http.test.ts", "../../host/moddable/http.js"],
    ["bench/bundle.mjs", "../scripts/strip-types.mjs"],
    ["fleet/src/board.ts", "../../host/node/index.js"],
    ["fleet/src/gateway.ts", "../../tools/gateway/index.js"],
  ];
  test.each(allowed)("%s may import %s", (path, specifier) => {
    expect(rulesBrokenBy(path, importing(specifier))).toEqual([]);
  });
});

describe("the lint rules report", () => {
  test.each([
    ["var", "var x = 1;\nexport { x };\n", "suspicious/noVar"],
    ["loose equality", "export const f = (x: unknown) => x == 1;\n", "suspicious/noDoubleEquals"],
    ["what is never used", "const unused = 1;\nexport {};\n", "correctness/noUnusedVariables"],
    [
      "a catch that only throws",
      "export const f = () => { try { f(); } catch (e) { throw e; } };\n",
      "complexity/noUselessCatch",
    ],
  ])("%s", (_name, source, rule) => {
    expect(rulesBrokenBy("src/some.ts", source)).toContain(rule);
  });
});
