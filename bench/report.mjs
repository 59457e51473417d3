/** Writes docs/benchmark.md, the README's line and the chart from bench/results.json. `--check` only compares. */
import { readFileSync, realpathSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { packages } from "./engine.mjs";
import { OURS, sizes } from "./jobs.mjs";

/** Name of the entry `ours` in the table. */
const TITLE = "tencent-iothub-xs";

const root = new URL("../", import.meta.url);
const chartFile = new URL("chart.svg", import.meta.url);
const BEGIN = "<!-- bench:begin -->";
const END = "<!-- bench:end -->";

const millions = (value) => (value === undefined ? "–" : (value / 1e6).toFixed(2));
const kilobytes = (value) => (value === undefined ? "–" : (value / 1024).toFixed(1));
const plain = (value, digits = 0) => (value === undefined ? "–" : value.toFixed(digits));

const byInstructions = ([, a], [, b]) => (a.rv32Instructions ?? Infinity) - (b.rv32Instructions ?? Infinity);

export function table(results) {
  const { job, bulk, rsa, core } = results;
  const ours = job[OURS];
  const rows = Object.entries(job)
    .sort(byInstructions)
    .map(([name, row]) => {
      const cells = [
        name === OURS ? `**${TITLE}**` : `${name} ${results.versions[name] ?? ""}`.trim(),
        row.correct === false ? `wrong (${millions(row.rv32Instructions)})` : millions(row.rv32Instructions),
        plain(bulk[name]?.instructionsPerByte),
        plain(row.xsMicroseconds),
        `${kilobytes(row.leastHeapBytes)}${row.preloaded === false ? " †" : ""}`,
        plain(row.garbageBytes),
        millions(row.loadInstructions),
        row.minifiedBytes === undefined ? "–" : `${kilobytes(row.minifiedBytes)} / ${kilobytes(row.gzipBytes)}`,
        plain(row.nodeMicroseconds, 1),
      ];
      return `| ${cells.join(" | ")} |`;
    });
  const rsaRows = Object.entries(rsa)
    .sort(byInstructions)
    .map(([name, row]) => `| ${name === OURS ? `**${TITLE}**` : name} | ${millions(row.rv32Instructions)} |`);
  return [
    `One hash job is the cryptography of a publish: an HMAC-SHA256 with a prepared key of ${sizes.key} bytes over ${sizes.text} bytes, and the`,
    `hexadecimal SHA-256 of a body of ${sizes.body} bytes. All libraries ran in the same session, and every result was verified.`,
    "",
    "| Library | XS, M instructions | per byte in bulk | XS, µs | minimum heap, KB | garbage, B | load, M instr. | minified / gzip, KB | Node, µs |",
    "| :-- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ...rows,
    "",
    "![M instructions per hash job on XS, by library](../bench/chart.svg)",
    "",
    `\`publishBody\` and \`signRequest\` together take ${millions(ours.signRequestInstructions)} M instructions, of which the body takes ${millions(ours.bodyInstructions)} M; creating a \`Device\`,`,
    `publishing once and reading the response needs a heap of ${kilobytes(ours.deviceHeapBytes)} KB. The core for bare XS (hash, HMAC, signing, message; no RSA) has`,
    `${plain(core.minifiedBytes)} bytes, ${plain(core.gzipBytes)} compressed.`,
    "",
    ...publishes(results),
    "| RSA-2048 signature | XS, M instructions |",
    "| :-- | --: |",
    ...rsaRows,
    "",
    "Ours is blinded, and verifies each signature before returning it.",
    "",
    ...handshakes(results),
    ...simulator(results.moddable),
    "- *M instructions*: millions, counted exactly by QEMU on RV32IMC (the instruction set of an ESP32-C3), steady state, no GC during the call.",
    "  *load*: running the library's top level. *wrong*: on XS, the library returns a different hash for text with an emoji.",
    "- *XS, µs*: the same engine as a 32-bit process on the measuring machine. *Node, µs*: the minimum of many rounds there; both compare",
    "  libraries, not machines. On Node, `createHost({ native: true })` uses node:crypto for programs that hash a lot.",
    "- *minimum heap*: for three jobs on 32-bit XS, including the stack, with the library in read-only memory as in firmware. † keeps state in",
    "  module variables, so it must be in the heap instead. *garbage*: bytes that one job leaves for the garbage collector.",
    "- Each library gets its messages in its preferred form, prepared outside the measurement.",
    `- ${results.engine} ${results.versions["@agoric/xsnap"]}; ${results.compiler}, \`${results.flags}\`; ${results.emulator}; Node ${results.node}.`,
    `- Repeat it with \`npm run bench\`; Debian's packages ${packages
      .split(" ")
      .map((name) => `\`${name}\``)
      .join(", ")} count the instructions.`,
  ].join("\n");
}

const publishNames = {
  request: "`publishBody` and `signRequest`, prepared signer",
  portable: "`Device.publish` with an immediate response",
  default: "the same in the heap that mcconfig gives an app by default",
  native: "the same with a hash at no cost, which leaves the library's part",
  cold: "`createDigest`, `new Device` and the first publish, with such a hash",
};
export const outboxNames = {
  enqueue: "`enqueue` of a reading of 45 bytes, storage in memory",
  open: "opening an outbox with one reading",
  flush: "delivering a reading from the outbox, including its publish",
  wake: "a wake of the deep-sleep example with such a hash: `Device`, a reading stored and delivered",
  single: '`{"temperature":21.5}` delivered with 59 more, one by one',
  batch: "the same in batches of 20, with its time",
  largeBatch: "the same in one batch of 60",
  enqueueSingle: "`enqueue` of `{ temperature: 21.5 }`, stored",
  enqueueDated: "the same with its time, for a batch",
  sentFirst: "the same with `storeAfterMs`: sent and acknowledged, not stored",
};

function publishes({ publish, outbox }) {
  if (publish === undefined) return [];
  const row = (figures, names) => (name) =>
    `| ${names[name]} | ${millions(figures[name]?.xs13)} | ${millions(figures[name]?.xs17)} |`;
  return [
    "| A device, M instructions | XS 13 | XS 17 |",
    "| :-- | --: | --: |",
    ...Object.keys(publishNames).map(row(publish, publishNames)),
    ...Object.keys(outboxNames)
      .filter((name) => outbox[name] !== undefined)
      .map(row(outbox, outboxNames)),
    "",
    `A publish leaves ${plain(publish.garbageBytes?.xs13)} bytes of garbage on XS 13, ${plain(publish.garbageBytes?.xs17)} on XS 17, and uses ${plain(publish.stackBytes)} bytes of stack.`,
    "",
  ];
}

const handshakeNames = {
  full: "full, chain of two certificates with ECDSA on P-256",
  fullRsa: "full, chain of two certificates with RSA-2048",
  resumed: "resumed by a ticket",
};

/** A wake of the example for deep sleep, with all that it does on the way to the acknowledgement. */
function wakes({ outbox, handshake }) {
  const wake = outbox?.wake?.xs17;
  if (wake === undefined || handshake === undefined) return [];
  const { resumed, full } = handshake;
  return [
    `A wake of the example for deep sleep takes ${millions(wake + resumed.total)} M instructions where its TLS session is resumed, ${millions(wake + full.total)} where it`,
    "is not (ECDSA), with the hash of a body and of the text to be signed on top.",
    "",
  ];
}

function handshakes(results) {
  const { handshake } = results;
  if (handshake === undefined) return [];
  const row = (name) => {
    const { total, guard, arithmetic } = handshake[name];
    return `| ${handshakeNames[name]} | ${millions(total)} | ${millions(guard)} | ${millions(guard - arithmetic)} |`;
  };
  return [
    "| A TLS handshake on the SDK, M instructions | total | verification of the server | of that, ours |",
    "| :-- | --: | --: | --: |",
    ...Object.keys(handshakeNames).map(row),
    "",
    ...wakes(results),
  ];
}

function simulator(moddable) {
  if (moddable === undefined) return [];
  const { sdk, hash, rsa } = moddable;
  const row = (name, who, decimals) => `| ${name} | ${plain(hash[who])} | ${plain(rsa[who] / 1000, decimals)} |`;
  return [
    `| On the simulator of Moddable SDK ${sdk} | hash job, µs | RSA-2048, ms |`,
    "| :-- | --: | --: |",
    row("the SDK's native `crypt.Digest` and `pkcs1_5`: the lower bound", "native", 1),
    row("our Moddable host with them, including RSA verification", "host", 1),
    row("our portable core", "core", 1),
    "",
  ];
}

/** A bar chart of instructions, as SVG. */
export async function chart(results) {
  const { parse, View } = await import("vega");
  const values = Object.entries(results.job)
    .filter(([, row]) => row.rv32Instructions !== undefined)
    .sort(byInstructions)
    .map(([name, row]) => ({
      name: name === OURS ? TITLE : row.correct === false ? `${name} (wrong)` : name,
      value: Math.round(row.rv32Instructions / 1e4) / 100,
      color: name === OURS ? "#0969da" : row.correct === false ? "#d9b3b3" : "#b6bec8",
    }));
  const spec = {
    $schema: "https://vega.github.io/schema/vega/v6.json",
    width: 560,
    height: values.length * 24,
    padding: 8,
    background: "white",
    data: [{ name: "rows", values }],
    scales: [
      { name: "y", type: "band", domain: { data: "rows", field: "name" }, range: "height", padding: 0.25 },
      { name: "x", domain: { data: "rows", field: "value" }, range: "width", nice: true, zero: true },
    ],
    axes: [
      { orient: "bottom", scale: "x", title: "M instructions per hash job (RV32IMC, XS)", grid: true },
      { orient: "left", scale: "y", domain: false, ticks: false },
    ],
    marks: [
      {
        type: "rect",
        from: { data: "rows" },
        encode: {
          enter: {
            y: { scale: "y", field: "name" },
            height: { scale: "y", band: 1 },
            x: { scale: "x", value: 0 },
            x2: { scale: "x", field: "value" },
            fill: { field: "color" },
          },
        },
      },
      {
        type: "text",
        from: { data: "rows" },
        encode: {
          enter: {
            y: { scale: "y", field: "name", band: 0.5 },
            x: { scale: "x", field: "value", offset: 4 },
            baseline: { value: "middle" },
            text: { field: "value" },
          },
        },
      },
    ],
  };
  return `${await new View(parse(spec), { renderer: "none" }).toSVG()}\n`;
}

/** What the README says of it. */
export function line({ publish }) {
  const { portable, native } = publish;
  return `A publish takes ${millions(portable.xs13)} million instructions of the set that an ESP32-C3 has, of which ${millions(portable.xs13 - native.xs13)} are the hash, in JavaScript.`;
}

/** Pages with a section that is written from the results. */
export const pages = { "docs/benchmark.md": table, "README.md": line };

export async function writeReport(results) {
  writeFileSync(chartFile, await chart(results));
  for (const [page, write] of Object.entries(pages)) {
    const text = readFileSync(new URL(page, root), "utf8");
    writeFileSync(
      new URL(page, root),
      text.replace(section(text, page), () => `\n${write(results)}\n`),
    );
  }
}

/**
 * Returns the measurements of a text, without its words: the rows of the tables and the numbers between
 * them.
 */
export function figures(text) {
  const lines = text.split("\n");
  const numbers = lines
    .filter((line) => !line.startsWith("|"))
    .flatMap((line) => line.match(/\d+(?:\.\d+)*/g) ?? [])
    .sort();
  return [...lines.filter((line) => /^\|.*\d/.test(line)), numbers.join(" ")].join("\n");
}

/** The words and numbers of a chart, whatever it is drawn with. */
export function labels(svg) {
  return [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map(([, label]) => label).join("\n");
}

/** The section of a page that is written from the results. */
export function section(text, page) {
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${page} has no ${BEGIN} … ${END}`);
  return text.slice(begin + BEGIN.length, end);
}

/** The files that {@link stale} compares, as they are. */
export function readReport() {
  const texts = Object.keys(pages).map((page) => [page, readFileSync(new URL(page, root), "utf8")]);
  return { texts: Object.fromEntries(texts), svg: readFileSync(chartFile, "utf8") };
}

/** Names of the files whose figures are not those of the results. */
export async function stale(results, { texts, svg }) {
  const names = Object.entries(pages)
    .filter(([page, write]) => figures(section(texts[page], page)) !== figures(write(results)))
    .map(([page]) => page);
  if (labels(await chart(results)) !== labels(svg)) names.push("bench/chart.svg");
  return names;
}

const script = fileURLToPath(import.meta.url);
if (process.argv[1] && realpathSync(process.argv[1]) === script) {
  const results = JSON.parse(readFileSync(new URL("results.json", import.meta.url), "utf8"));
  if (!process.argv.includes("--check")) await writeReport(results);
  else {
    const names = await stale(results, readReport());
    if (names.length) console.error(`${names.join(" and ")} do not match bench/results.json.`);
    process.exitCode = names.length ? 1 : 0;
  }
}
