/** @import { Fault, FaultState } from "./types.js" */

import { h, setText } from "./dom.js";
import { describeState } from "./format.js";

const STATUSES = ["400", "401", "403", "404", "413", "429", "500", "502", "503", "504"];

/** The faults of the radio buttons: each has its values beside it. */
export class FaultPanel {
  #form;
  #toast;
  #state = /** @type {FaultState} */ ({ always: null, pending: 0, offline: false, clockSkewSeconds: 0 });
  /** @type {Record<string, HTMLInputElement>} */
  #kinds = {};
  #delay = h("input", { type: "number", min: 0, max: 600_000, value: 500, "aria-label": "Delay in milliseconds" });
  #status = select("Status", STATUSES, "503");
  #retryAfter = h("input", {
    type: "number",
    min: 0,
    max: 86_400,
    placeholder: "–",
    "aria-label": "Retry-After in seconds",
  });
  #drop = select("How the connection ends", ["reset", "close", "hang"], "reset");
  #phase = select("When", ["connect", "read", "headers", "body"], "headers");
  #other = h("input", {
    type: "text",
    placeholder: "slow-drip, half-open:reset…",
    "aria-label": "Another fault",
    spellcheck: "false",
    autocomplete: "off",
    list: "fault-kinds",
  });
  #names = h("datalist", { id: "fault-kinds" });
  #skew = h("input", {
    type: "number",
    value: 3600,
    min: -3_200_000_000,
    max: 3_200_000_000,
    "aria-label": "Seconds that the clock is ahead",
  });
  #skewed = h("input", { type: "checkbox", id: "fault-skew" });
  #offlineHow = select("What happens to new connections", ["reset", "hang"], "reset");
  #offline = h("input", { type: "checkbox", id: "fault-offline" });
  #scope = select("For which requests", ["every request", "the next request"], "every request");
  #inject = h("button", { type: "button", onclick: () => this.#next() }, "Inject");
  #pending = h("span", { class: "note" });
  #error = h("p", { class: "error", role: "alert" });
  #isBusy = false;

  /** @param {HTMLFormElement} form @param {(text: string) => void} toast */
  constructor(form, toast) {
    this.#form = form;
    this.#toast = toast;
    const kind = (
      /** @type {string} */ id,
      /** @type {string} */ label,
      /** @type {(Node | string)[]} */ ...values
    ) => {
      const radio = h("input", { type: "radio", name: "kind", value: id, id: `fault-${id}` });
      this.#kinds[id] = radio;
      return h("div", { class: "fault" }, radio, h("label", { for: `fault-${id}` }, label), ...values);
    };
    form.append(
      h(
        "fieldset",
        {},
        h("legend", {}, "Fault in ", this.#scope),
        kind("none", "normal"),
        kind("delay", "delay", this.#delay, "ms"),
        kind("status", "status", this.#status, h("span", { class: "pair" }, "after", this.#retryAfter, "s")),
        kind("drop", "drop", this.#drop, this.#phase),
        kind("other", "other", this.#other, this.#names),
      ),
      h("div", { class: "fault" }, this.#inject, this.#pending),
      h("div", { class: "fault" }, this.#skewed, h("label", { for: "fault-skew" }, "clock ahead"), this.#skew, "s"),
      h("div", { class: "fault" }, this.#offline, h("label", { for: "fault-offline" }, "offline"), this.#offlineHow),
      h("button", { type: "button", class: "wide", id: "fault-clear", onclick: () => this.clear() }, "All off (0)"),
      this.#error,
    );
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", (event) => this.#changed(event.target));
    this.show(this.#state);
  }

  /** @param {string[]} kinds */
  set kinds(kinds) {
    this.#names.replaceChildren(...kinds.map((value) => h("option", { value })));
  }

  clear() {
    return this.#send({ clear: true }, "All faults are off.");
  }

  /** Shows what is switched on, by whomever. @param {FaultState} state */
  show(state) {
    this.#state = state;
    if (this.#isBusy) return;
    const { always, pending, offline, clockSkewSeconds } = state;
    if (!this.#isForNext) this.#kinds[this.#showKind(always)].checked = true;
    this.#inject.hidden = !this.#isForNext;
    this.#skewed.checked = clockSkewSeconds !== 0;
    if (clockSkewSeconds !== 0) show(this.#skew, String(clockSkewSeconds));
    this.#offline.checked = offline !== false;
    if (offline !== false) show(this.#offlineHow, offline);
    setText(this.#pending, pending === 0 ? "" : `${pending} queued`);
    this.#form.dataset.active = String(describeState(state) !== "none");
  }

  /** @param {Fault | null} fault @returns {string} the radio button for it */
  #showKind(fault) {
    if (fault === null) return "none";
    const { kind, ms, phase, status, retryAfter } = fault;
    if (kind === "delay" && phase === undefined) {
      show(this.#delay, String(ms));
      return "delay";
    }
    if (kind === "status" && STATUSES.includes(String(status)) && typeof retryAfter !== "string") {
      show(this.#status, String(status));
      show(this.#retryAfter, retryAfter === undefined ? "" : String(retryAfter));
      return "status";
    }
    if (kind === "reset" || kind === "close" || kind === "hang") {
      show(this.#drop, kind);
      show(this.#phase, String(phase));
      return "drop";
    }
    show(this.#other, JSON.stringify(fault));
    return "other";
  }

  /** @returns {Fault | string | undefined | null} null for none, undefined if its values are not complete */
  #chosen() {
    const [kind] = Object.entries(this.#kinds).find(([, radio]) => radio.checked) ?? ["none"];
    if (kind === "none") return null;
    if (kind === "delay") return this.#delay.value === "" ? undefined : { kind, ms: Number(this.#delay.value) };
    if (kind === "status") {
      const retryAfter = this.#retryAfter.value === "" ? {} : { retryAfter: Number(this.#retryAfter.value) };
      return { kind, status: Number(this.#status.value), ...retryAfter };
    }
    if (kind === "drop") return { kind: this.#drop.value, phase: this.#phase.value };
    return this.#other.value.trim() === "" ? undefined : this.#other.value;
  }

  get #isForNext() {
    return this.#scope.value === "the next request";
  }

  /** @param {EventTarget | null} target */
  #changed(target) {
    if (target === this.#scope) {
      setText(this.#error, "");
      this.show(this.#state);
      return;
    }
    if (target === this.#skewed || target === this.#skew) {
      if (target === this.#skew && !this.#skewed.checked) return;
      const seconds = this.#skewed.checked ? Number(this.#skew.value) : 0;
      void this.#send({ clockSkewSeconds: seconds });
      return;
    }
    if (target === this.#offline || target === this.#offlineHow) {
      if (target === this.#offlineHow && !this.#offline.checked) return;
      void this.#send({ offline: this.#offline.checked ? this.#offlineHow.value : false });
      return;
    }
    // A value that was changed belongs to the fault beside it.
    const radio = target instanceof Element ? target.closest(".fault")?.querySelector("input[type=radio]") : null;
    if (radio instanceof HTMLInputElement && target !== radio) radio.checked = true;
    if (this.#isForNext) return;
    const always = this.#chosen();
    if (always === undefined) this.#other.focus();
    else void this.#send({ always });
  }

  #next() {
    const chosen = this.#chosen();
    if (chosen === null || chosen === undefined) {
      setText(this.#error, "Choose a fault first.");
      return;
    }
    void this.#send({ next: chosen }, "Queued for the next request.");
  }

  /** @param {object} change @param {string} [done] */
  async #send(change, done) {
    this.#isBusy = true;
    let error = "";
    try {
      const response = await fetch("/_/faults", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(change),
      });
      const result = await response.json();
      if (response.ok) {
        this.#state = result;
        this.#toast(done ?? `Faults: ${describeState(result)}.`);
      } else error = result.error.message;
    } catch {
      error = "The gateway cannot be reached.";
    }
    setText(this.#error, error);
    this.#isBusy = false;
    // What was typed stays there to be corrected.
    if (error === "") this.show(this.#state);
  }
}

/** Not while it is being typed in. @param {HTMLInputElement | HTMLSelectElement} field @param {string} value */
function show(field, value) {
  if (document.activeElement !== field && field.value !== value) field.value = value;
}

/** @param {string} label @param {string[]} values @param {string} value */
function select(label, values, value) {
  return h(
    "select",
    { "aria-label": label },
    ...values.map((each) => h("option", { value: each, selected: each === value }, each)),
  );
}
