import { mkdtempSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import type { GatewayEvent, GatewayListener } from "../../tools/gateway/events.js";
import { type Gateway, type GatewayOptions, type ReceivedRequest, startGateway } from "../../tools/gateway/index.js";
import { startUi } from "../../tools/ui/index.js";
import { cleanups } from "../support/cleanups.js";
import { message, send } from "../support/gateway-client.js";
import { psk } from "../support/keys.js";
import { refuseCertificate } from "../support/refuse-certificate.js";
import { chromiumPath, launch } from "./browser.js";
import { takeScreenshots } from "./screenshots.js";

const devices = { products: { P1: { devices: { dev1: { psk }, dev2: { psk } } } } };
const MS = 1_796_000_000_000;

let browser: Browser;
beforeAll(async () => {
  if (chromiumPath !== undefined) browser = await launch();
  else console.log("skipped: there is no Chromium here (Debian's package chromium, or CHROMIUM with its path)");
});
afterAll(() => browser?.close());

const inBrowser = chromiumPath === undefined ? test.skip : test;

async function start(options: GatewayOptions = {}): Promise<Gateway> {
  const gateway = await startGateway({ devices, ui: true, ...options });
  cleanups.push(() => gateway.close());
  return gateway;
}

interface Opened {
  readonly page: Page;
  readonly context: BrowserContext;
  /** What the console said, what was thrown, and what the policy forbade. */
  readonly complaints: string[];
  /** Every URL that was asked for. */
  readonly urls: string[];
}

async function open(url: string, options: BrowserContextOptions = {}): Promise<Opened> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  cleanups.push(() => context.close());
  // Only what never happens is to fail by it.
  context.setDefaultTimeout(300_000);
  const page = await context.newPage();
  const complaints: string[] = [];
  const urls: string[] = [];
  page.on("console", (said) => {
    if (said.type() === "error" || said.type() === "warning") complaints.push(said.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => urls.push(request.url()));
  await page.goto(url);
  return { page, context, complaints, urls };
}

/** A line as `--record` writes it. */
function recordLine(event: GatewayEvent): string {
  if (event.type !== "request") return JSON.stringify(event);
  const { body, payload, ...rest } = event.request;
  const bytes = { bodyBase64: body.toString("base64"), payloadBase64: payload?.toString("base64") };
  return JSON.stringify({ type: "request", request: { ...rest, ...bytes } });
}

const shown = (page: Page) => page.locator(".row:not([hidden])");
const pageOf = (gateway: Gateway) => gateway.uiUrl as string;
const publish = (gateway: Gateway, payload: unknown, deviceName = "dev1", more: object = {}) =>
  send(gateway, {
    body: message({
      DeviceName: deviceName,
      TopicName: `P1/${deviceName}/data`,
      Payload: typeof payload === "string" ? payload : JSON.stringify(payload),
    }),
    ...more,
  });

describe("page of the gateway", () => {
  inBrowser("shows messages, devices and counts as they come", async () => {
    const gateway = await start();
    await publish(gateway, "before it was opened");
    const { page, complaints, urls } = await open(pageOf(gateway));
    await shown(page).getByText("before it was opened").waitFor();
    await page.locator("#live").getByText("live", { exact: true }).waitFor();
    await page.locator("button.device", { hasText: "dev2" }).getByText("never seen").waitFor();
    await publish(gateway, { temperature: 21.5 }, "dev2");
    await shown(page).first().getByText('{"temperature":21.5}').waitFor();
    await page
      .locator(".device", { hasText: "dev2" })
      .getByText(/now|s ago/)
      .waitFor();
    await page.locator('[data-name="accepted"]').getByText("2").waitFor();
    // Only what it needs, and only from there.
    expect(urls.filter((url) => !url.startsWith(pageOf(gateway)))).toEqual([]);
    expect(urls.length).toBeLessThan(25);
    expect(complaints).toEqual([]);
  });

  inBrowser("shows a payload broken over lines, headers and body", async () => {
    const gateway = await start();
    await publish(gateway, '{"big":12345678901234567890,"list":[1,2]}');
    const { page } = await open(pageOf(gateway));
    await shown(page).first().click();
    const detail = page.locator("#detail");
    await detail.getByText("x-tc-signature").waitFor();
    expect(await detail.locator("pre").first().textContent()).toBe(
      '{\n  "big": 12345678901234567890,\n  "list": [1, 2]\n}',
    );
    expect(await detail.textContent()).toContain("verified by psk");
    gateway.clearReceived();
    await publish(gateway, "x");
    await page.keyboard.press("Escape");
    await shown(page).nth(1).click();
    await detail.getByText("no longer has").waitFor();
  });

  inBrowser("plots numbers over the reading's own time, batches included", async () => {
    const gateway = await start();
    await publish(gateway, { t0: MS, dt: [0, 60_000, 120_000], temperature: [20, 21, 22] });
    await publish(
      gateway,
      [
        { time: MS + 30_000, temperature: 18.5 },
        { time: MS + 90_000, temperature: 19 },
      ],
      "dev2",
    );
    const { page, complaints } = await open(pageOf(gateway), { timezoneId: "UTC" });
    const plot = page.locator(".plot").first();
    const canvas = plot.locator("[role=img]");
    await canvas.and(page.locator('[aria-label^="temperature, 5 times"]')).waitFor();
    expect(await canvas.getAttribute("aria-label")).toBe(
      "temperature, 5 times. P1/dev1: latest 22, from 20 to 22; P1/dev2: latest 19, from 18.5 to 19",
    );
    const colors = () =>
      plot.locator("canvas").evaluate((element: unknown) => {
        // biome-ignore lint/suspicious/noExplicitAny: it runs in the browser, whose types are not those of this file
        const { width, height } = element as any;
        // biome-ignore lint/suspicious/noExplicitAny: as above
        const { data } = (element as any).getContext("2d").getImageData(0, 0, width, height);
        const found = new Set<string>();
        for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) found.add(data.slice(i, i + 3).join());
        return [...found];
      });
    // The first two colors of the lines.
    expect(await colors()).toEqual(expect.arrayContaining(["11,87,208", "194,65,12"]));
    await plot.locator(".u-over").hover({ position: { x: 2, y: 20 } });
    await plot.locator("time").filter({ hasText: /./ }).waitFor();
    const day = new Date(MS).toISOString().slice(0, 10);
    expect(await plot.locator("time").textContent()).toContain(
      `${day} ${new Date(MS).toISOString().slice(11, 19)}.000`,
    );
    await publish(gateway, { time: MS + 180_000, temperature: 30 });
    await page.locator('[aria-label*="latest 30"]').waitFor();
    // A plot that is off comes back when it is chosen.
    await page.getByRole("button", { name: "temperature" }).click();
    await plot.waitFor({ state: "detached" });
    await page.getByRole("button", { name: "temperature" }).click();
    await canvas.waitFor();
    await page.locator("#plot-axis").selectOption("received");
    await page.locator('[aria-label^="temperature, 3 times"]').waitFor();
    expect(complaints).toEqual([]);
  });

  inBrowser("plots what is awkward: one point, a constant, huge and tiny numbers, a clock of 1970", async () => {
    const gateway = await start();
    const { page, complaints } = await open(pageOf(gateway));
    await publish(gateway, { one: 1 });
    for (let i = 0; i < 5; i++) {
      await publish(gateway, { time: i * 1000, constant: 7, huge: 1e308 * (i % 2), tiny: 1e-300 * i, negative: -i });
    }
    await page.locator('[aria-label^="negative, 5 times"]').waitFor();
    await page.locator("#plot-note").getByText("time of receipt").waitFor();
    expect(await page.locator(".plot canvas").count()).toBe(6);
    expect(complaints).toEqual([]);
  });

  inBrowser("keeps the range that was dragged, until a double click", async () => {
    const gateway = await start();
    for (let i = 0; i < 20; i++) await publish(gateway, { time: MS + i * 60_000, t: i });
    const { page } = await open(pageOf(gateway));
    const over = page.locator(".plot .u-over").first();
    await over.waitFor();
    const box = (await over.boundingBox()) as { x: number; y: number; width: number };
    await page.mouse.move(box.x + 10, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width / 4, box.y + 20, { steps: 4 });
    await page.mouse.up();
    /** The time under the pointer at the right edge. */
    const rightEdge = async () => {
      await page.mouse.move(box.x + box.width - 2, box.y + 30);
      return page.locator(".plot time").first().textContent();
    };
    const zoomed = await rightEdge();
    await publish(gateway, { time: MS + 3_600_000, t: 5 });
    await page.locator('[aria-label^="t, 21 times"]').waitFor();
    expect(await rightEdge()).toBe(zoomed);
    await page.mouse.dblclick(box.x + 50, box.y + 30);
    expect(await rightEdge()).not.toBe(zoomed);
  });

  inBrowser("switches faults while a board runs, and shows those that others switch", async () => {
    const gateway = await start();
    const { page } = await open(pageOf(gateway));
    const banner = page.locator("#banner");
    await page.getByLabel("Status", { exact: true }).selectOption("429");
    await banner.getByText("Faults are on: status 429").waitFor();
    expect(gateway.faults.permanent).toEqual({ kind: "status", status: 429 });
    expect(await publish(gateway, "x")).toMatchObject({ status: 429 });
    await shown(page).getByText("429 fault status 429").waitFor();
    await page.locator("#fault-delay").check();
    await banner.getByText("delay 500 ms").waitFor();
    await page.locator("#fault-skew").check();
    await banner.getByText("clock 1 h ahead").waitFor();
    expect(gateway.clockSkewSeconds).toBe(3600);
    await page.locator("#fault-offline").check();
    await banner.getByText("offline: connections are reset").waitFor();
    await expect(publish(gateway, "x")).rejects.toMatchObject({ code: "ECONNRESET" });
    await page.locator("#fault-drop").check();
    await banner.getByText("reset headers").waitFor();
    // By key, and then by the gateway's own interface.
    await page.locator("#list").or(page.locator("body")).first().press("0");
    await banner.waitFor({ state: "hidden" });
    expect(await publish(gateway, "x")).toMatchObject({ status: 200 });
    gateway.faults.always({ kind: "hang", phase: "body" });
    await banner.getByText("hang body").waitFor();
    expect(await page.locator("#fault-drop").isChecked()).toBe(true);
    gateway.faults.always({ kind: "slow-drip", bytes: 2 });
    await banner.getByText("slow-drip 2").waitFor();
    expect(await page.getByLabel("Another fault").inputValue()).toBe('{"kind":"slow-drip","bytes":2}');
  });

  inBrowser("injects a fault into the next request alone, and explains what is not known", async () => {
    const gateway = await start();
    const { page } = await open(pageOf(gateway));
    await page.getByLabel("For which requests").selectOption("the next request");
    await page.locator("#fault-status").check();
    expect(gateway.faults.permanent).toBeUndefined();
    await page.getByRole("button", { name: "Inject" }).click();
    await page.locator("#fault-form").getByText("1 queued").waitFor();
    expect([await publish(gateway, "a"), await publish(gateway, "b")].map(({ status }) => status)).toEqual([503, 200]);
    await page.getByLabel("For which requests").selectOption("every request");
    await page.getByLabel("Another fault").fill("nonsense");
    await page.getByLabel("Another fault").press("Enter");
    await page.locator("#fault-form [role=alert]").getByText('Unknown fault "nonsense"').waitFor();
    expect(await page.getByLabel("Another fault").inputValue()).toBe("nonsense");
  });

  inBrowser("explains a wrong signature with the eight fields and how to mend it", async () => {
    const gateway = await start();
    await publish(gateway, "x", "dev1", { signed: { host: "127.0.0.1:443" } });
    await publish(gateway, "x", "dev1", { secret: "another key" });
    const { page } = await open(pageOf(gateway));
    await shown(page).nth(1).click();
    const detail = page.locator("#detail");
    await detail.locator(".differs").waitFor();
    expect(await detail.locator(".fields tbody tr").count()).toBe(8);
    expect(await detail.locator(".differs").allTextContents()).toEqual(["2 host127.0.0.1127.0.0.1:443"]);
    expect(await detail.locator(".mend").allTextContents()).toEqual([expect.stringMatching(/^→ .*port/)]);
    await shown(page).first().click();
    await detail.getByText(/\d+ mistakes are ruled out/).waitFor();
    expect(await detail.locator(".differs").count()).toBe(0);
  });

  inBrowser("shows TLS failures and dropped connections with their reason", async () => {
    const gateway = await start({ https: { maxVersion: "TLSv1.2" } });
    const { page } = await open(pageOf(gateway));
    await refuseCertificate(gateway.port);
    await shown(page).getByText("client refused the certificate: unknown_ca").click();
    await page.locator("#detail").getByText("trust anchor").waitFor();
    gateway.faults.next({ kind: "reset", phase: "connect" });
    await expect(publish(gateway, "x")).rejects.toThrow();
    await shown(page).getByText("connection dropped").waitFor();
    await page.getByRole("button", { name: "Failures" }).click();
    await publish(gateway, "x");
    await page.locator('[data-name="requests"]').getByText("1").waitFor();
    expect(await shown(page).count()).toBe(2);
  });

  inBrowser("copies a request as curl, as a test, and as sign --curl", async () => {
    const gateway = await start();
    await publish(gateway, "it's");
    const { page } = await open(pageOf(gateway), { permissions: ["clipboard-read", "clipboard-write"] });
    await shown(page).first().click();
    await page.locator("#detail").getByText("refuses it as a replay").waitFor();
    const copied = async (name: string) => {
      await page.locator(".copies").getByRole("button", { name, exact: true }).click();
      await page.locator("#toast").getByText(`Copied: ${name}.`).waitFor();
      return page.evaluate("navigator.clipboard.readText()");
    };
    expect(await copied("curl")).toMatch(/^tr -d '\\n' <<'BODY' \| curl -sS .*x-tc-signature/s);
    expect(await copied("sign --curl")).toContain("tencent-iothub sign");
    expect(await copied("test")).toContain('import { startGateway } from "tencent-iothub-cli/gateway";');
    expect(await copied("payload")).toBe("it's");
  });

  inBrowser("filters by words, kind and device", async () => {
    const gateway = await start();
    await publish(gateway, "alpha one");
    await publish(gateway, "beta one", "dev2");
    await publish(gateway, "alpha two", "dev2");
    await publish(gateway, "alpha", "dev1", { secret: "another" });
    const { page } = await open(pageOf(gateway));
    const texts = () => shown(page).locator(".text").allTextContents();
    await page.locator("#shown").getByText("4", { exact: true }).waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("ALPHA one");
    await page.locator("#shown").getByText("1 of 4").waitFor();
    expect(await texts()).toEqual(["alpha one"]);
    await page.keyboard.press("Escape");
    await page.locator("#shown").getByText("4", { exact: true }).waitFor();
    await page.locator("button.device", { hasText: "dev2" }).click();
    await page.locator("#shown").getByText("2 of 4").waitFor();
    expect(await texts()).toEqual(["alpha two", "beta one"]);
    await page.getByRole("button", { name: "P1/dev2 ✕" }).click();
    await page.getByRole("button", { name: "Failures" }).click();
    await page.locator("#shown").getByText("1 of 4").waitFor();
  });

  inBrowser("is used by keyboard alone", async () => {
    const gateway = await start();
    for (const payload of ["first", "second", "third"]) await publish(gateway, payload);
    const { page } = await open(pageOf(gateway));
    await shown(page).nth(2).waitFor();
    const selected = () => page.locator('.row[aria-selected="true"] .text').textContent();
    await page.keyboard.press("j");
    expect(await selected()).toBe("third");
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    expect(await selected()).toBe("first");
    await page.keyboard.press("k");
    expect(await selected()).toBe("second");
    await page.locator("#list").focus();
    await page.keyboard.press("Home");
    expect(await selected()).toBe("third");
    const active = await page.locator("#list").getAttribute("aria-activedescendant");
    expect(await page.locator(`#${active}`).getAttribute("aria-posinset")).toBe("1");
    await page.keyboard.press("Enter");
    expect(await page.evaluate("document.activeElement.id")).toBe("detail");
    await page.keyboard.press("Escape");
    expect(await page.locator("#detail").isHidden()).toBe(true);
    expect(await page.evaluate("document.activeElement.id")).toBe("list");
    await page.keyboard.press("p");
    await publish(gateway, "held");
    await page.locator("#shown").getByText("1 held").waitFor();
    expect(await shown(page).getByText("held").count()).toBe(0);
    await page.keyboard.press("p");
    await shown(page).getByText("held").waitFor();
    await page.keyboard.press("?");
    await page.locator("#keys").waitFor();
    await page.keyboard.press("Escape");
    await page.keyboard.press("f");
    expect(await page.evaluate("document.activeElement.id")).toBe("fault-none");
  });

  inBrowser("never runs or builds anything of what it shows", async () => {
    const gateway = await start();
    const evil = '<img src=x onerror=hacked=1><script>hacked=1</script>"><svg onload=hacked=1>';
    await publish(gateway, evil);
    await publish(gateway, { [evil]: 1, __proto__x: evil, constructor: { prototype: 2 } });
    await publish(gateway, { "javascript:hacked=1": evil, "\u202e": "\u0000\u001b[31m" });
    await send(gateway, { body: message({ DeviceName: evil, TopicName: evil }) });
    await send(gateway, { headers: { "user-agent": evil, "x-tc-nonce": evil } });
    await send(gateway, { path: `/${encodeURI("x")}?<script>hacked=1</script>'"` });
    gateway.faults.next({ kind: "error", code: evil, message: evil });
    await publish(gateway, "x");
    const { page, complaints } = await open(pageOf(gateway));
    await shown(page).nth(6).waitFor();
    const count = await shown(page).count();
    for (let i = 0; i < count; i++) {
      await shown(page).nth(i).click();
      await page.locator("#detail .rest dl").or(page.locator("#detail .rest p")).first().waitFor();
      await page.locator("#detail").getByText("Loading").waitFor({ state: "hidden" });
    }
    expect(
      await page
        .locator("#detail, #list, #plots")
        .locator("img, script, svg, iframe, object, style, [onerror], [onload]")
        .count(),
    ).toBe(0);
    expect(await page.evaluate("typeof hacked")).toBe("undefined");
    expect(await shown(page).getByText(evil).count()).toBeGreaterThan(0);
    expect(await page.locator(".plot figcaption b").first().textContent()).toBe(evil);
    expect(complaints).toEqual([]);
  });

  inBrowser("has a policy under which nothing foreign runs, even if it came into the document", async () => {
    const gateway = await start();
    const { page } = await open(pageOf(gateway));
    const attempts: Record<string, string> = {
      "text as HTML": "document.body.innerHTML = '<p>x</p>'; 'done'",
      "a script's text":
        "const s = document.createElement('script'); s.textContent = 'hacked = 1'; document.body.append(s); 'done'",
      "text for a timer": "setTimeout('hacked = 1'); 'done'",
    };
    for (const [name, code] of Object.entries(attempts)) {
      const outcome = await page.evaluate(code).catch((error) => String(error));
      expect([name, outcome]).toEqual([name, expect.stringMatching(/TrustedHTML|TrustedScript|unsafe-eval|EvalError/)]);
    }
    expect(await page.evaluate("typeof hacked")).toBe("undefined");
    const loads =
      "new Promise((r) => { const i = new Image(); i.onload = () => r('loaded'); i.onerror = () => r('blocked'); i.src = 'data:image/gif;base64,R0lGODlhAQABAAAAACw='; })";
    expect(await page.evaluate(loads)).toBe("blocked");
  });

  inBrowser("holds ten thousand messages with few elements", async () => {
    const gateway = await start({ ui: false });
    let tell: GatewayListener = () => {};
    const subscribed = new Proxy(gateway, {
      get: (target, name) =>
        name === "subscribe"
          ? (listener: GatewayListener) => {
              tell = listener;
              return () => {};
            }
          : Reflect.get(target, name, target),
    });
    const ui = await startUi(subscribed);
    cleanups.push(() => ui.close());
    const { page, complaints } = await open(ui.url);
    await page.locator("#live").getByText("live", { exact: true }).waitFor();
    const elements = () => page.evaluate<number>("document.querySelectorAll('*').length");
    const one = (index: number): ReceivedRequest => ({
      index,
      receivedAtMs: MS,
      connection: { id: 1, remoteAddress: "127.0.0.1" },
      method: "POST",
      url: "/device/publish",
      headers: {},
      body: Buffer.alloc(0),
      productId: "P1",
      deviceName: "dev1",
      topic: "P1/dev1/data",
      payload: Buffer.from(`{"time":${MS + index * 1000},"n":${index}}`),
      accepted: true,
      status: 200,
      durationMs: 1,
    });
    for (let index = 1; index <= 100; index++) tell({ type: "request", request: one(index) });
    await page.locator('[aria-label^="n, 100 times"]').waitFor();
    const few = await elements();
    for (let index = 101; index <= 12_000; index++) tell({ type: "request", request: one(index) });
    await shown(page).first().getByText('"n":12000').waitFor();
    await page.locator("#shown").getByText("10000", { exact: true }).waitFor();
    expect(await elements()).toBeLessThanOrEqual(few + 5);
    expect(few).toBeLessThan(600);
    // The list scrolls, the page does not.
    const pageHeight = await page.evaluate<number>("document.documentElement.scrollHeight");
    expect(pageHeight).toBe(page.viewportSize()?.height);
    await page.locator("#list").focus();
    await page.keyboard.press("End");
    await shown(page).getByText('"n":2001}').waitFor();
    // What is being read stays where it is while more comes.
    await page.locator("#list").evaluate((list) => list.scrollBy(0, -500));
    const before = await page.locator("#list").evaluate((list) => list.scrollTop);
    for (let index = 12_001; index <= 12_010; index++) tell({ type: "request", request: one(index) });
    const scrollTop = () => page.locator("#list").evaluate((list) => list.scrollTop);
    while ((await scrollTop()) === before) await page.waitForTimeout(20);
    expect(await shown(page).locator('.text:text-is(\'{"time":1796002011000,"n":2011}\')').count()).toBe(1);
    // The details of the last one have come.
    expect(await elements()).toBeLessThan(600);
    expect(await page.locator(".row").count()).toBeLessThan(80);
    // The requests were never received, so none has a detail.
    expect(complaints.filter((text) => !text.includes("404"))).toEqual([]);
  });

  inBrowser("shows a recording instead of what comes, and goes back", async () => {
    const gateway = await start();
    await publish(gateway, "live before");
    const { page, complaints } = await open(pageOf(gateway));
    await shown(page).getByText("live before").waitFor();
    const other = await start({ ui: false });
    const lines = ['{"recording":1}'];
    other.subscribe((event) => lines.push(recordLine(event)));
    await publish(other, { time: MS, temperature: 21.5 });
    await publish(other, Buffer.from([0, 255]).toString("base64"));
    await publish(other, "wrong", "dev2", { signed: { host: "127.0.0.1:443" } });
    lines.push("cut o", '{"type":"request","request":{"method":1}}', '{"type":"request","request":null}', "[]");
    const choose = (name: string, text: string) =>
      page.locator("#file").setInputFiles({ name, mimeType: "application/json", buffer: Buffer.from(text) });
    await choose("other.txt", "nothing of the kind");
    await page.locator("#toast").getByText("not a recording").waitFor();
    await choose("board.jsonl", lines.join("\n"));
    await page.locator("#recorded").getByText("Recording board.jsonl: 3 events, 4 other lines left out").waitFor();
    await publish(gateway, "live meanwhile");
    await page.locator('[data-name="requests"]').getByText("2").waitFor();
    expect(await shown(page).count()).toBe(3);
    await shown(page).first().click();
    await page.locator("#detail .differs").waitFor();
    await page.locator("#detail").getByText("x-tc-signature").waitFor();
    await page.locator('[aria-label^="temperature, 1 times"]').waitFor();
    await page.getByRole("button", { name: "Back to live" }).click();
    await shown(page).getByText("live meanwhile").waitFor();
    expect(await shown(page).locator(".text").allTextContents()).toEqual(["live meanwhile", "live before"]);
    expect(complaints).toEqual([]);
  });

  inBrowser("says when the gateway is gone, and starts over with the next one", async () => {
    const first = await start();
    await publish(first, "of the first");
    const port = Number(new URL(pageOf(first)).port);
    const { page } = await open(pageOf(first));
    await shown(page).getByText("of the first").waitFor();
    await first.close();
    await page.locator("#live").getByText("not connected").waitFor();
    expect(await shown(page).getByText("of the first").count()).toBe(1);
    const second = await start({ ui: { port } });
    await publish(second, "of the second");
    await shown(page).getByText("of the second").waitFor();
    expect(await shown(page).count()).toBe(1);
    expect(await page.locator("#url").textContent()).toBe(second.url);
  });

  inBrowser("holds no connection while it is hidden, and misses nothing", async () => {
    const gateway = await start();
    const { page } = await open(pageOf(gateway));
    await page.locator("#live").getByText("live", { exact: true }).waitFor();
    await publish(gateway, "seen");
    await shown(page).getByText("seen").waitFor();
    const closed = page.waitForEvent("requestfailed", (request) => request.url().includes("/_/events"));
    const setVisibility = (state: string) =>
      page.evaluate(
        `Object.defineProperty(document, "visibilityState", { value: "${state}", configurable: true }); document.dispatchEvent(new Event("visibilitychange"));`,
      );
    await setVisibility("hidden");
    await closed;
    await publish(gateway, "missed");
    const again = page.waitForRequest((request) => request.url().includes("/_/events?after="));
    await setVisibility("visible");
    await again;
    await shown(page).getByText("missed").waitFor();
    expect(await shown(page).getByText("seen").count()).toBe(1);
  });

  inBrowser("fits a narrow screen, one view at a time", async () => {
    const gateway = await start();
    await publish(gateway, { temperature: 21.5, text: "x".repeat(500) });
    await publish(gateway, "x", "dev1", { secret: "another" });
    const { page } = await open(pageOf(gateway), { viewport: { width: 340, height: 640 } });
    await shown(page).first().waitFor();
    const overflow = () => page.evaluate<number>("document.documentElement.scrollWidth - innerWidth");
    expect(await overflow()).toBeLessThanOrEqual(0);
    for (const view of ["Plots", "Devices", "Faults", "Messages"]) {
      await page.locator("nav").getByRole("button", { name: view }).click();
      expect(await page.locator("main > section:visible").count()).toBe(1);
      expect([view, await overflow()]).toEqual([view, expect.any(Number)]);
      expect(await overflow()).toBeLessThanOrEqual(0);
    }
    await shown(page).first().click();
    await page.locator("#detail").getByText("SignatureFailure").first().waitFor();
    expect(await overflow()).toBeLessThanOrEqual(0);
    await page.getByRole("button", { name: "Close (Esc)" }).click();
    await page.locator("nav").getByRole("button", { name: "Plots" }).click();
    await page.locator(".plot canvas").waitFor();
  });

  inBrowser("has enough contrast in both themes, which can be chosen", async () => {
    const gateway = await start();
    for (const colorScheme of ["light", "dark"] as const) {
      const { page } = await open(pageOf(gateway), { colorScheme });
      expect([colorScheme, await lowContrast(page)]).toEqual([colorScheme, []]);
      await page.locator("#theme").click();
      if (colorScheme === "light") await page.locator("#theme").click();
      await page.reload();
      const chosen = colorScheme === "light" ? "dark" : "light";
      expect(await page.evaluate("document.documentElement.dataset.theme")).toBe(chosen);
      expect([chosen, await lowContrast(page)]).toEqual([chosen, []]);
    }
  });

  inBrowser("has pictures in both themes", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tencent-iothub-page-"));
    const pictures = await takeScreenshots(folder, ["gateway-page", "dark", "narrow"]);
    console.log(`Pictures of the page: ${folder}`);
    expect(pictures.map(({ name }) => name)).toEqual(["gateway-page", "dark", "narrow"]);
    for (const { bytes } of pictures) expect(bytes).toBeGreaterThan(10_000);
  });
});

