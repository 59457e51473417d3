/**
 * Certificate chains and signatures, judged with the SDK's cryptography: the same lists as on Node, and the same
 * verdicts.
 */
import { type ChainCase, chainCases } from "../chains/cases.js";
import { signatureCases } from "../chains/signatures.js";
import { isToBeAccepted, judge, nameOf } from "../chains/verdicts.js";
import { nodePrimitives } from "../support/node-primitives.js";
import type { Expectations, Session } from "./session.js";

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
/** The app reads no longer command; what is left out beyond ten certificates does not change the verdict. */
const MAX_SENT = 12;

export const chainSuites = ["limbo", "pathbuilding", "nameconstraints"] as const;

export async function chains(session: Session, expect: Expectations, suite: ChainCase["suite"]): Promise<string> {
  const cases = chainCases().filter((each) => each.suite === suite);
  let accepted = 0;
  let slowestMs = 0;
  for (const each of cases) {
    const { reason, ms } = await session.run("chain", {
      chain: each.chain.slice(0, MAX_SENT).map(base64),
      anchors: each.anchors.map(base64),
      host: each.host,
      nowMs: each.nowMs,
    });
    expect.equal(reason === "", isToBeAccepted(each), `${nameOf(each)} (${reason})`);
    expect.equal(reason, judge(each, nodePrimitives), `${nameOf(each)}: the reason, as on Node`);
    if (reason === "") accepted++;
    slowestMs = Math.max(slowestMs, ms);
  }
  return `${cases.length} chains, ${accepted} accepted, in at most ${slowestMs} ms`;
}

export async function signatures(session: Session, expect: Expectations): Promise<string> {
  const cases = signatureCases();
  for (const { name, key, hash, message, signature, good } of cases) {
    const encoded = Object.fromEntries(
      Object.entries(key).map(([part, value]) => [part, typeof value === "string" ? value : base64(value)]),
    );
    const result = await session.run("signature", {
      key: encoded,
      hash,
      message: base64(message),
      signature: base64(signature),
    });
    expect.equal(result.good, good, name);
  }
  return `${cases.length} signatures`;
}
