import type { Diagnosis } from "./diagnose.js";
import { signedFieldNames, visible } from "./fields.js";
import { mistakes } from "./mistakes.js";

/** Maximum length of a field in the report: it may be a whole body or URL. */
const SHOWN_CHARACTERS = 80;

const shown = (text: string): string => {
  const cut = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
  return cut === "" ? "(empty)" : visible(cut);
};

/**
 * Formats a diagnosis as lines of text: the eight fields as expected and as signed, with invisible characters made
 * visible, then the mistakes and how to fix them.
 */
export function describeDiagnosis(diagnosis: Diagnosis): string[] {
  const { expected, signed, verdict, message, deviations, problems, ruledOut, hashes } = diagnosis;
  const rows = signedFieldNames.map((name) => ({
    name,
    expected: shown(expected[name]),
    signed: signed === undefined ? "?" : shown(signed[name]),
    differs: signed !== undefined && signed[name] !== expected[name],
  }));
  const width = Math.max("expected".length, ...rows.map((row) => row.expected.length));
  const out = [`    ${"field".padEnd(10)} ${"expected".padEnd(width)}  as signed`];
  for (const [index, row] of rows.entries()) {
    out.push(
      `${row.differs ? ">" : " "} ${index + 1} ${row.name.padEnd(10)} ${row.expected.padEnd(width)}  ${row.signed}`,
    );
  }
  out.push("", `${message}.`);
  for (const { what, mend } of deviations) out.push(`  ${what}`, `    → ${mend}`);
  for (const problem of problems) out.push(`  also: ${problem.message}`, `    → ${problem.mend}`);
  if (verdict === "key-or-text" || verdict === "text") {
    const known = mistakes.filter(({ id }) => ruledOut.includes(id)).map(({ id }) => id);
    if (known.length > 0) out.push(`Ruled out with this key and request, each alone: ${known.join(", ")}.`);
    if (diagnosis.pairsRuledOut) out.push("Each pair of common mistakes is ruled out, too.");
    out.push(
      verdict === "text"
        ? "Compare the eight fields with what the client signs."
        : "Compare the PSK with that in the console, and the eight fields with what the client signs.",
    );
  }
  out.push(`${hashes} hash${hashes === 1 ? "" : "es"} computed.`);
  return out;
}
