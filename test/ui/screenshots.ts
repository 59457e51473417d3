/** Pictures of the gateway's page, with what two boards may have sent in some minutes. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { type Gateway, startGateway } from "../../tools/gateway/index.js";
import { message, send } from "../support/gateway-client.js";
import { psk } from "../support/keys.js";
import { refuseCertificate } from "../support/refuse-certificate.js";
import { launch } from "./browser.js";
import { withPalette } from "./png.js";

export interface Picture {
  readonly name: string;
  readonly file: string;
  readonly bytes: number;
}

interface Shot {
  readonly name: string;
  readonly theme: "light" | "dark";
  readonly width: number;
  readonly height: number;
  readonly prepare?: (page: Page) => Promise<unknown>;
}

const openFailure = (page: Page) =>
  page.locator('.row[data-kind="failed"]', { hasText: "SignatureFailure" }).first().click();

const shots: readonly Shot[] = [
  { name: "gateway-page", theme: "light", width: 1200, height: 720, prepare: openFailure },
  { name: "dark", theme: "dark", width: 1440, height: 900, prepare: openFailure },
  { name: "list", theme: "light", width: 1100, height: 800 },
  {
    name: "payload",
    theme: "dark",
    width: 1280,
    height: 900,
    prepare: (page) => page.locator('.row[data-kind="accepted"]', { hasText: "t0" }).first().click(),
  },
  { name: "narrow", theme: "light", width: 390, height: 844 },
  { name: "narrow-detail", theme: "dark", width: 390, height: 844, prepare: openFailure },
  {
    name: "narrow-faults",
    theme: "light",
    width: 390,
    height: 844,
    prepare: (page) => page.locator('nav [data-view="faults"]').click(),
  },
  {
    name: "narrow-plots",
    theme: "dark",
    width: 390,
    height: 844,
    prepare: (page) => page.locator('nav [data-view="plots"]').click(),
  },
];

/** @param names of those to take @default all */
export async function takeScreenshots(folder: string, names?: readonly string[]): Promise<Picture[]> {
  mkdirSync(folder, { recursive: true });
  const gateway = await startGateway({
    https: { maxVersion: "TLSv1.2" },
    ui: true,
    devices: {
      products: {
        GREENHOUSE: { devices: { "board-a": { psk }, "board-b": { psk: "c2VjcmV0IG9mIGJvYXJkIGI=" }, spare: { psk } } },
      },
    },
  });
  const browser = await launch();
  try {
    await populate(gateway);
    const pictures: Picture[] = [];
    for (const { name, theme, width, height, prepare } of shots) {
      if (names !== undefined && !names.includes(name)) continue;
      const page = await browser.newPage({ viewport: { width, height }, colorScheme: theme });
      page.setDefaultTimeout(300_000);
      await page.goto(gateway.uiUrl as string);
      await page.locator(".row:not([hidden])").first().waitFor();
      await prepare?.(page);
      await page.locator("#detail").getByText("Loading").waitFor({ state: "hidden" });
      // The lines of the plots come with the next interval.
      if (await page.locator("#plots").isVisible()) await page.locator("canvas").first().waitFor({ state: "attached" });
      const file = join(folder, `${name}.png`);
      const png = withPalette(await page.screenshot({ animations: "disabled" }));
      writeFileSync(file, png);
      pictures.push({ name, file, bytes: png.length });
      await page.close();
    }
    return pictures;
  } finally {
    await browser.close();
    await gateway.close();
  }
}

async function populate(gateway: Gateway): Promise<void> {
  const from = Date.now() - 600_000;
  const wave = (i: number, of: number) => Math.round((Math.sin(i / 9) * of + Math.sin(i / 2) * (of / 8)) * 100) / 100;
  const publish = (deviceName: string, payload: unknown, more: object = {}) => {
    const body = message({
      ProductId: "GREENHOUSE",
      DeviceName: deviceName,
      TopicName: `GREENHOUSE/${deviceName}/data`,
      Payload: typeof payload === "string" ? payload : JSON.stringify(payload),
    });
    const secret = deviceName === "board-b" ? "c2VjcmV0IG9mIGJvYXJkIGI=" : psk;
    return send(gateway, { body, secret, ...more });
  };
  for (let i = 0; i < 40; i++) {
    const time = from + i * 15_000;
    await publish("board-a", {
      time,
      temperature: 21.5 + wave(i, 2),
      humidity: 48 - wave(i + 4, 6),
      battery: 3.92 - i / 400,
    });
  }
  const rows = [...Array(30).keys()];
  await publish("board-b", {
    t0: from,
    dt: rows.map((i) => i * 20_000),
    temperature: rows.map((i) => 19 + wave(i + 12, 1.5)),
    humidity: rows.map((i) => 55 + wave(i, 4)),
  });
  gateway.faults.next({ kind: "status", status: 503, retryAfter: 5 });
  await publish("board-a", { time: from + 600_000, temperature: 21.1 });
  await publish("board-b", { temperature: 19.4 }, { secret: Buffer.from("c2VjcmV0IG9mIGJvYXJkIGI=", "base64") });
  await publish("board-b", "door open");
  await refuseCertificate(gateway.port);
  await publish("board-a", { time: Date.now(), temperature: 21.4, humidity: 47.1, battery: 3.82 });
  gateway.faults.always({ kind: "delay", ms: 300 });
}
