/** @import { Bytes, Diagnosis, Entry, Info, RequestDetail, RequestView } from "./types.js" */

import { curlCommand, signCommand, testCode } from "./copies.js";
import { copyText, h } from "./dom.js";
import {
  bytesOf,
  describeFault,
  describeState,
  duration,
  fullTime,
  hexDump,
  identity,
  parseJson,
  prettyJson,
  size,
  summary,
  visible,
  visibleBlock,
} from "./format.js";

/** The names of the signed fields, in their order. */
const FIELDS = ["method", "host", "path", "query", "algorithm", "timestamp", "nonce", "bodyHash"];
/** More than this in one block makes the page slow. */
const MAX_SHOWN = 100_000;

/**
 * @param {Entry} entry
 * @param {Info | undefined} info
 * @param {(text: string) => void} toast
 * @returns {Node[]} what is known of it; headers and body of a request are added when they have been loaded
 */
export function renderDetail(entry, info, toast) {
  if (entry.type === "request") return renderRequest(entry.view, info, toast);
  const { view } = entry;
  const { what, text } = summary(entry);
  const facts = [fact("time", fullTime(view.atMs))];
  const boxes = [];
  if (entry.type === "tlsError") {
    const { connectionId, code, alert, remoteAddress } = entry.view;
    facts.push(fact("connection", `#${connectionId}`), fact("client", remoteAddress), fact("code", code));
    facts.push(fact("alert", alert));
    boxes.push(h("section", { class: "box failed" }, h("p", {}, visible(text)), tlsHint(entry.view.code, info)));
  } else if (entry.type === "dropped") {
    const { id, remoteAddress } = entry.view.connection;
    facts.push(fact("connection", `#${id}`), fact("client", remoteAddress));
    boxes.push(h("section", { class: "box failed" }, h("p", {}, visible(text))));
  } else boxes.push(h("section", { class: "box" }, h("p", {}, describeState(entry.view))));
  return [h("h2", {}, what), ...boxes, h("dl", { class: "facts" }, ...facts.flat())];
}

/** @param {string} code @param {Info | undefined} info */
function tlsHint(code, info) {
  if (!/UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_UNKNOWN/i.test(code) || info?.https !== true) return undefined;
  const link = h("a", { href: "/_/ca.pem", download: "ca.pem" }, "ca.pem");
  return h("p", { class: "mend" }, "→ Give the client the gateway's CA as a trust anchor: ", link, ".");
}

/**
 * @param {RequestView} view
 * @param {Info | undefined} info
 * @param {(text: string) => void} toast
 */
function renderRequest(view, info, toast) {
  const { index, accepted, status, error, fault, payload, messages, diagnosis } = view;
  const { deviceName, productId, topic } = identity(view);
  const { what } = summary({ key: 0, failed: !accepted, type: "request", view });
  const title = h(
    "h2",
    {},
    h("span", { class: "dim" }, `#${index} `),
    `${deviceName ?? "unknown device"} → ${visible(what)}`,
  );
  const verdict = accepted ? "accepted" : status === undefined ? "no response" : "refused";
  const badge = h("span", { class: "badge", "data-kind": accepted ? "accepted" : "failed" }, verdict);
  const rest = h("div", { class: "rest" }, h("p", { class: "note" }, "Loading headers and body…"));
  const copies = h("div", { class: "copies" });
  void load(view, info, toast, copies, rest);
  /** @type {HTMLElement[]} */
  const nodes = [h("div", { class: "title" }, title, badge), copies];
  if (error !== undefined) nodes.push(failure(view));
  else if (!accepted && fault !== undefined) {
    nodes.push(h("section", { class: "box failed" }, h("p", {}, `Injected fault: ${describeFault(fault)}.`)));
  }
  if (diagnosis !== undefined) nodes.push(fieldTable(diagnosis));
  if (payload !== undefined) nodes.push(...payloadBlock(payload));
  if (messages !== undefined) nodes.push(h("h3", {}, "Log lines"), block(messages.join("\n")));
  const { connection } = view;
  const tls = connection.tls;
  nodes.push(
    h("h3", {}, "Request"),
    h(
      "dl",
      { class: "facts" },
      ...[
        fact("received", fullTime(view.atMs)),
        fact("device", productId === undefined ? undefined : `${productId}/${deviceName}`),
        fact("topic", topic),
        fact("QoS", view.qos),
        fact("response", status === undefined ? "none" : `${status}${error === undefined ? "" : ` ${error.code}`}`),
        fact("after", view.durationMs === undefined ? undefined : duration(view.durationMs)),
        fact("fault", fault === undefined ? undefined : describeFault(fault)),
        fact("signature", signature(view)),
        fact(
          "registration",
          view.registrationState === undefined ? undefined : ["new device", "known device"][view.registrationState],
        ),
        fact("RequestId", view.requestId),
        fact(
          "connection",
          `#${connection.id}${connection.remoteAddress === undefined ? "" : ` from ${connection.remoteAddress}`}`,
        ),
        fact("TLS", tls === undefined ? undefined : `${tls.protocol} ${tls.cipher}${tls.resumed ? ", resumed" : ""}`),
        fact(
          "client certificate",
          tls?.clientName === undefined ? undefined : `${tls.clientName}${tls.clientTrusted ? "" : ", not trusted"}`,
        ),
      ].flat(),
    ),
    rest,
  );
  return nodes;
}

