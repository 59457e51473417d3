// Shares of a CPU profile by whose code ran.
import { readFileSync } from "node:fs";

/** @param {string} path @returns {string} one line a share */
export function shares(path) {
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(path, "utf8"));
  const kinds = new Map(nodes.map(({ id, callFrame }) => [id, kindOf(callFrame)]));
  const totals = new Map();
  let busy = 0;
  let all = 0;
  samples.forEach((id, i) => {
    const kind = kinds.get(id);
    all += timeDeltas[i];
    if (kind === "idle") return;
    busy += timeDeltas[i];
    totals.set(kind, (totals.get(kind) ?? 0) + timeDeltas[i]);
  });
  const percent = (part, whole) => `${((100 * part) / whole).toFixed(1)} %`;
  const rows = [...totals]
    .sort(([, a], [, b]) => b - a)
    .map(([kind, time]) => `  ${kind.padEnd(44)} ${percent(time, busy)}`);
  return [`The engine's thread was busy ${percent(busy, all)} of the time, of which:`, ...rows].join("\n");
}

function kindOf({ functionName, url }) {
  if (functionName === "(idle)") return "idle";
  if (functionName === "(garbage collector)") return "garbage collection";
  if (url.endsWith("/processor.mjs")) return "the library and the boards";
  if (url.startsWith("node:internal/crypto") || /^(Hmac|Hash|update|digest|createHmac)$/.test(functionName))
    return "node:crypto";
  if (url.startsWith("node:")) return "Node's modules (net, tls, http, timers)";
  if (url.includes("/node_modules/")) return "Artillery and its packages";
  return "native code of Node (sockets, hashes, system calls)";
}
