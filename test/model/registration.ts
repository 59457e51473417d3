/**
 * A random history of a device's starts, each of which may find its credential in storage or register: against a
 * storage and a gateway that misbehave, and power that fails. A model knows which credential is good and which is
 * stored. The same seed gives the same history.
 */

import { createHash, createHmac } from "node:crypto";
import type { HttpResponse } from "../../src/host.js";
import { IotHubError, NetworkError, type Provisioned, provision, type Storage } from "../../src/index.js";
import { mulberry32, sealRegistrationPayload } from "../../tools/gateway/index.js";
import { response } from "../support/fake-host.js";
import { productSecret } from "../support/keys.js";
import { refused, virtualHost } from "../support/virtual-host.js";

/** How a storage misbehaves, in some of the starts. */
export const registrationTroubles = [
  "none",
  /** An operation rejects, before or after it took effect. */
  "failing",
  /**
   * Keys are absent, or lists empty, or deletions without effect, and nothing rejects: one of the three in each start.
   */
  "forgetful",
  /** Text is garbled when it is read; a credential is not when it is read again. */
  "garbled",
  /** An operation takes longer than `storageTimeoutMs`. */
  "hanging",
] as const;
export type RegistrationTrouble = (typeof registrationTroubles)[number];

const STORAGE_TIMEOUT_MS = 10000;
const LATE_MS = 60000;
const HOUR_MS = 3600000;
const STARTS = 12;
/** So small that a certificate takes several values. */
const MAX_VALUE_BYTES = 200;
/** A credential takes no more reads. */
const READS = 6;
const CUT = Symbol("cut");
const digest = { sha256: (...parts: Uint8Array[]) => createHash("sha256").update(Buffer.concat(parts)).digest() };