/** @param {RequestView} view */
function signature({ algorithm, verifiedBy }) {
  if (algorithm === undefined) return undefined;
  return verifiedBy === undefined ? `${algorithm}, not verified` : `${algorithm}, verified by ${verifiedBy}`;
}

/** @param {RequestView} view */
function failure({ error, diagnosis, undiagnosed }) {
  const box = h(
    "section",
    { class: "box failed" },
    h("p", {}, h("b", {}, error?.code ?? ""), " ", visible(error?.message ?? "")),
  );
  if (undiagnosed) box.append(h("p", {}, "Not diagnosed: too many wrong signatures within a second."));
  if (diagnosis === undefined) return box;
  box.append(h("p", {}, h("strong", {}, `${sentence(visible(diagnosis.message))}.`)));
  for (const { what, mend } of diagnosis.deviations) {
    // The message names a single one.
    if (diagnosis.deviations.length > 1) box.append(h("p", {}, sentence(visible(what))));
    box.append(h("p", { class: "mend" }, `→ ${visible(mend)}`));
  }
  for (const { message, mend } of diagnosis.problems) {
    box.append(h("p", {}, `Also: ${visible(message)}`), h("p", { class: "mend" }, `→ ${visible(mend)}`));
  }
  if (diagnosis.deviations.length === 0 && diagnosis.ruledOut.length > 0) {
    const pairs = diagnosis.pairsRuledOut ? " Each pair of the common ones is ruled out, too." : "";
    box.append(
      h(
        "details",
        {},
        h("summary", {}, `${diagnosis.ruledOut.length} mistakes are ruled out`),
        h("p", { class: "note" }, `${diagnosis.ruledOut.join(", ")}.${pairs} ${diagnosis.hashes} hashes computed.`),
      ),
    );
  }
  return box;
}

/** @param {string} text */
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** @param {Diagnosis} diagnosis */
function fieldTable({ expected, signed }) {
  const shown = (/** @type {string} */ text) =>
    text === "" ? h("i", { class: "dim" }, "empty") : visible(text.slice(0, 2000));
  const rows = FIELDS.map((name, index) => {
    const differs = signed !== undefined && signed[name] !== expected[name];
    return h(
      "tr",
      differs ? { class: "differs" } : {},
      h("th", { scope: "row" }, `${index + 1} ${name === "bodyHash" ? "body hash" : name}`),
      h("td", {}, shown(expected[name])),
      h("td", {}, signed === undefined ? "?" : differs ? h("mark", {}, shown(signed[name])) : "same"),
    );
  });
  const head = ["signed field", "expected", "as signed"].map((text) => h("th", { scope: "col" }, text));
  return h(
    "div",
    { class: "scroll" },
    h("table", { class: "fields" }, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows)),
  );
}

/** @param {Bytes} payload */
function payloadBlock(payload) {
  const { text, bytes } = payload;
  const json = text === undefined || payload.cut ? undefined : parseJson(text);
  const kind = json !== undefined ? "JSON" : text !== undefined ? "text" : "binary";
  const content = json !== undefined && text !== undefined ? jsonBlock(prettyJson(text)) : textBlock(payload);
  return [h("h3", {}, "Payload ", h("span", { class: "note" }, `${kind}, ${size(bytes)}`)), content];
}

