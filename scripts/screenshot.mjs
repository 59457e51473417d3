// Renews docs/images/gateway-page.png, which the README shows: the page with a few minutes of two boards. Needs Chromium
// (CHROMIUM names it, if it is not /usr/bin/chromium). Another folder, and all pictures, dark and narrow ones too:
// `npm run screenshot -- FOLDER`.
import { register } from "node:module";
import { fileURLToPath } from "node:url";

register(new URL("../test/support/typescript.mjs", import.meta.url));
const { takeScreenshots } = await import("../test/ui/screenshots.ts");
const [folder] = process.argv.slice(2);
const pictures = await takeScreenshots(
  folder ?? fileURLToPath(new URL("../docs/images/", import.meta.url)),
  folder === undefined ? ["gateway-page"] : undefined,
);
for (const { file, bytes } of pictures) console.log(`${file} (${Math.round(bytes / 1024)} KB)`);
