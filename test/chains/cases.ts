/** Certificate chains of x509-limbo and BetterTLS with the verdict that each expects; see README.md beside it. */

import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

export interface ChainCase {
  readonly suite: "limbo" | "pathbuilding" | "nameconstraints";
  readonly id: string;
  /** DER of what a server sends, its own certificate first. */
  readonly chain: readonly Uint8Array[];
  readonly anchors: readonly Uint8Array[];
  readonly host: string;
  readonly nowMs: number;
  readonly accepted: boolean;
}

interface Limbo {
  readonly testcases: readonly {
    readonly id: string;
    readonly trusted_certs: readonly string[];
    readonly untrusted_intermediates: readonly string[];
    readonly peer_certificate: string;
    readonly validation_time: string | null;
    readonly expected_result: "SUCCESS" | "FAILURE";
    readonly expected_peer_name: { readonly value: string } | null;
  }[];
}

interface BetterTls {
  readonly validation_time: string;
  readonly trustRoot: string;
  readonly suites: Readonly<
    Record<
      "pathbuilding" | "nameconstraints",
      {
        readonly testCases: readonly {
          readonly id: number;
          readonly certificates: readonly string[];
          readonly hostname: string;
          readonly expected: "ACCEPT" | "REJECT";
        }[];
      }
    >
  >;
}

/** Cases without a time have certificates of 1970 to 2969. */
const LIMBO_TIME = "2026-11-28T00:00:00Z";

const der = (text: string) =>
  Uint8Array.from(Buffer.from(text.replace(/-----[A-Z ]+-----/g, "").replace(/\s/g, ""), "base64"));

function read(file: string): unknown {
  return JSON.parse(gunzipSync(readFileSync(new URL(`${file}.json.gz`, import.meta.url))).toString());
}

export function limboCases(): ChainCase[] {
  return (read("limbo") as Limbo).testcases.map((each) => ({
    suite: "limbo",
    id: each.id,
    chain: [each.peer_certificate, ...each.untrusted_intermediates].map(der),
    anchors: each.trusted_certs.map(der),
    host: each.expected_peer_name?.value ?? "",
    nowMs: Date.parse(each.validation_time ?? LIMBO_TIME),
    accepted: each.expected_result === "SUCCESS",
  }));
}

export function betterTlsCases(suite: "pathbuilding" | "nameconstraints"): ChainCase[] {
  const { validation_time, trustRoot, suites } = read("bettertls") as BetterTls;
  return suites[suite].testCases.map(({ id, certificates, hostname, expected }) => ({
    suite,
    id: String(id),
    chain: certificates.map(der),
    anchors: [der(trustRoot)],
    host: hostname,
    nowMs: Date.parse(validation_time),
    accepted: expected === "ACCEPT",
  }));
}

export function chainCases(): ChainCase[] {
  return [...limboCases(), ...betterTlsCases("pathbuilding"), ...betterTlsCases("nameconstraints")];
}
