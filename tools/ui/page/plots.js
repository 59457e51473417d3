import uPlot from "/uplot.js";
import { byId, h, setText } from "./dom.js";
import { fullTime, number, visible } from "./format.js";
import { align } from "./series.js";

/** @import { Line, SeriesStore } from "./series.js" */

const MAX_CARDS = 6;
const MAX_CHIPS = 60;
const HEIGHT = 132;
/** uPlot fails on less. */
const MIN_WIDTH = 120;
const COLORS = 6;
const MAX_LINES = 12;

/**
 * @typedef {object} Card
 * @property {HTMLElement} element
 * @property {HTMLElement} values
 * @property {HTMLElement} time at the pointer
 * @property {HTMLElement} canvas
 * @property {uPlot | undefined} plot
 * @property {string} devices of its lines
 * @property {boolean} zoomed by the user: new data leaves the range
 */

/** A plot for each path of numbers, with a line for each device. */
export class Plots {
  #store;
  /** @type {Map<string, Card>} */
  #cards = new Map();
  /** Paths that the user has switched on or off. @type {Map<string, boolean>} */
  #chosen = new Map();
  #drawn = -1;
  #chipText = "";
  #sync = uPlot.sync("time");
  #cardsElement = byId("plot-cards");
  #range = /** @type {HTMLSelectElement} */ (byId("plot-range"));
  #axis = /** @type {HTMLSelectElement} */ (byId("plot-axis"));

