/** What checking a certificate chain takes of a device's heap and stack, whatever a server sends. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { STACK_BYTES } from "../../bench/budgets.mjs";
import { type ChainCase, limboCases } from "../chains/cases.js";
import { bundleFile } from "../support/bundle.js";
import { BUILD_TIMEOUT_MS, build, runAll } from "../support/engine.js";
import { Authority, type Der, dnsName, extension, extensions, ipAddress } from "../support/x509.js";

/** Beyond the certificates themselves, which lie outside of it. */
const HEAP_BYTES = 10_240;
/** The same with ten of them in one path. */
const LONGEST_HEAP_BYTES = 14_336;

let folder = "";
beforeAll(async () => {
  await build();
  folder = await mkdtemp(join(tmpdir(), "chains-"));
}, BUILD_TIMEOUT_MS);
afterAll(() => rm(folder, { recursive: true, force: true }));

const [root, intermediate] = [new Authority("Root"), new Authority("Intermediate")];
const NOW = Date.UTC(2026, 10, 28);
const made = (leaf: Der, ...more: Der[]) => ({
  chain: [leaf, root.certify(intermediate, {}, ...more)],
  anchors: [root.root()],
  host: "gateway.test",
  nowMs: NOW,
});
const online = (name: string) => {
  const found = limboCases().find(({ id }) => id === `online::${name}`);
  if (!found) throw new Error(`${name} is missing`);
  return { ...found, anchors: found.anchors.slice(0, 6) };
};
const host = dnsName("gateway.test");

const rows: readonly [string, Pick<ChainCase, "chain" | "anchors" | "host" | "nowMs">, string, number?][] = [
  ["three certificates of a public server, one of 6 KB", online("microsoft.com"), "accepted"],
  ["two certificates of a public server", online("aws.amazon.com"), "accepted"],
  [
    "1 000 addresses",
    made(intermediate.leaf([host, ...Array.from({ length: 1000 }, (_, i) => ipAddress(10, 0, i >> 8, i & 255))])),
    "accepted",
  ],
  [
    "700 names",
    made(intermediate.leaf([host, ...Array.from({ length: 700 }, (_, i) => dnsName(`n${i}.test`))])),
    "accepted",
  ],
  [
    "60 names and 60 name constraints",
    made(
      intermediate.leaf([host, ...Array.from({ length: 60 }, (_, i) => dnsName(`n${i}.test`))]),
      extensions.nameConstraints(
        [],
        Array.from({ length: 60 }, (_, i) => dnsName(`x${i}.example`)),
      ),
    ),
    "accepted",
  ],
  [
    "33 extensions",
    made(
      intermediate.leaf(undefined, {
        extensions: Array.from({ length: 33 }, (_, i) => extension(`1.2.3.${i}`, host)),
      }),
    ),
    "a certificate cannot be read (it has more than 32 extensions)",
  ],
  [
    "nine issuers that fit one another",
    {
      ...made(intermediate.leaf()),
      chain: [intermediate.leaf(), ...Array.from({ length: 9 }, () => new Authority("Intermediate").root())],
    },
    "there are too many paths to try",
    LONGEST_HEAP_BYTES,
  ],
];

test.each(rows.map(([name, each, output, heapBytes = HEAP_BYTES]) => [name, heapBytes, each, output] as const))(
  "%s are verified in %d bytes of heap and the stack of an ESP32",
  async (_name, heapBytes, each, output) => {
    const preload = [await bundleFile(new URL("chains.entry.ts", import.meta.url).pathname, "entry")];
    const list = (ders: readonly Uint8Array[]) => JSON.stringify(ders.map((der) => Buffer.from(der).toString("hex")));
    const data = join(folder, "data.js");
    await writeFile(
      data,
      `var sent = ${list(each.chain)}.map(entry.bytes), anchors = ${list(each.anchors)}.map(entry.bytes);`,
    );
    const script = `entry.verify(sent, anchors, ${JSON.stringify(each.host)}, ${each.nowMs});`;
    const job = { script, heapBytes, stackBytes: STACK_BYTES };
    const [report] = await runAll([job], { preload: [...preload, data] });
    expect(report).toMatchObject({ end: "ok", message: "" });
    expect(report.output.trim()).toBe(output);
  },
);
