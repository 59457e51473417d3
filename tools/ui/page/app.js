/** @import { DeviceView, Entry, FaultState, Info } from "./types.js" */

import { renderDetail } from "./detail.js";
import { byId, copyText, h, setText } from "./dom.js";
import { FaultPanel } from "./faults.js";
import { ago, describeState, identity, summary } from "./format.js";
import { EntryList } from "./list.js";
import { Plots } from "./plots.js";
import { readRecording } from "./recording.js";
import { SeriesStore } from "./series.js";
import { Stream } from "./stream.js";

const REDRAW_MS = 250;

// The browser has it as a cookie by now, and it need not be in the history.
if (new URLSearchParams(location.search).has("token")) history.replaceState(null, "", "/");

/** @type {Info | undefined} */
let info;
/** @type {Entry[]} */
let arrived = [];
let nextKey = 1;
let kind = "all";
/** @type {string | undefined} */
let onlyDevice;
let words = /** @type {string[]} */ ([]);
/** @type {DeviceView[]} */
let devices = [];
/** Whether a recording is shown instead of what comes. */
let isRecorded = false;

const store = new SeriesStore();
const plots = new Plots(store);
const detail = byId("detail");
const list = new EntryList(byId("list"), showDetail, showListState);
const faults = new FaultPanel(byId("fault-form"), toast);
const search = /** @type {HTMLInputElement} */ (byId("search"));

const stream = new Stream({
  onReset() {
    if (!isRecorded) empty();
    void loadInfo();
  },
  onEvent(type, value) {
    // What comes meanwhile is had again when the recording is closed.
    if (isRecorded && ["request", "tlsError", "dropped", "fault", "gap"].includes(type)) return;
    switch (type) {
      case "request":
        store.add(value);
        arrived.push({ key: nextKey++, type, view: value, failed: !value.accepted });
        break;
      case "tlsError":
      case "dropped":
        arrived.push({ key: nextKey++, type, view: value, failed: true });
        break;
      case "fault":
        arrived.push({ key: nextKey++, type, view: value, failed: false });
        break;
      case "gap":
        toast(`${value.skipped} events came faster than this page could read them.`);
        break;
      case "counts":
        showCounts(value);
        break;
      case "faults":
        showFaults(value);
        break;
      case "devices":
        devices = value.devices;
        showDevices();
    }
  },
  onState: showLive,
});

function empty() {
  store.clear();
  arrived = [];
  list.clear();
  showDetail(undefined);
}

/** @param {File} file */
async function showRecording(file) {
  try {
    const { entries, skipped } = await readRecording(file);
    isRecorded = true;
    empty();
    for (const entry of entries) {
      entry.key = nextKey++;
      if (entry.type === "request") store.add(entry.view);
    }
    list.paused = false;
    byId("pause").setAttribute("aria-pressed", "false");
    list.add(entries);
    const more = skipped === 0 ? "" : `, ${skipped} other lines left out`;
    setText(byId("recorded-name"), `Recording ${file.name}: ${entries.length} events${more}`);
    byId("recorded").hidden = false;
  } catch (error) {
    toast(error instanceof Error ? error.message : String(error));
  }
}

function closeRecording() {
  isRecorded = false;
  byId("recorded").hidden = true;
  empty();
  stream.restart();
}

async function loadInfo() {
  try {
    const response = await fetch("/_/info");
    if (!response.ok) return;
    info = /** @type {Info} */ (await response.json());
    setText(byId("url"), info.url);
    setText(byId("welcome-url"), info.url);
    document.title = `Gateway ${new URL(info.url).host}`;
    faults.kinds = info.faultKinds;
  } catch {
    // The stream tries again, and this comes after it.
  }
}

// However fast they come, the list and the plots are drawn a few times a second.
setInterval(() => {
  if (arrived.length > 0) list.add(arrived.splice(0));
  plots.update();
}, REDRAW_MS);
setInterval(showDevices, 1000);

/** @param {"connecting" | "live" | "lost" | "denied"} state */
function showLive(state) {
  const live = byId("live");
  live.dataset.state = state;
  const texts = {
    connecting: "connecting",
    live: "live",
    lost: "not connected",
    denied: "open the printed URL: the token is missing",
  };
  setText(live, texts[state]);
}