test("the picture in the README is small", () => {
  const file = fileURLToPath(new URL("../../docs/images/gateway-page.png", import.meta.url));
  expect(statSync(file).size).toBeLessThan(150_000);
});

/** Pairs of colors with a contrast of less than 4.5 (WCAG 2.2, 1.4.3). */
function lowContrast(page: Page): Promise<string[]> {
  return page.evaluate(`(() => {
    const style = getComputedStyle(document.documentElement);
    const luminance = (name) => {
      const hex = style.getPropertyValue(name).trim().slice(1);
      const [r, g, b] = [0, 2, 4].map((at) => {
        const value = parseInt(hex.slice(at, at + 2), 16) / 255;
        return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const pairs = [
      ...["--text", "--dim", "--good", "--bad", "--warn", "--accent", "--string", "--number", "--name"].flatMap((text) =>
        ["--panel", "--page"].map((ground) => [text, ground])),
      ...["--text", "--dim", "--good", "--bad"].flatMap((text) => ["--hover", "--selected"].map((ground) => [text, ground])),
      ["--bad", "--bad-panel"], ["--text", "--bad-panel"], ["--good", "--bad-panel"], ["--warn", "--warn-panel"],
      ["--accent-text", "--accent"],
    ];
    return pairs.filter(([text, ground]) => {
      const [a, b] = [luminance(text), luminance(ground)].sort((x, y) => y - x);
      return !((a + 0.05) / (b + 0.05) >= 4.5);
    }).map((pair) => pair.join(" on "));
  })()`);
}

