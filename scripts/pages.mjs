// The project's pages, and the code on them. Every block of JavaScript or TypeScript says after its language for which
// platform it is, as in "```ts node": `npm run types` compiles it there, and a test runs it.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/**
 * Platforms of code on pages.
 * `moddable`: `npm run test:sim` builds and runs it. `node`, `fetch`: run by Node against the local gateway, see
 * {@link LOCAL_GATEWAY}. `jest`: run by jest.
 */
export const platforms = ["moddable", "node", "fetch", "jest"];

/** What programs for `fetch` publish to; whatever runs them puts the gateway's real address there. */
export const LOCAL_GATEWAY = "http://127.0.0.1:8080";

/** The device of programs for `node`, `fetch` and `jest`. */
export const pageDevice = { productId: "ABCDE12345", deviceName: "sensor1", psk: "c2VjcmV0IG9mIHNlbnNvcjE=" };

const markdownIn = (folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith(".md"))
    .sort()
    .map((name) => join(folder, name));

/** Pages whose code is compiled and run, README.md first. README.zh-CN.md has the same blocks as README.md. */
export function codePages() {
  return ["README.md", ...markdownIn("docs"), "tools/README.md"];
}

/** All pages written by hand, relative to the root. */
export function allPages() {
  const folders = ["tools", "test/chains", ...readdirSync(join(root, "examples")).map((name) => `examples/${name}`)];
  return [
    ...markdownIn(".").filter((name) => name !== "api.md"),
    ...markdownIn("docs"),
    ...folders.map((folder) => `${folder}/README.md`).filter((page) => existsSync(join(root, page))),
  ];
}

export function readPage(page) {
  return readFileSync(join(root, page), "utf8");
}

/**
 * Blocks of code of a page, in order.
 * @returns {import("./pages.mjs").Block[]}
 */
export function blocksOf(page) {
  const blocks = [];
  let section = "";
  const text = readPage(page);
  for (const { 1: heading, 2: info, 3: code, index } of text.matchAll(
    /^#{1,3} (.*)$|^```([^\n`]*)\n([\s\S]*?)^```$/gm,
  )) {
    if (heading !== undefined) section = heading;
    else {
      const [language = "", platform = ""] = info.split(" ");
      blocks.push({ page, section, language, platform, text: code, line: text.slice(0, index).split("\n").length });
    }
  }
  return blocks;
}

/** Programs for a platform, on all pages. */
export function programsFor(platform) {
  return codePages()
    .flatMap(blocksOf)
    .filter((block) => block.platform === platform);
}

/** Links to files of the project and to sections, each as written. */
export function linksIn(text) {
  const prose = text.replace(/^```[\s\S]*?^```$/gm, "").replace(/`[^`\n]*`/g, "");
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link).filter((link) => !/^[a-z]+:/.test(link));
}

/**
 * A page as a package ships it: links to files that are not in the package become plain text, since the project has no
 * address on the web to point them at, and images that are not there are left out.
 * @param {(path: string) => boolean} isShipped takes a path relative to the root
 */
export function pageForPackage(page, isShipped) {
  const resolves = (link) => {
    const [path] = link.split("#");
    return /^[a-z]+:/.test(link) || path === "" || isShipped(normalize(join(dirname(page), path)));
  };
  const parts = readPage(page).split(/(^```[\s\S]*?^```$)/m);
  return parts
    .map((part) =>
      part.startsWith("```")
        ? part
        : part
            .replace(/!\[[^\]]*\]\(([^)\s]+)\)\n*/g, (image, link) => (resolves(link) ? image : ""))
            .replace(/\[([^\]]+)\]\(([^)\s]+)\)/g, (whole, text, link) => (resolves(link) ? whole : text)),
    )
    .join("");
}

/** Anchors of a page's headings, as GitHub makes them. */
export function anchorsIn(text) {
  const seen = new Map();
  return [...text.replace(/^```[\s\S]*?^```$/gm, "").matchAll(/^#{1,6} (.*)$/gm)].map(([, heading]) => {
    const base = heading
      .trim()
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-");
    const count = seen.get(base) ?? 0;
    seen.set(base, count + 1);
    return count === 0 ? base : `${base}-${count}`;
  });
}
