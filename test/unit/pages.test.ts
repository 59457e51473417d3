/** The pages agree with the code, with each other, and with the files that they link to. */

import { X509Certificate } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "@jest/globals";
import {
  allPages,
  anchorsIn,
  blocksOf,
  codePages,
  linksIn,
  platforms,
  programsFor,
  readPage,
} from "../../scripts/pages.mjs";
import { errorTable } from "../../src/errors.js";
import { retryDefaults } from "../../src/request/retry.js";
import { buildDateMs } from "../../src/version.js";

const root = fileURLToPath(new URL("../../", import.meta.url));

describe("links", () => {
  /** Links of a text that lead nowhere. */
  const broken = (page: string, text: string) =>
    linksIn(text).filter((link) => {
      const [path, anchor] = link.split("#");
      const target = path === "" ? page : normalize(join(dirname(page), path));
      if (!existsSync(join(root, target))) return true;
      if (anchor === undefined) return false;
      return !anchorsIn(target === page ? text : readPage(target)).includes(decodeURIComponent(anchor));
    });

  test.each(allPages())("%s: every file and every section that it links to exists", (page) => {
    expect(broken(page, readPage(page))).toEqual([]);
  });

  test("links to missing files and sections are found", () => {
    const text =
      "# A b\n[x](nothing.md) [y](#a-b) [z](#b) [u](docs/tls.md#handshakes) [v](docs/tls.md#no) [w](https://a.b)";
    expect(broken("README.md", text)).toEqual(["nothing.md", "#b", "docs/tls.md#no"]);
  });

  test("every page in docs is linked to from the README", () => {
    const links = linksIn(readPage("README.md")).map((link) => link.split("#")[0]);
    const pages = codePages().filter((page) => page.startsWith("docs/"));
    expect(pages.length).toBeGreaterThan(12);
    expect(pages.filter((page) => !links.includes(page))).toEqual([]);
  });
});

describe("code", () => {
  test("every block of TypeScript and JavaScript names its platform", () => {
    const blocks = codePages().flatMap(blocksOf);
    const isScript = ({ language }: { language: string }) => /^([cm]?[jt]s|javascript|typescript)$/.test(language);
    const wrong = blocks.filter(
      (block) => isScript(block) !== (platforms as readonly string[]).includes(block.platform),
    );
    expect(wrong.map(({ page, line }) => `${page}:${line}`)).toEqual([]);
    for (const platform of platforms) expect([platform, programsFor(platform).length > 0]).toEqual([platform, true]);
  });

  test("README.zh-CN.md has the blocks of README.md", () => {
    const blocks = (page: string) =>
      blocksOf(page).map(({ language, platform, text }) => ({ language, platform, text }));
    expect(blocks("README.md").length).toBeGreaterThan(5);
    expect(blocks("README.zh-CN.md")).toEqual(blocks("README.md"));
  });

  test("npm scripts that a page names exist", () => {
    const template = "tools/templates/typescript/package.json.template";
    const scripts = ["package.json", template].flatMap((file) =>
      Object.keys(JSON.parse(readFileSync(join(root, file), "utf8")).scripts),
    );
    for (const page of allPages().filter((page) => page !== "docs/fleet.md")) {
      const named = [...readPage(page).matchAll(/npm run ([a-z:]+)/g)].map(([, name]) => name);
      expect([page, named.filter((name) => !scripts.includes(name))]).toEqual([page, []]);
    }
  });
});

describe("facts", () => {
  test("docs/errors.md lists every error code once, and no other", () => {
    const declared: string[] = Object.keys(errorTable);
    const text = readPage("docs/errors.md");
    const listed = [...text.slice(0, text.indexOf("\n## ")).matchAll(/^\| `([A-Z0-9_]+)` \|/gm)].map(
      ([, code]) => code,
    );
    expect(declared.length).toBeGreaterThan(40);
    expect(listed.sort()).toEqual(declared.sort());
  });

  test("docs/outbox.md has the defaults of retries", () => {
    for (const [name, value] of Object.entries(retryDefaults)) {
      const row = new RegExp(`^\\| \`retry\\.${name}\` \\| ([0-9 ]+) \\|`, "m").exec(readPage("docs/outbox.md"));
      expect([name, Number(row?.[1].replaceAll(" ", ""))]).toEqual([name, value]);
    }
  });

  test("docs/tls.md has the name, key and end of every built-in trust anchor", () => {
    const files = [
      "digicert-g2",
      "trustasia-g3",
      "trustasia-g4",
      "trustasia-tls-rsa",
      "trustasia-tls-ecc",
      "digicert-g1",
    ];
    const anchors = files.map((file) => {
      const der = readFileSync(join(root, `host/moddable/anchors/iothub-${file}.der`));
      const { subject, publicKey, validTo } = new X509Certificate(der);
      const { modulusLength, namedCurve } = publicKey.asymmetricKeyDetails ?? {};
      const key = modulusLength ? `RSA ${modulusLength}` : `ECDSA ${namedCurve?.replace("secp384r1", "P-384")}`;
      const end = new Date(validTo);
      // Firmware of a release stays in use for years.
      expect([file, end.getTime() - buildDateMs > 4 * 365 * 86_400_000]).toEqual([file, true]);
      const trusted = file === "digicert-g1" ? "only with `digicertGlobalRootCA()`" : "by default";
      return `| ${/^CN=(.*)$/m.exec(subject)?.[1]} | ${key} | ${end.toISOString().slice(0, 10)} | ${trusted} |`;
    });
    expect(readdirSync(join(root, "host/moddable/anchors")).sort()).toEqual(
      files.map((file) => `iothub-${file}.der`).sort(),
    );
    const [, table] = /<!-- anchors:begin.*-->\n([\s\S]*?)<!-- anchors:end -->/.exec(readPage("docs/tls.md")) ?? [];
    expect(table?.trim().split("\n").slice(2)).toEqual(anchors);
  });

  test("the README's figures of memory are those of docs/memory.md", () => {
    const [memory, readme] = [readPage("docs/memory.md"), readPage("README.md")];
    const cells = /^\| first publish, with its handshake \|(.+)\|$/m.exec(memory)?.[1].split("|") ?? [];
    const [chunks, slots, stack, httpChunks, httpSlots, httpStack] = cells.map((cell) =>
      Number(cell.replaceAll(" ", "")),
    );
    const spaced = (value: number) => String(value).replace(/\B(?=(\d{3})+$)/g, " ");
    const heap = `at most ${spaced(chunks + slots)} bytes over HTTPS and ${spaced(stack)} of stack; ${spaced(httpChunks + httpSlots)} and ${spaced(httpStack)} over HTTP`;
    expect(readme).toContain(heap);
    const [, tls, plain] = /bytecode in flash \| ([\d ]+) bytes with TLS, ([\d ]+) without/.exec(readme) ?? [];
    expect(memory).toContain(`${tls} bytes with TLS`);
    expect(memory).toContain(`; ${plain} and `);
  });
});
