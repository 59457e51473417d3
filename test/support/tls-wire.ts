/** Server messages of TLS 1.2, and their handling by the client's parsers; for every engine. */

import { TlsFault } from "../../host/moddable/tls/alerts.js";
import { Handshake, type HandshakeOptions } from "../../host/moddable/tls/handshake.js";
import { RecordReader } from "../../host/moddable/tls/records.js";
import { Rejection } from "../../host/moddable/tls/rejection.js";

export const join = (...parts: readonly ArrayLike<number>[]): Uint8Array => joinAll(parts);

/** Joins more parts than fit on a stack. */
export function joinAll(parts: readonly ArrayLike<number>[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const two = (value: number) => [value >> 8, value & 255];

/** Encodes a vector with a length of the given size. */
export function vector(lengthBytes: 1 | 2 | 3, ...parts: readonly ArrayLike<number>[]): Uint8Array {
  const content = join(...parts);
  const { length } = content;
  return join([length >> 16, length >> 8, length].slice(3 - lengthBytes), content);
}

export function record(type: number, ...parts: readonly ArrayLike<number>[]): Uint8Array {
  return join([type, 3, 3], vector(2, ...parts));
}

export function message(type: number, ...parts: readonly ArrayLike<number>[]): Uint8Array {
  return join([type], vector(3, ...parts));
}

export const extension = (type: number, ...contents: number[]): Uint8Array => join(two(type), vector(2, contents));

export interface ServerHelloParts {
  readonly version?: number;
  readonly random?: Uint8Array;
  readonly sessionId?: ArrayLike<number>;
  readonly suite?: number;
  readonly compression?: number;
  /** @default no extensions block */
  readonly extensions?: readonly Uint8Array[];
}

export function serverHello(parts: ServerHelloParts = {}): Uint8Array {
  const { version = 0x0303, random = new Uint8Array(32), sessionId = [], suite = 0xc02b, compression = 0 } = parts;
  const { extensions } = parts;
  const rest = extensions ? vector(2, ...extensions) : [];
  return message(2, two(version), random, vector(1, sessionId), two(suite), [compression], rest);
}

export function certificates(...chain: readonly Uint8Array[]): Uint8Array {
  return message(11, vector(3, ...chain.map((certificate) => vector(3, certificate))));
}

/** Generator of secp256r1. */
export const POINT = Uint8Array.from(
  (
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296" +
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
  ).match(/../g) as string[],
  (digits) => Number.parseInt(digits, 16),
);

/** ServerECDHParams. */
export const ecdhParameters = (point: ArrayLike<number> = POINT, curve: number = 23, type: number = 3): Uint8Array =>
  join([type], two(curve), vector(1, point));

/** An ECDSA signature with numbers in range. */
export const RANGED = [0x30, 6, 2, 1, 1, 2, 1, 1];

export const keyExchange = (
  parameters: Uint8Array = ecdhParameters(),
  algorithm: readonly number[] = [4, 3],
  signature: ArrayLike<number> = RANGED,
): Uint8Array => message(12, parameters, algorithm, vector(2, signature));

export const certificateRequest = (types = [1], algorithms = [4, 1], authorities: number[] = []): Uint8Array =>
  message(13, vector(1, types), vector(2, algorithms), vector(2, authorities));

/** @param hint lifetime in seconds */
export const newSessionTicket = (hint: number, ticket: Uint8Array): Uint8Array =>
  message(4, two(hint >>> 16), two(hint & 0xffff), vector(2, ticket));

export const serverHelloDone = message(14);
export const changeCipherSpec = record(20, [1]);
/** A record with the size of a Finished encrypted with AES-GCM. */
export const finished = record(22, new Uint8Array(40));
export const data = record(23, new Uint8Array(40));

/** Result of a handshake: its state, or the alert with which it failed. */
export type Ending = Handshake["state"] | `alert ${number}`;

/**
 * Processes a server's bytes in pieces that end at the given offsets. Nothing is decrypted: Finished is
 * taken for good.
 */
export function run(options: HandshakeOptions, bytes: Uint8Array, cuts: readonly number[] = []): Ending {
  const handshake = new Handshake(options);
  const records = new RecordReader();
  let from = 0;
  try {
    for (const to of [...cuts, bytes.length]) {
      records.push(bytes.subarray(from, to));
      from = to;
      for (;;) {
        const next = records.next();
        if (next === undefined) break;
        handshake.record(next);
        if (next[0] === 22 && handshake.isEncrypted) handshake.finish();
        else while (handshake.next() !== undefined);
        records.isEncrypted = handshake.isEncrypted;
      }
    }
  } catch (error) {
    if (error instanceof TlsFault || error instanceof Rejection) return `alert ${error.alert}`;
    throw error;
  }
  return handshake.state;
}
