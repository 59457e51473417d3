/** @import { Entry } from "./types.js" */

import { h, setText } from "./dom.js";
import { clockTime, describeFault, duration, identity, summary, visible } from "./format.js";

export const MAX_ENTRIES = 10_000;
/** Rows above and below those that are seen, for the time until the next frame. */
const OVERSCAN = 6;
const EXCERPT = 400;

/**
 * @typedef {object} Row
 * @property {HTMLElement} element
 * @property {HTMLElement[]} cells
 * @property {number} key of the entry that it shows
 */

/**
 * The list of what came, the latest first. Only the rows that are seen are in the document, and they are used again for
 * others, whatever the length of the list.
 */
export class EntryList {
  /** All of them, the oldest first. @type {Entry[]} */
  #entries = [];
  /** Those that pass the filter. @type {Entry[]} */
  #shown = [];
  /** @type {(entry: Entry) => boolean} */
  #filter = () => true;
  /** @type {Row[]} */
  #rows = [];
  #rowHeight = 0;
  #selected = -1;
  #isPaused = false;
  /** @type {Entry[]} */
  #held = [];
  #frame = 0;
  #container;
  #content;
  #onSelect;
  #onChange;

  /**
   * @param {HTMLElement} container
   * @param {(entry: Entry | undefined) => void} onSelect
   * @param {() => void} onChange
   */
  constructor(container, onSelect, onChange) {
    this.#container = container;
    this.#onSelect = onSelect;
    this.#onChange = onChange;
    this.#content = h("div", { class: "rows", role: "presentation" });
    container.append(this.#content);
    container.addEventListener("scroll", () => this.#schedule(), { passive: true });
    container.addEventListener("keydown", (event) => this.#key(event));
    container.addEventListener("click", (event) => {
      const row = event.target instanceof Element ? event.target.closest("[data-key]") : null;
      if (row instanceof HTMLElement) this.select(Number(row.dataset.key));
    });
    new ResizeObserver(() => this.#resized()).observe(container);
  }

  get length() {
    return this.#entries.length;
  }

  get shown() {
    return this.#shown.length;
  }

  get held() {
    return this.#held.length;
  }

  get selected() {
    return this.#entries.find(({ key }) => key === this.#selected);
  }

  get paused() {
    return this.#isPaused;
  }

  set paused(value) {
    this.#isPaused = value;
    if (!value) this.add(this.#held.splice(0));
  }

  clear() {
    this.#entries = [];
    this.#shown = [];
    this.#held = [];
    this.#selected = -1;
    this.#container.scrollTop = 0;
    this.#layout();
  }

  /** @param {(entry: Entry) => boolean} filter */
  set filter(filter) {
    this.#filter = filter;
    this.#shown = this.#entries.filter(filter);
    this.#container.scrollTop = 0;
    this.#layout();
  }

  /** @param {Entry[]} entries */
  add(entries) {
    if (this.#isPaused) {
      this.#held.push(...entries);
      if (this.#held.length > MAX_ENTRIES) this.#held.splice(0, this.#held.length - MAX_ENTRIES);
      this.#onChange();
      return;
    }
    if (entries.length === 0) return;
    const fresh = entries.filter(this.#filter);
    for (const entry of entries) this.#entries.push(entry);
    for (const entry of fresh) this.#shown.push(entry);
    const extra = this.#entries.length - MAX_ENTRIES;
    if (extra > 0) {
      const oldest = this.#entries[extra].key;
      this.#entries.splice(0, extra);
      const firstKept = this.#shown.findIndex(({ key }) => key >= oldest);
      this.#shown.splice(0, firstKept < 0 ? this.#shown.length : firstKept);
    }
    // What is being read stays where it is while the list grows above it.
    const { scrollTop } = this.#container;
    this.#layout();
    if (scrollTop > 0) this.#container.scrollTop = scrollTop + fresh.length * this.#rowHeight;
  }

  /** @param {number} key */
  select(key) {
    this.#selected = key;
    this.#schedule();
    this.#onSelect(this.selected);
  }

  focus() {
    this.#container.focus({ preventScroll: true });
  }

  /** Rows get two lines where there is little room, as when the details open; what was seen must not scroll away. */
  #resized() {
    const before = this.#rowHeight;
    this.#rowHeight = Number.parseFloat(getComputedStyle(this.#container).getPropertyValue("--row")) || 28;
    const { scrollTop } = this.#container;
    this.#layout();
    if (before === 0 || before === this.#rowHeight) return;
    this.#container.scrollTop = (scrollTop / before) * this.#rowHeight;
    const at = this.#shown.findIndex(({ key }) => key === this.#selected);
    if (at >= 0) this.#scrollTo(this.#shown.length - 1 - at);
  }

  /** @param {number} step */
  move(step) {
    const last = this.#shown.length - 1;
    if (last < 0) return;
    const at = this.#shown.findIndex(({ key }) => key === this.#selected);
    const position = at < 0 ? (step > 0 ? 0 : last) : last - at + step;
    this.#moveTo(Math.max(0, Math.min(last, position)));
  }

  /** @param {number} position from the top */
  #moveTo(position) {
    const entry = this.#shown[this.#shown.length - 1 - position];
    if (entry === undefined) return;
    this.#scrollTo(position);
    this.select(entry.key);
  }

  /** @param {number} position from the top, that is to be seen */
  #scrollTo(position) {
    const { scrollTop, clientHeight } = this.#container;
    const top = position * this.#rowHeight;
    if (top < scrollTop) this.#container.scrollTop = top;
    else if (top + this.#rowHeight > scrollTop + clientHeight) {
      this.#container.scrollTop = top + this.#rowHeight - clientHeight;
    }
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.#container.clientHeight / this.#rowHeight) - 1);
    const last = this.#shown.length - 1;
    /** @type {Record<string, () => void>} */
    const actions = {
      ArrowDown: () => this.move(1),
      ArrowUp: () => this.move(-1),
      PageDown: () => this.move(page),
      PageUp: () => this.move(-page),
      Home: () => this.#moveTo(0),
      End: () => this.#moveTo(last),
    };
    const action = actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  }

  #schedule() {
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#render();
    });
  }

  #layout() {
    this.#content.style.height = `${this.#shown.length * this.#rowHeight}px`;
    this.#onChange();
    this.#schedule();
  }

  #render() {
    const { scrollTop, clientHeight } = this.#container;
    if (this.#rowHeight === 0) return;
    const count = this.#shown.length;
    const first = Math.max(0, Math.floor(scrollTop / this.#rowHeight) - OVERSCAN);
    const end = Math.min(count, Math.ceil((scrollTop + clientHeight) / this.#rowHeight) + OVERSCAN);
    while (this.#rows.length < end - first) {
      const row = newRow();
      this.#rows.push(row);
      this.#content.append(row.element);
    }
    let active = "";
    this.#rows.forEach((row, index) => {
      const position = first + index;
      const entry = position < end ? this.#shown[count - 1 - position] : undefined;
      const { element } = row;
      element.hidden = entry === undefined;
      if (entry === undefined) return;
      if (row.key !== entry.key) fill(row, entry);
      const transform = `translateY(${position * this.#rowHeight}px)`;
      if (element.style.transform !== transform) element.style.transform = transform;
      const isSelected = entry.key === this.#selected;
      if (isSelected) active = element.id;
      element.setAttribute("aria-selected", String(isSelected));
      element.setAttribute("aria-posinset", String(position + 1));
      element.setAttribute("aria-setsize", String(count));
    });
    if (active === "") this.#container.removeAttribute("aria-activedescendant");
    else this.#container.setAttribute("aria-activedescendant", active);
  }
}

let rowCount = 0;

/** @returns {Row} */
function newRow() {
  const names = ["time", "device", "what", "text", "result", "took"];
  const cells = names.map((name) => h("span", { class: name }));
  rowCount++;
  return { element: h("div", { class: "row", role: "option", id: `row-${rowCount}` }, ...cells), cells, key: -1 };
}

/** @param {Row} row @param {Entry} entry */
function fill(row, entry) {
  const { element, cells } = row;
  row.key = entry.key;
  element.dataset.key = String(entry.key);
  element.dataset.kind = entry.type === "request" ? (entry.failed ? "failed" : "accepted") : entry.type;
  const { what, text } = summary(entry);
  const excerpt = visible(text.slice(0, EXCERPT));
  const texts = [clockTime(entry.view.atMs), deviceOf(entry), visible(what), excerpt, ...resultOf(entry)];
  cells.forEach((cell, index) => {
    setText(cell, texts[index]);
  });
}

/** @param {Entry} entry */
function deviceOf({ type, view }) {
  if (type === "request") return visible(identity(view).deviceName ?? view.connection.remoteAddress ?? "");
  if (type === "tlsError") return view.remoteAddress ?? "";
  return type === "dropped" ? (view.connection.remoteAddress ?? "") : "";
}

/** @param {Entry} entry @returns {[result: string, took: string]} */
function resultOf({ type, view }) {
  if (type !== "request") return ["", ""];
  const { status, error, fault, durationMs } = view;
  const parts = [status === undefined ? "no response" : String(status)];
  if (fault !== undefined) parts.push(`fault ${describeFault(fault)}`);
  else if (error !== undefined) parts.push(error.code);
  return [visible(parts.join(" ")), durationMs === undefined ? "" : duration(durationMs)];
}