/** @param {Record<string, number>} counts */
function showCounts(counts) {
  const shown = /** @type {[string, number][]} */ ([
    ["requests", counts.requests],
    ["accepted", counts.accepted],
    ["refused", counts.refused],
    ["TLS failures", counts.tlsFailures],
    ["open connections", counts.openConnections],
  ]).filter(([name, count]) => count > 0 || name === "requests");
  byId("counts").replaceChildren(
    ...shown.map(([name, count]) => h("div", { "data-name": name }, h("dt", {}, name), h("dd", {}, String(count)))),
  );
}

/** @param {FaultState} state */
function showFaults(state) {
  faults.show(state);
  const text = describeState(state);
  const banner = byId("banner");
  banner.hidden = text === "none";
  setText(banner, `Faults are on: ${text}`);
}

function showDevices() {
  const element = byId("device-list");
  // Buttons are used again, or a click between two updates would be lost.
  while (element.children.length > Math.max(1, devices.length)) element.lastChild?.remove();
  if (devices.length === 0) {
    element.replaceChildren(h("li", { class: "empty" }, "None is registered."));
    return;
  }
  if (element.firstElementChild?.className === "empty") element.replaceChildren();
  devices.forEach((device, index) => {
    if (element.children[index] === undefined) element.append(newDevice());
    fillDevice(/** @type {HTMLElement} */ (element.children[index]), device);
  });
}

function newDevice() {
  const button = h(
    "button",
    { type: "button", class: "device", onclick: () => chooseDevice(button.dataset.device) },
    h("b", {}),
    h("span", { class: "seen" }),
    h("span", { class: "note" }),
    h("span", { class: "refused" }),
  );
  return h("li", {}, button);
}

/** @param {HTMLElement} item @param {DeviceView} device */
function fillDevice(item, { productId, deviceName, registered, lastSeenMs, lastRequestMs, accepted, refused }) {
  const button = /** @type {HTMLElement} */ (item.firstElementChild);
  const [name, seen, note, failures] = button.children;
  const id = `${productId}/${deviceName}`;
  button.dataset.device = id;
  button.title = id;
  button.setAttribute("aria-pressed", String(onlyDevice === id));
  setText(name, deviceName);
  setText(seen, lastSeenMs === undefined ? "never seen" : ago(Date.now() - lastSeenMs));
  seen.classList.toggle("recent", lastSeenMs !== undefined && Date.now() - lastSeenMs < 10_000);
  setText(note, registered ? `${productId} · ${accepted}` : `${productId} · not registered`);
  setText(failures, refused === 0 ? "" : `${refused} refused`);
  failures.setAttribute("title", lastRequestMs === undefined ? "" : `last request ${ago(Date.now() - lastRequestMs)}`);
}

/** @param {string | undefined} device */
function chooseDevice(device) {
  onlyDevice = onlyDevice === device ? undefined : device;
  showDevices();
  const chip = byId("device-filter");
  chip.replaceChildren();
  if (onlyDevice !== undefined) {
    const close = {
      type: "button",
      class: "chip",
      "aria-pressed": "true",
      title: "Show all devices",
      onclick: () => chooseDevice(undefined),
    };
    chip.append(h("button", close, `${onlyDevice} ✕`));
  }
  setView("messages");
  filter();
}

/** @param {Entry} entry @returns {string} what the filter looks through, in lower case */
function textOf(entry) {
  if (entry.text === undefined) {
    const { what, text } = summary(entry);
    const { view, type } = entry;
    const more =
      type === "request"
        ? [
            ...Object.values(identity(view)),
            view.error?.code,
            view.error?.message,
            view.status,
            view.requestId,
            view.url,
          ]
        : [JSON.stringify(view)];
    entry.text = [what, text, ...more].join(" ").toLowerCase();
  }
  return entry.text;
}

function filter() {
  list.filter = (entry) => {
    if (kind === "failures" && !entry.failed) return false;
    if (kind === "accepted" && (entry.failed || entry.type !== "request")) return false;
    if (onlyDevice !== undefined) {
      if (entry.type !== "request") return false;
      const { productId, deviceName } = identity(entry.view);
      if (`${productId}/${deviceName}` !== onlyDevice) return false;
    }
    return words.every((word) => textOf(entry).includes(word));
  };
}

function showListState() {
  const { length, shown, held } = list;
  const parts = [shown === length ? `${length}` : `${shown} of ${length}`];
  if (held > 0) parts.push(`${held} held`);
  setText(byId("shown"), parts.join(", "));
  byId("welcome").hidden = length > 0 || held > 0;
  byId("list").hidden = length === 0;
}