export async function registrationHistory(seed: number, trouble: RegistrationTrouble): Promise<string[]> {
  const random = mulberry32(seed);
  const chance = (p: number) => random() < p;
  const wrong: string[] = [];
  const values = new Map<string, string>();
  const hasCertificate = chance(0.5);
  /** Whether a registration makes the credential before it worthless; else the gateway gives the same again. */
  const invalidates = chance(0.7);
  /** The number of the good credential. */
  let current = 0;
  let requests = 0;
  let network: "up" | "away" | "losing" | "busy" | "refusing" = "up";
  /** What an operation that was given up has yet to do. */
  let late: (() => void) | undefined;

  const contentOf = (n: number): Record<string, unknown> => {
    const name = `credential number ${n}`;
    if (!hasCertificate) return { encryptionType: 2, psk: createHmac("md5", name).digest("base64") };
    return { encryptionType: 1, clientCert: `${name} `.repeat(20), clientKey: `${name} key `.repeat(3) };
  };
  const numberIn = (text: string): number | undefined => {
    for (let n = current; n > 0; n--) {
      const { psk, clientKey } = contentOf(n);
      if (text.includes(JSON.stringify(psk ?? clientKey))) return n;
    }
    return undefined;
  };
  const numberOf = ({ credential }: Provisioned) => numberIn(JSON.stringify(credential));
  /** The number of the credential in storage, by the format that provision.ts describes. */
  const stored = (): number | undefined => {
    const head = values.get("cred");
    if (head === undefined) return undefined;
    const parts = Number.parseInt(head[2], 36);
    const pieces = Array.from({ length: parts }, (_, n) => values.get(`cred.${head[1]}.${n}`) ?? "");
    return numberIn(head.slice(35) + pieces.join(""));
  };
  /** Whether the storage records an interrupted registration, which may have revoked the stored credential. */
  const isMarked = () => values.get("registering") === `1${values.get("cred")?.[1]}`;

  function respond(cut: () => boolean): HttpResponse | Promise<HttpResponse> {
    requests++;
    if (network === "away") throw new NetworkError("CONNECTION_REFUSED", "connect", "away");
    if (network === "busy") return refused("InternalError", {}, 500);
    if (network === "refusing") return refused("InvalidParameterValue.ProductSecretError");
    current = invalidates || current === 0 ? current + 1 : current;
    if (cut()) return new Promise<never>(() => {});
    if (network === "losing") throw new NetworkError("CONNECTION_RESET", "read", "lost");
    const { payload, length } = sealRegistrationPayload(productSecret, JSON.stringify(contentOf(current)));
    return response(
      JSON.stringify({ Response: { Len: length, Payload: payload, State: 0, RequestId: `request-${requests}` } }),
    );
  }

  /** One start. @returns undefined if the power was cut */
  async function start(options: { force?: boolean; secret: boolean; troubled: boolean; cutAfter: number }) {
    const lie = chance(0.5) ? "get" : chance(0.5) ? "keys" : "delete";
    let left = options.cutAfter;
    let legible = 0;
    let turnOff: () => void = () => {};
    let isCut = false;
    const off = new Promise<typeof CUT>((resolve) => {
      turnOff = () => {
        isCut = true;
        resolve(CUT);
      };
    });
    const host = virtualHost(() =>
      respond(() => {
        if (--left === 0) turnOff();
        return isCut;
      }),
    );
    const sleep = (ms: number) => new Promise<void>((resolve) => void host.timer.set(resolve, ms));
    const operate = async <T>(kind: keyof Storage, work: () => T, none: T): Promise<T> => {
      await Promise.resolve();
      if (!isCut && --left === 0) {
        if (chance(0.5)) work();
        turnOff();
      }
      if (isCut) return new Promise<never>(() => {});
      if (!options.troubled) return work();
      if (trouble === "failing" && chance(0.15)) {
        if (chance(0.5)) work();
        throw new Error("no");
      }
      if (trouble === "forgetful" && kind === lie && chance(0.5)) return none;
      if (trouble === "garbled" && kind === "get") {
        const text = work();
        if (--legible >= 0 || typeof text !== "string" || chance(0.7)) return text;
        legible = READS;
        return text.slice(0, text.length >> 1) as T;
      }
      if (trouble === "hanging" && chance(0.1)) {
        let isDone = false;
        let result: T = none;
        const run = () => {
          if (!isDone) result = work();
          isDone = true;
        };
        if (chance(0.5)) run();
        late = run;
        await sleep(LATE_MS);
        // A start that came later has decided it.
        if (late !== run) return new Promise<never>(() => {});
        late = undefined;
        run();
        return result;
      }
      return work();
    };
    const storage: Storage = {
      maxValueBytes: MAX_VALUE_BYTES,
      get: (key) => operate("get", () => values.get(key), undefined),
      set: (key, text) =>
        operate(
          "set",
          () => {
            if (Buffer.byteLength(text) > MAX_VALUE_BYTES) wrong.push(`${key} is too long`);
            values.set(key, text);
          },
          undefined,
        ),
      delete: (key) =>
        operate(
          "delete",
          () => {
            values.delete(key);
          },
          undefined,
        ),
      keys: () => operate("keys", () => [...values.keys()], []),
    };
    const outcome = provision(
      {
        productId: "P",
        deviceName: "d",
        url: "http://gateway.test",
        productSecret: options.secret ? productSecret : undefined,
        force: options.force,
        retry: false,
        rateLimit: false,
        storageTimeoutMs: STORAGE_TIMEOUT_MS,
      },
      { ...host, storage, digest },
    ).catch((error) => error as Error);
    const ended = await Promise.race([outcome, off, sleep(HOUR_MS)]);
    // Nothing of a start that is over takes effect.
    isCut = true;
    if (ended === CUT) return undefined;
    if (ended === undefined) throw new Error("provision never ended");
    return ended as Provisioned | Error;
  }

  const endLate = () => {
    if (chance(0.5)) late?.();
    late = undefined;
  };
  for (let step = 0; step < STARTS && wrong.length === 0; step++) {
    endLate();
    const fate = random();
    network = fate < 0.4 ? "up" : fate < 0.6 ? "away" : fate < 0.8 ? "losing" : fate < 0.9 ? "busy" : "refusing";
    const force = chance(0.3);
    const secret = force || chance(0.85);
    const troubled = chance(0.5);
    const cutAfter = chance(0.3) ? 1 + Math.floor(random() * 20) : Number.POSITIVE_INFINITY;
    const before = { stored: stored(), isMarked: isMarked(), requests, current };
    const isGood = before.stored !== undefined && before.stored === current;
    const outcome = await start({ force, secret, troubled, cutAfter });
    const what = `start ${step} (${force ? "forced, " : ""}${network}${troubled ? ", troubled" : ""})`;
    if (isGood && !before.isMarked && !force && requests > before.requests) wrong.push(`${what} registered anew`);
    if (outcome === undefined) continue;
    if (outcome instanceof Error) {
      if (!(outcome instanceof IotHubError)) wrong.push(`${what} rejected with ${outcome}`);
      // Whatever the network does, there is a credential to be used.
      if (before.stored !== undefined && !force && !(troubled && trouble !== "none")) {
        wrong.push(`${what} did not use what is stored: ${(outcome as IotHubError).code}`);
      }
      continue;
    }
    const n = numberOf(outcome);
    // An interrupted registration may have revoked it: the next one returns another.
    const isDoubtful = before.stored !== before.current || current !== before.current;
    if (n === undefined || (n !== current && !isDoubtful)) wrong.push(`${what} gave ${n} instead of ${current}`);
    if (n !== stored()) wrong.push(`${what} gave ${n}, and ${stored()} is stored`);
  }
  if (wrong.length > 0) return wrong;
  network = "up";
  endLate();
  const calm = { troubled: false, cutAfter: Number.POSITIVE_INFINITY };
  const before = requests;
  const last = await start({ secret: true, ...calm });
  if (last === undefined || last instanceof Error) return [`the last start: ${last}`];
  if (numberOf(last) !== current) wrong.push(`finally ${numberOf(last)} instead of ${current}`);
  if (requests > before + 1) wrong.push("at last more than one registration");
  const again = await start({ secret: false, ...calm });
  if (again === undefined || again instanceof Error || numberOf(again) !== current) wrong.push(`not kept: ${again}`);
  const keys = [...values.keys()].filter((key) => !/^cred(\.\d\.\d)?$/.test(key));
  if (keys.length > 0) wrong.push(`left in storage: ${keys.join(" ")}`);
  return wrong;
}
