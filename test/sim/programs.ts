/** Runs what users copy, as they build it: the programs of the pages and the examples, with mcconfig and with mcpack. */
import { createHash, createHmac } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Block, blocksOf, codePages, programsFor } from "../../scripts/pages.mjs";
import {
  type Gateway,
  type GatewayOptions,
  makeCertificates,
  startGateway,
  writeModdableFiles,
} from "../../tools/gateway/index.js";
import { build, type Display, Simulator } from "./simulator.js";
import type { Workshop } from "./workshop.js";

const PRODUCT = "G8N9VAAAHB";
const PRODUCT_SECRET = "a-product-secret-of-32-characters";
const PSK = "lDZ6Uqt+I9E0wW7rvDUs7Q==";
const WRONG_PSK = "AAAAAAAAAAAAAAAAAAAAAA==";
const settings = { productId: PRODUCT, deviceName: "sensor-1", psk: PSK };

const BOARD_STACK_SLOTS = 384;

/** The examples trust the root of these where they speak HTTPS. */
const certificates = makeCertificates("chain");

type Settings = Readonly<Record<string, string>>;
type Tool = "mcconfig" | "mcpack";

/** Starts the example with some settings in its preferences. */
type Start = (values: Settings, use: (app: Simulator) => Promise<string>, keep?: boolean) => Promise<string>;
type ExampleRun = (start: Start) => Promise<string>;

export interface ProgramTest {
  readonly name: string;
  /** @returns the outcome in one line; throws if something is wrong */
  run(): Promise<string>;
}

interface Expected {
  readonly page: string;
  readonly section: string;
  readonly line: RegExp;
  /** With a psk or ProductSecret that the gateway does not know. */
  readonly wrong?: RegExp;
  /** Without any setting. */
  readonly missing?: RegExp;
  /** The program trusts `gateway-root.der` alone. */
  readonly certificate?: boolean;
  /** Messages that it publishes. @default 1 */
  readonly publishes?: number;
}

/** What the program on signing prints, by Node's own means. */
const signature = createHmac("sha256", PSK)
  .update("POST\nap-guangzhou.gateway.tencentdevices.com\n/device/publish\n\nhmacsha256\n1735286744\n5456\n")
  .update(createHash("sha256").update('{"Qos":1}').digest("hex"))
  .digest("base64");

/** The programs of the pages for Moddable. */
const expected: readonly Expected[] = [
  {
    page: "README.md",
    section: "Firmware",
    line: /^published, request \S+$/,
    wrong: /^GATEWAY_REJECTED: ./,
    missing: /^INVALID_\w+: ./,
  },
  {
    page: "docs/firmware.md",
    section: "Sign for another HTTP client",
    line: new RegExp(`^${signature.replace(/[+/]/g, "\\$&")}$`),
    publishes: 0,
  },
  {
    page: "docs/health.md",
    section: "Health",
    line: /^1 published, waiting for nothing, may publish: true$/,
    wrong: /^GATEWAY_REJECTED: ./,
    missing: /^INVALID_\w+: ./,
  },
  {
    page: "docs/outbox.md",
    section: "Outbox and batches",
    line: /^1 delivered, 0 remaining$/,
    wrong: /^flush: credential .+, 1 remaining$/,
    missing: /^INVALID_\w+: ./,
  },
  {
    page: "docs/outbox.md",
    section: "Time, batches and flash",
    line: /^3 published, 0 wait$/,
    wrong: /^0 published, 3 wait$/,
    missing: /^INVALID_\w+: ./,
    publishes: 3,
  },
  {
    page: "docs/provisioning.md",
    section: "Provisioning",
    line: /^sensor-1 has a credential, and published with it$/,
    wrong: /^(GATEWAY_REJECTED|WRONG_PRODUCT_SECRET): ./,
    missing: /^(INVALID_\w+|NOT_PROVISIONED): ./,
  },
  {
    page: "docs/tls.md",
    section: "Trust anchors",
    line: /^published, request \S+$/,
    missing: /^INVALID_\w+: ./,
    certificate: true,
  },
  {
    page: "docs/topics.md",
    section: "Formats of the platform",
    line: /^published, the last one to \$ota\/report\/\S+$/,
    wrong: /^GATEWAY_REJECTED: ./,
    missing: /^INVALID_\w+: ./,
    publishes: 5,
  },
];