describe("a foreign page in the same browser", () => {
  /** A web server with one page, at any name: the browser resolves them all to this machine. */
  async function website(html: string): Promise<number> {
    const server = createServer((_request, response) => {
      response.setHeader("content-type", "text/html");
      response.end(html);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    cleanups.push(() => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    });
    return (server.address() as AddressInfo).port;
  }

  /** Everything that a page can try, each with what came of it. */
  const attack = (target: string) => `(async () => {
    const change = JSON.stringify({ always: "status:503", clockSkewSeconds: 9, offline: "reset" });
    const url = ${JSON.stringify(target)} + "_/faults";
    const results = {};
    const attempt = async (name, action) => {
      try { results[name] = await action(); } catch (error) { results[name] = "refused"; }
    };
    const read = async (response) => response.type === "opaque" ? "opaque" : "read: " + (await response.text()).slice(0, 40);
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
      await attempt("simple POST " + type, async () =>
        read(await fetch(url, { method: "POST", mode: "no-cors", headers: { "content-type": type }, body: change })));
    }
    await attempt("JSON POST", async () =>
      read(await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: change })));
    await attempt("JSON POST with credentials", async () =>
      read(await fetch(url, { method: "POST", credentials: "include", headers: { "content-type": "application/json" }, body: change })));
    await attempt("POST without a type", async () =>
      read(await fetch(url, { method: "POST", mode: "no-cors", body: new Blob([change]) })));
    await attempt("beacon", async () => String(navigator.sendBeacon(url, new Blob([change], { type: "text/plain" }))));
    await attempt("reading requests", async () => read(await fetch(${JSON.stringify(target)} + "_/requests")));
    await attempt("reading requests blindly", async () =>
      read(await fetch(${JSON.stringify(target)} + "_/requests", { mode: "no-cors" })));
    const element = (name, tag, properties) => attempt(name, () => new Promise((resolve) => {
      const made = document.createElement(tag);
      made.onload = () => resolve("loaded");
      made.onerror = () => resolve("refused");
      Object.assign(made, properties);
      document.body.append(made);
    }));
    await element("script", "script", { src: ${JSON.stringify(target)} + "app.js" });
    await element("script of the API", "script", { src: ${JSON.stringify(target)} + "_/requests" });
    await element("style", "link", { rel: "stylesheet", href: ${JSON.stringify(target)} + "style.css" });
    await element("image", "img", { src: ${JSON.stringify(target)} + "icon.svg" });
    await attempt("stream", () => new Promise((resolve) => {
      const source = new EventSource(${JSON.stringify(target)} + "_/events");
      source.onopen = () => resolve("opened");
      source.onmessage = () => resolve("read");
      source.onerror = () => { source.close(); resolve("refused"); };
    }));
    await attempt("frame", () => new Promise((resolve) => {
      const frame = document.createElement("iframe");
      frame.onload = () => {
        let seen = "refused";
        try { if (frame.contentDocument.body.textContent.includes("Gateway")) seen = "read"; } catch {}
        resolve(seen);
      };
      frame.src = ${JSON.stringify(target)};
      document.body.append(frame);
    }));
    await attempt("form", () => new Promise((resolve) => {
      const frame = document.createElement("iframe");
      frame.name = "sink";
      document.body.append(frame);
      const form = document.createElement("form");
      Object.assign(form, { method: "POST", action: url, enctype: "text/plain", target: "sink" });
      const field = document.createElement("input");
      Object.assign(field, { name: '{"always":"status:503","x":"', value: '"}' });
      form.append(field);
      document.body.append(form);
      frame.onload = () => resolve("sent");
      form.submit();
    }));
    return results;
  })()`;

  const outcomes = {
    "JSON POST": "refused",
    "JSON POST with credentials": "refused",
    "reading requests": "refused",
    script: "refused",
    "script of the API": "refused",
    style: "refused",
    image: "refused",
    stream: "refused",
    frame: "refused",
  };

  inBrowser.each(["evil.example", "127.0.0.1", "localhost"])("at %s changes and reads nothing", async (host) => {
    const gateway = await start();
    await publish(gateway, "a secret reading");
    const port = await website("<!doctype html><title>evil</title><body>");
    const { page } = await open(`http://${host}:${port}/`);
    const results = (await page.evaluate(attack(pageOf(gateway)))) as Record<string, string>;
    expect(results).toMatchObject(outcomes);
    expect(Object.values(results).filter((result) => result.startsWith("read"))).toEqual([]);
    expect({
      always: gateway.faults.permanent,
      offline: gateway.offline,
      skew: gateway.clockSkewSeconds,
      pending: gateway.faults.pending,
    }).toEqual({ always: undefined, offline: false, skew: 0, pending: 0 });
  });

  inBrowser("whose name was rebound to this machine is refused by its Host header", async () => {
    const gateway = await start();
    await publish(gateway, "a secret reading");
    const { port } = new URL(pageOf(gateway));
    const target = `http://evil.example:${port}/`;
    const { page } = await open(target);
    expect(await page.textContent("body")).toContain("HOST_FORBIDDEN");
    // Of the same origin as the page's server, in the browser's eyes.
    const results = (await page.evaluate(attack(target))) as Record<string, string>;
    const readings = Object.entries(results).filter(([, result]) => result.startsWith("read: "));
    expect(readings.filter(([, result]) => !result.includes("HOST_FORBIDDEN"))).toEqual([]);
    expect(results).toMatchObject({ script: "refused", style: "refused", image: "refused", stream: "refused" });
    expect(gateway.faults.permanent).toBeUndefined();
    expect(gateway.clockSkewSeconds).toBe(0);
  });

  inBrowser("cannot use the token's cookie", async () => {
    const gateway = await start({ ui: { token: true } });
    const own = pageOf(gateway);
    const { page, context } = await open(own);
    await page.locator("#live").getByText("live", { exact: true }).waitFor();
    // The page works, and its address no longer has the token.
    expect(page.url()).toBe(own.replace(/\?.*/, ""));
    await page.locator("#fault-delay").check();
    await page.locator("#banner").getByText("delay 500 ms").waitFor();
    gateway.faults.clear();
    for (const host of ["evil.example", "127.0.0.1"]) {
      const port = await website("<!doctype html><title>evil</title><body>");
      const foreign = await context.newPage();
      await foreign.goto(`http://${host}:${port}/`);
      const results = await foreign.evaluate(attack(own.replace(/\?.*/, "")));
      expect(results).toMatchObject(outcomes);
      expect(gateway.faults.permanent).toBeUndefined();
      expect(gateway.clockSkewSeconds).toBe(0);
    }
    const stranger = await open(own.replace(/\?.*/, ""));
    expect(await stranger.page.textContent("body")).toContain("TOKEN_REQUIRED");
  });
});