/** @param {Bytes} bytes */
function textBlock(bytes) {
  const node = bytes.text === undefined ? block(hexDump(bytesOf(bytes))) : block(bytes.text);
  if (bytes.cut) node.append(h("span", { class: "note" }, `\n… cut here; ${bytes.bytes} bytes in all`));
  return node;
}

/** @param {string} text */
function block(text) {
  const shown = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
  return h("pre", { tabindex: "0" }, shown === "" ? h("i", { class: "dim" }, "empty") : visibleBlock(shown));
}

/** Text nodes alone, with a color for each kind of token. @param {string} json */
function jsonBlock(json) {
  const pre = h("pre", { class: "json", tabindex: "0" });
  if (json.length > MAX_SHOWN) {
    pre.append(`${visibleBlock(json.slice(0, MAX_SHOWN))}…`);
    return pre;
  }
  const pattern = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d[\d.eE+-]*)|(true|false|null)|[^"\d\-tfn]+|./g;
  for (const [whole, string, colon, digits, word] of json.matchAll(pattern)) {
    if (colon !== undefined) pre.append(h("span", { class: "name" }, visible(string)), colon);
    else if (string !== undefined) pre.append(h("span", { class: "string" }, visible(string)));
    else if (digits !== undefined) pre.append(h("span", { class: "number" }, digits));
    else if (word !== undefined) pre.append(h("span", { class: "word" }, word));
    else pre.append(whole);
  }
  return pre;
}

/** @param {string} name @param {string | number | undefined} value */
function fact(name, value) {
  return value === undefined ? [] : [h("dt", {}, name), h("dd", {}, visible(String(value)))];
}

/**
 * @param {RequestView} view
 * @param {Info | undefined} info
 * @param {(text: string) => void} toast
 * @param {HTMLElement} copies
 * @param {HTMLElement} rest
 */
async function load(view, info, toast, copies, rest) {
  const { index, payload } = view;
  const button = (/** @type {string} */ label, /** @type {string} */ title, /** @type {() => string} */ text) =>
    h(
      "button",
      {
        type: "button",
        title,
        onclick: async () =>
          toast((await copyText(text())) ? `Copied: ${label}.` : "The browser does not allow copying."),
      },
      label,
    );
  if (payload?.text !== undefined) {
    const { text } = payload;
    copies.append(button("payload", "Copy the payload as it came", () => text));
  }
  const detail = "headers" in view ? /** @type {RequestDetail} */ (view) : await fetchDetail(index);
  if (detail === undefined) {
    rest.replaceChildren(h("p", { class: "note" }, "The gateway no longer has its headers and body."));
    return;
  }
  const { headers, method, url, body } = detail;
  const request = detail;
  if (info !== undefined) {
    copies.prepend(
      button("curl", "Copy as a curl command with the same bytes", () => curlCommand(request, info.url)),
      button("sign --curl", "Copy a command that signs it anew", () => signCommand(request, info.url)),
      button("test", "Copy as a test for node --test", () => testCode(request)),
    );
    copies.prepend(h("span", { class: "note" }, "Copy as"));
    copies.after(
      h(
        "p",
        { class: "note" },
        "curl repeats these bytes, so the gateway refuses it as a replay; ",
        h("code", {}, "sign --curl"),
        " signs them anew.",
        info.https ? " Both need " : "",
        info.https && h("a", { href: "/_/ca.pem", download: "ca.pem" }, "ca.pem"),
        info.https ? "." : "",
      ),
    );
  }
  const lines = Object.entries(headers).map(([name, value]) => [h("dt", {}, name), h("dd", {}, visible(value))]);
  const json = body.text === undefined ? undefined : parseJson(body.text);
  rest.replaceChildren(
    h("h3", {}, "Headers"),
    h("p", { class: "mono" }, `${method} ${visible(url)}`),
    h("dl", { class: "facts mono" }, ...lines.flat()),
    h("h3", {}, "Body ", h("span", { class: "note" }, size(body.bytes))),
    json !== undefined && body.text !== undefined ? jsonBlock(prettyJson(body.text)) : textBlock(body),
  );
}

/** @param {number} index @returns {Promise<RequestDetail | undefined>} */
async function fetchDetail(index) {
  try {
    const response = await fetch(`/_/requests/${index}`);
    return response.ok ? await response.json() : undefined;
  } catch {
    // The gateway is stopped; what the page has is shown.
    return undefined;
  }
}