/** @param {Entry | undefined} entry */
function showDetail(entry) {
  detail.hidden = entry === undefined;
  document.body.toggleAttribute("data-detail", entry !== undefined);
  if (entry === undefined) return;
  const close = h(
    "button",
    { type: "button", class: "plain close", "aria-label": "Close (Esc)", title: "Close (Esc)", onclick: closeDetail },
    "✕",
  );
  detail.replaceChildren(close, ...renderDetail(entry, info, toast));
  detail.scrollTop = 0;
}

function closeDetail() {
  list.select(-1);
  list.focus();
}

let toastTimer = 0;
/** @param {string} text */
function toast(text) {
  const element = byId("toast");
  element.hidden = false;
  setText(element, text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => {
    element.hidden = true;
  }, 3500);
}

/** @param {string} view on a narrow screen, where only one is shown */
function setView(view) {
  document.body.dataset.view = view;
  for (const button of document.querySelectorAll("nav button")) {
    if (button instanceof HTMLElement) button.setAttribute("aria-current", String(button.dataset.view === view));
  }
  plots.redraw();
}

// The theme: as the system has it, until it is chosen here.
const themes = ["auto", "light", "dark"];
/** @param {string} theme */
function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const button = byId("theme");
  const next = themes[(themes.indexOf(theme) + 1) % themes.length];
  setText(button, { auto: "◐", light: "☀", dark: "☾" }[theme] ?? "◐");
  button.title = `Theme: ${theme}. Change to ${next}.`;
  button.setAttribute("aria-label", button.title);
  button.onclick = () => {
    remember("theme", next);
    setTheme(next);
    plots.rebuild();
  };
}

/** Not everywhere allowed. @param {string} name @param {string} value */
function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {}
}

/** @param {string} name */
function recall(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

const stored = recall("theme") ?? "auto";
setTheme(themes.includes(stored) ? stored : "auto");
setView("messages");
showListState();
filter();

for (const [value, label] of [
  ["all", "All"],
  ["accepted", "Accepted"],
  ["failures", "Failures"],
]) {
  const button = h("button", { type: "button", "data-kind": value, "aria-pressed": String(value === kind) }, label);
  button.addEventListener("click", () => {
    kind = value;
    for (const each of byId("kinds").children) each.setAttribute("aria-pressed", String(each === button));
    filter();
  });
  byId("kinds").append(button);
}
for (const button of document.querySelectorAll("nav button")) {
  button.addEventListener("click", () => setView(/** @type {HTMLElement} */ (button).dataset.view ?? "messages"));
}
search.addEventListener("input", () => {
  words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  filter();
});
byId("pause").addEventListener("click", () => {
  list.paused = !list.paused;
  byId("pause").setAttribute("aria-pressed", String(list.paused));
  showListState();
});
byId("clear").addEventListener("click", empty);
const file = /** @type {HTMLInputElement} */ (byId("file"));
byId("open").addEventListener("click", () => file.click());
file.addEventListener("change", () => {
  if (file.files?.[0] !== undefined) void showRecording(file.files[0]);
  // So that the same file can be chosen again.
  file.value = "";
});
byId("back").addEventListener("click", closeRecording);
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  const dropped = event.dataTransfer?.files[0];
  if (dropped !== undefined) void showRecording(dropped);
});
byId("url").addEventListener("click", async () => {
  if (info !== undefined && (await copyText(info.url))) toast("Copied: the gateway's URL.");
});
const keys = /** @type {HTMLDialogElement} */ (byId("keys"));
byId("help").addEventListener("click", () => keys.showModal());

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || keys.open) return;
  if (key === "Escape") {
    if (!detail.hidden) closeDetail();
    else if (target === search) {
      search.value = "";
      search.dispatchEvent(new Event("input"));
      list.focus();
    }
    return;
  }
  const isField = target instanceof HTMLInputElement || target instanceof HTMLSelectElement;
  if (isField && !(target instanceof HTMLInputElement && /^(radio|checkbox)$/.test(target.type))) return;
  /** @type {Record<string, () => void>} */
  const actions = {
    "/": () => {
      setView("messages");
      search.focus();
      search.select();
    },
    "?": () => keys.showModal(),
    j: () => list.move(1),
    k: () => list.move(-1),
    p: () => byId("pause").click(),
    f: () => {
      setView("faults");
      /** @type {HTMLElement | null} */ (document.querySelector("#fault-form input:checked"))?.focus();
    },
    0: () => void faults.clear(),
  };
  const action = actions[key];
  if (action !== undefined) {
    event.preventDefault();
    action();
  } else if (key === "Enter" && target === byId("list") && !detail.hidden) {
    event.preventDefault();
    detail.focus();
  }
});