  /** @param {SeriesStore} store */
  constructor(store) {
    this.#store = store;
    for (const select of [this.#range, this.#axis]) {
      select.addEventListener("change", () => {
        for (const card of this.#cards.values()) card.zoomed = false;
        this.redraw();
      });
    }
    new ResizeObserver(() => this.#resize()).observe(this.#cardsElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.rebuild());
  }

  /** Draws what has changed since the last call. */
  update() {
    if (this.#drawn === this.#store.version || this.#cardsElement.clientWidth === 0) return;
    this.#drawn = this.#store.version;
    this.#draw();
  }

  redraw() {
    this.#drawn = -1;
    this.update();
  }

  /** Makes all plots anew, in the colors of today. */
  rebuild() {
    for (const card of this.#cards.values()) {
      card.plot?.destroy();
      card.plot = undefined;
    }
    this.redraw();
  }

  #resize() {
    if (this.#drawn === -1) this.update();
    for (const { plot, canvas } of this.#cards.values()) {
      const width = Math.max(MIN_WIDTH, Math.floor(canvas.clientWidth));
      if (plot !== undefined && canvas.clientWidth > 0 && plot.width !== width) plot.setSize({ width, height: HEIGHT });
    }
    this.update();
  }

  #draw() {
    const { paths } = this.#store;
    const names = [...paths.keys()];
    const isShown = (/** @type {string} */ path) => this.#chosen.get(path) ?? this.#isDefault(path, names);
    this.#drawChips(names, isShown);
    byId("plot-empty").hidden = names.length > 0;
    const shown = names.filter(isShown);
    for (const [path, card] of this.#cards) {
      if (shown.includes(path)) continue;
      card.plot?.destroy();
      card.element.remove();
      this.#cards.delete(path);
    }
    let undated = 0;
    for (const path of shown)
      undated += this.#drawCard(path, [...(paths.get(path)?.values() ?? [])].slice(0, MAX_LINES));
    const note = byId("plot-note");
    note.hidden = undated === 0 || this.#axis.value === "received";
    setText(
      note,
      `${undated} reading${undated === 1 ? " has" : "s have"} no time of ${undated === 1 ? "its" : "their"} own and ${undated === 1 ? "is" : "are"} plotted at the time of receipt.`,
    );
  }

  /** The first ones are shown without a choice. @param {string} path @param {string[]} names */
  #isDefault(path, names) {
    return (
      names.filter((name) => !this.#chosen.has(name)).indexOf(path) <
      MAX_CARDS - [...this.#chosen.values()].filter(Boolean).length
    );
  }

  /** @param {string[]} names @param {(path: string) => boolean} isShown */
  #drawChips(names, isShown) {
    const listed = names.slice(0, MAX_CHIPS);
    const key = JSON.stringify([listed.map((name) => [name, isShown(name)]), names.length]);
    if (key === this.#chipText) return;
    this.#chipText = key;
    const chips = listed.map((path) => {
      const shown = isShown(path);
      return h(
        "button",
        {
          type: "button",
          class: "chip",
          "aria-pressed": String(shown),
          onclick: () => {
            this.#chosen.set(path, !isShown(path));
            this.redraw();
            const again = [...byId("plot-names").children].find((chip) => chip.textContent === visible(path));
            if (again instanceof HTMLElement) again.focus();
          },
        },
        visible(path),
      );
    });
    const more = names.length - listed.length;
    byId("plot-names").replaceChildren(...chips, more > 0 ? h("span", { class: "note" }, `and ${more} more`) : "");
  }

  /** @param {string} path @param {Line[]} lines @returns {number} readings without a time */
  #drawCard(path, lines) {
    let card = this.#cards.get(path);
    if (card === undefined) {
      const values = h("span", { class: "values" });
      const canvas = h("div", { class: "canvas", role: "img" });
      const time = h("time", {});
      const caption = h("figcaption", {}, h("b", {}, visible(path)), time, values);
      const element = h("figure", { class: "plot" }, caption, canvas);
      card = { element, values, time, canvas, plot: undefined, devices: "", zoomed: false };
      this.#cards.set(path, card);
      this.#cardsElement.append(element);
    }
    const lastMs = this.#range.value === "" ? Number.POSITIVE_INFINITY : Number(this.#range.value);
    const axis = this.#axis.value === "own" ? "own" : "received";
    const { times, values, undated } = align(lines, axis, lastMs);
    const data = /** @type {uPlot.AlignedData} */ ([times, ...values]);
    const devices = lines.map(({ device }) => device).join("\n");
    if (card.plot === undefined || card.devices !== devices) {
      card.plot?.destroy();
      card.devices = devices;
      card.plot = this.#newPlot(card, lines, data);
    } else if (card.zoomed) {
      const { min, max } = card.plot.scales.x;
      card.plot.setData(data, false);
      card.plot.setScale("x", { min: min ?? 0, max: max ?? 0 });
    } else card.plot.setData(data);
    this.#showCursor(card, lines);
    card.canvas.setAttribute("aria-label", describe(path, lines, times.length));
    return undated;
  }

  /**
   * @param {Card} card
   * @param {Line[]} lines
   * @param {uPlot.AlignedData} data
   */
  #newPlot(card, lines, data) {
    const style = getComputedStyle(document.documentElement);
    const color = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    const font = `11px ${style.getPropertyValue("--sans")}`;
    const grid = { stroke: color("--line"), width: 1 };
    const ticks = { ...grid, size: 4 };
    const axis = { stroke: color("--dim"), font, grid, ticks };
    /** @type {uPlot.Options} */
    const options = {
      width: Math.max(MIN_WIDTH, Math.floor(card.canvas.clientWidth)),
      height: HEIGHT,
      ms: 1,
      legend: { show: false },
      cursor: { y: false, points: { size: 6 }, sync: { key: this.#sync.key }, drag: { x: true, y: false } },
      scales: { x: { time: true } },
      axes: [
        { ...axis, size: 26, space: 64, values: timeLabels },
        {
          ...axis,
          space: 28,
          gap: 4,
          values: (_plot, splits) => splits.map(number),
          // As wide as its longest label.
          size: (_plot, labels) => Math.max(36, ...(labels ?? []).map((label) => label.length * 6.5 + 14)),
        },
      ],
      series: [
        {},
        ...lines.map(({ device }, index) => ({
          label: device,
          stroke: color(`--series-${(index % COLORS) + 1}`),
          width: 1.5,
          points: { size: 4 },
        })),
      ],
      hooks: {
        setCursor: [() => this.#showCursor(card, lines)],
        setSelect: [
          (plot) => {
            if (plot.select.width > 0) card.zoomed = true;
          },
        ],
      },
    };
    const plot = new uPlot(options, data, card.canvas);
    plot.over.addEventListener("dblclick", () => {
      for (const each of this.#cards.values()) each.zoomed = false;
      this.redraw();
    });
    return plot;
  }

  /** The values at the pointer, if it is on the plot. @param {Card} card @param {Line[]} lines */
  #showCursor(card, lines) {
    const { plot } = card;
    const at = plot?.cursor.idx;
    this.#showValues(card, lines, plot === undefined || at === null || at === undefined ? undefined : { plot, at });
  }

  /**
   * @param {Card} card
   * @param {Line[]} lines
   * @param {{ plot: uPlot, at: number } | undefined} cursor
   */
  #showValues(card, lines, cursor) {
    const parts = lines.map(({ device, points }, index) => {
      const value = cursor === undefined ? points.at(-1)?.value : nearest(cursor.plot, index + 1, cursor.at);
      const text = value === undefined || value === null ? "–" : number(value);
      const name = lines.length > 1 ? `${device.split("/").pop()} ` : "";
      return h("span", { class: `series series-${(index % COLORS) + 1}` }, `${name}${text}`);
    });
    setText(card.time, cursor === undefined ? "" : fullTime(cursor.plot.data[0][cursor.at]));
    card.values.replaceChildren(...parts);
  }
}

/** The value at the cursor, or the one before it, as other devices have other times. */
function nearest(/** @type {uPlot} */ plot, /** @type {number} */ series, /** @type {number} */ at) {
  const values = plot.data[series];
  for (let i = at; i >= 0; i--) if (values[i] !== undefined && values[i] !== null) return values[i];
  return undefined;
}

/** Local time; with the date where it changes. @type {uPlot.Axis.DynamicValues} */
function timeLabels(_plot, splits, _axis, _space, increment) {
  let before = "";
  return splits.map((ms) => {
    const date = new Date(ms);
    const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
    const time = `${pad(date.getHours())}:${pad(date.getMinutes())}`;
    const isNewDay = before !== "" && before !== day;
    before = day;
    if (increment >= 86_400_000) return day;
    if (isNewDay) return `${day.slice(5)} ${time}`;
    if (increment >= 60_000) return time;
    const seconds = `${time}:${pad(date.getSeconds())}`;
    return increment >= 1000 ? seconds : `${seconds}.${String(date.getMilliseconds()).padStart(3, "0")}`;
  });
}

const pad = (/** @type {number} */ value) => String(value).padStart(2, "0");

/** For those who do not see it. @param {string} path @param {Line[]} lines @param {number} times */
function describe(path, lines, times) {
  const parts = lines.map(({ device, points }) => {
    const values = points.map(({ value }) => value);
    let [min, max] = [values[0], values[0]];
    for (const value of values) {
      if (value < min) min = value;
      if (value > max) max = value;
    }
    return `${device}: latest ${number(values[values.length - 1])}, from ${number(min)} to ${number(max)}`;
  });
  return `${path}, ${times} times. ${parts.join("; ")}`;
}