/** All settings come from the manifest. */
const deskProgram = `
import Resource from "Resource";
import { createHost, Device } from "tencent-iothub-xs";

async function main() {
  const device = new Device({}, createHost({ trustAnchors: new Resource("gateway-root.der") }));
  const { requestId } = await device.publish({ topic: "data", payload: { t: 21.5 } });
  trace(\`published, request \${requestId}\\n\`);
}

main().catch((error) => trace(\`\${error.code}: \${error.message}\\n\`));
`;

/** Builds in one folder for each tool, so that what does not change is compiled once. */
export class Programs {
  readonly #workshop: Workshop;
  readonly #display: Display;
  readonly #output: string;

  constructor(workshop: Workshop, display: Display, output: string) {
    this.#workshop = workshop;
    this.#display = display;
    this.#output = output;
  }

  async tests(): Promise<ProgramTest[]> {
    const blocks = codePages().flatMap(blocksOf);
    const programs = programsFor("moddable");
    const places = (list: readonly Pick<Block, "page" | "section">[]) =>
      list.map(({ page, section }) => `${page}: ${section}`).join(", ");
    const json = (part: string) => {
      const found = blocks.find(({ language, text }) => language === "json" && text.includes(part));
      if (found === undefined) throw new Error(`The pages have no JSON block with ${part}.`);
      return JSON.parse(found.text);
    };
    const manifests = { mcconfig: json('"modules"'), mcpack: json('{ "creation"') };
    const description = json('"exports"');
    const tests: ProgramTest[] = [
      {
        name: "the programs of the pages are those that are tested",
        run: async () => {
          if (places(programs) !== places(expected))
            throw new Error(`${places(programs)}; expected ${places(expected)}`);
          return `${programs.length} programs`;
        },
      },
    ];
    for (const tool of ["mcconfig", "mcpack"] as const) {
      for (const [index, each] of expected.entries()) {
        const program = programs[index];
        tests.push({
          name: `${each.page}, ${each.section}, ${tool}`,
          run: () => this.#program(tool, program.text, each, manifests[tool], description),
        });
      }
    }
    tests.push({
      name: "an app with the manifest that the local gateway writes for a board on the desk, mcconfig",
      run: () => this.#desk(manifests.mcconfig),
    });
    for (const tool of ["mcconfig", "mcpack"] as const) {
      for (const [example, run] of Object.entries(this.#examples)) {
        tests.push({ name: `example ${example}, copied out, ${tool}`, run: () => this.#example(tool, example, run) });
      }
    }
    return tests;
  }

  async #program(tool: Tool, text: string, each: Expected, manifest: object, description: object): Promise<string> {
    const name = tool === "mcpack" ? String((description as { name: string }).name) : "readme";
    const app = join(this.#workshop.folder, "apps", name);
    await mkdir(join(app, "certificates"), { recursive: true });
    // What mcpack reads is JavaScript; mcconfig has the same text type-checked.
    await writeFile(join(app, tool === "mcpack" ? "main.js" : "main.ts"), text);
    if (tool === "mcpack") await writeFile(join(app, "package.json"), JSON.stringify(description));
    await this.#workshop.install(app);
    const gateway = await startHere(each.certificate ? { https: { certificates: "chain" } } : {});
    try {
      if (gateway.certificates) {
        await writeFile(join(app, "certificates/gateway-root.der"), gateway.certificates.rootDer);
      }
      const preferences = await this.#manifest(app, {
        ...manifest,
        // The stack that most boards have unless an app asks for more is enough for HTTPS.
        ...(each.certificate ? { resources: { "*": "./certificates/*" }, creation: { stack: BOARD_STACK_SLOTS } } : {}),
      });
      const library = await build(app, this.#output, name, {
        tool,
        environment: tool === "mcpack" ? { MODDABLE: await this.#workshop.sdk() } : {},
      });
      const seen: string[] = [];
      const starts: [RegExp | undefined, Settings][] = [
        [each.missing, {}],
        [each.wrong, { ...settings, psk: WRONG_PSK, productSecret: `not-${PRODUCT_SECRET}`, url: url(gateway) }],
        [each.line, { ...settings, productSecret: PRODUCT_SECRET, url: url(gateway) }],
      ];
      for (const [line, values] of starts) {
        if (line !== undefined) seen.push(await this.#start(library, preferences, values, (app) => app.line(line)));
      }
      const published = gateway.received.filter(({ accepted, url }) => accepted && url === "/device/publish").length;
      if (published !== (each.publishes ?? 1)) throw new Error(`${published} messages published`);
      return seen.join(" | ");
    } finally {
      await gateway.close();
    }
  }

  /** The gateway is started anew before the app runs: what was built into it must not become void. */
  async #desk(manifest: { readonly include: readonly string[] }): Promise<string> {
    const app = join(this.#workshop.folder, "apps", "desk");
    const state = join(this.#workshop.folder, "desk-state");
    await mkdir(app, { recursive: true });
    await writeFile(join(app, "main.ts"), deskProgram);
    await this.#workshop.install(app);
    const first = await startGateway({ state, https: true });
    const { url, port, certificates, sample } = first;
    writeModdableFiles(join(app, "gateway"), { url, caDer: certificates?.rootDer, sample });
    await first.close();
    const preferences = await this.#manifest(app, {
      ...manifest,
      include: [...manifest.include, "./gateway/manifest.json"],
      config: {},
      creation: { stack: BOARD_STACK_SLOTS },
    });
    const library = await build(app, this.#output, "desk");
    const gateway = await startGateway({ state, port, https: true });
    try {
      const line = await this.#start(library, preferences, {}, (simulator) =>
        simulator.line(/^published, request \S+$/),
      );
      if (gateway.counts.accepted !== 1) throw new Error(`${gateway.counts.accepted} messages accepted`);
      return line;
    } finally {
      await gateway.close();
    }
  }

  async #example(tool: Tool, example: string, run: ExampleRun): Promise<string> {
    const app = await this.#workshop.copyExample(example, join(this.#workshop.folder, `${tool}-examples`));
    await this.#workshop.install(app);
    await mkdir(join(app, "certificates"), { recursive: true });
    await writeFile(join(app, "certificates/gateway-root.der"), certificates.rootDer);
    const preferences = await this.#manifest(app, {
      ...JSON.parse(await readFile(join(app, "manifest.json"), "utf8")),
      resources: { "*": "./certificates/*" },
    });
    const library = await build(app, this.#output, example, {
      tool,
      settings: { intervalSeconds: "1" },
      environment: {
        TENCENT_IOTHUB: "node_modules/tencent-iothub-xs",
        ...(tool === "mcpack" ? { MODDABLE: await this.#workshop.sdk() } : {}),
      },
    });
    return run((values, use, keep) => this.#start(library, preferences, values, use, keep));
  }

  readonly #examples: Readonly<Record<string, ExampleRun>> = {
    async sensor(start) {
      const seen = [await start({}, (app) => app.line(/^INVALID_\w+: .* Check the setting \w+\.$/))];
      const gateway = await startHere();
      try {
        const wrong = { ...settings, psk: WRONG_PSK, url: url(gateway) };
        seen.push(
          await start(wrong, (app) =>
            app.line(/^[0-9]+ readings wait, credential \(GATEWAY_REJECTED: .*\); sent again in/),
          ),
        );
        const good = { ...settings, url: url(gateway) };
        seen.push(await start(good, (app) => app.line(/^reading [0-9]+ delivered$/)));
        const [{ temperature, time }] = JSON.parse(String(gateway.received.find(({ accepted }) => accepted)?.payload));
        if (Math.abs(Date.now() - time) > 600_000) throw new Error(`taken at ${new Date(time).toISOString()}`);
        if (!(temperature >= 20 && temperature <= 25)) throw new Error(`${temperature} °C in a room of 20 to 25`);
        seen.push(`${temperature} °C`);
        await gateway.close();
        seen.push(
          await start(good, (app) => app.line(/^CONNECTION_REFUSED: .+ \(while: connect\); attempt 2 in [0-9.]+ s$/)),
        );
      } finally {
        await gateway.close().catch(() => {});
      }
      return seen.join(" | ");
    },
    async "deep-sleep"(start) {
      const gateway = await startHere({ https: { certificates } });
      try {
        const seen = [await start({}, (app) => app.line(/^INVALID_\w+: .* Check the setting \w+\.$/))];
        const values = { ...settings, url: `https://localhost:${gateway.port}` };
        const sent = /^sent after \d+ ms, acknowledged after \d+ ms, (.*)$/;
        for (const handshake of ["full handshake", "session resumed", "session resumed"]) {
          const use = async (app: Simulator) => {
            await app.line(/^1 delivered, 0 remaining, /);
            return app.line(sent);
          };
          const line = await start(values, use, seen.length > 1);
          if (sent.exec(line)?.[1] !== handshake) throw new Error(`${line}; expected: ${handshake}`);
          seen.push(line);
        }
        return seen.join(" | ");
      } finally {
        await gateway.close();
      }
    },
    async factory(start) {
      const gateway = await startHere();
      try {
        const { psk: _, ...identity } = settings;
        const seen = [
          await start({}, (app) => app.line(/^(INVALID_\w+|NOT_PROVISIONED): .* Check the setting \w+\.$/)),
        ];
        const values = { ...identity, productSecret: PRODUCT_SECRET, url: url(gateway) };
        seen.push(await start(values, (app) => app.line(/^This board works\.$/)));
        return seen.join(" | ");
      } finally {
        await gateway.close();
      }
    },
  };

  /** Writes the app's manifest with a separate preferences file; returns that file's folder. */
  async #manifest(
    app: string,
    manifest: { readonly config?: object; readonly [name: string]: unknown },
  ): Promise<string> {
    const preferences = join(app, "preferences/");
    await mkdir(preferences, { recursive: true });
    const config = { ...manifest.config, file: { root: preferences } };
    await writeFile(join(app, "manifest.json"), JSON.stringify({ ...manifest, config }));
    return preferences;
  }

  /**
   * Starts an app with these settings in its preferences.
   * @param keep whether they have what the start before has left, too
   */
  async #start(
    library: string,
    preferences: string,
    values: Settings,
    use: (app: Simulator) => Promise<string>,
    keep = false,
  ): Promise<string> {
    const file = join(preferences, "modpreferences.json");
    const left = keep ? JSON.parse(await readFile(file, "utf8")) : {};
    await writeFile(file, JSON.stringify({ ...left, "tencent-iothub": values }));
    const simulator = new Simulator(library, this.#display);
    try {
      const line = await use(simulator);
      const abort = simulator.lines.find((line) => line.includes("XS abort"));
      if (abort !== undefined) throw new Error(abort);
      return line;
    } finally {
      await simulator.close();
    }
  }
}

const startHere = (options: GatewayOptions = {}) =>
  startGateway({
    devices: {
      products: { [PRODUCT]: { productSecret: PRODUCT_SECRET, devices: { "sensor-1": { psk: PSK } } } },
    },
    ...options,
  });

/** Certificates of the gateway name the host, not its address. */
function url(gateway: Gateway): string {
  return gateway.certificates ? gateway.url.replace("127.0.0.1", "localhost") : gateway.url;
}
