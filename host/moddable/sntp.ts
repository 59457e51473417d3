/** SNTP client (RFC 4330). */

import UDP from "embedded:io/socket/udp";
import Timer from "timer";
import type { Resolver } from "./resolver.js";

interface UdpSocket {
  read(): ArrayBuffer & { readonly address: string; readonly port: number };
  write(bytes: Uint8Array, address: string, port: number): void;
  close(): void;
}

type UdpConstructor = new (options: { onReadable: (packets: number) => void }) => UdpSocket;

export interface NetworkTime {
  /** Server time of the reply, in milliseconds since 1970. */
  readonly timeMs: number;
  /** Monotonic time in milliseconds that corresponds to `timeMs`, corrected by half the round trip. */
  readonly at: number;
}

const NTP_PORT = 123;
/** Seconds from 1900 to 1970. */
const EPOCH_SECONDS = 2208988800;
const ERA_SECONDS = 4294967296;
const ERA_MS = ERA_SECONDS * 1000;
/** Maximum credible time after the build: thirty years, in milliseconds. */
const LATEST_MS = 946728000000;
/** Number of unrelated packets after which a server is given up. */
const MAX_UNRELATED_PACKETS = 8;

/**
 * Converts an NTP timestamp to milliseconds since 1970, rounded, in the first era that is not before `earliestMs`: the
 * 32 bits of seconds wrap every 136 years, next on 2036-02-07 (RFC 4330 section 3; RFC 5905 section 6).
 * @param earliestMs milliseconds since 1970
 */
export function ntpTimeMs(seconds: number, fraction: number, earliestMs: number): number {
  const firstMs = (seconds - EPOCH_SECONDS) * 1000 + Math.round((fraction / ERA_SECONDS) * 1000);
  return firstMs + Math.max(0, Math.ceil((earliestMs - firstMs) / ERA_MS)) * ERA_MS;
}

/** Returns the NTP era of a time: 0 until 2036-02-07T06:28:16Z. */
export function ntpEra(timeMs: number): number {
  return Math.floor((timeMs / 1000 + EPOCH_SECONDS) / ERA_SECONDS);
}

export interface SntpQuery {
  /** Hostname or IPv4 address, optionally with `:port`. */
  readonly server: string;
  readonly resolver: Resolver;
  /** Timeout for lookup and reply in milliseconds, from the start of the lookup. */
  readonly timeoutMs: number;
  /** Total timeout in milliseconds, including the wait for other lookups. */
  readonly limitMs: number;
  /** Earliest credible time in milliseconds since 1970; the latest is 30 years later. */
  readonly earliestMs: number;
  /** Returns monotonic time in milliseconds. */
  now(): number;
}

/** Queries one server once. */
export function querySntp({ server, resolver, timeoutMs, limitMs, earliestMs, now }: SntpQuery): Promise<NetworkTime> {
  return new Promise((resolve, reject) => {
    const colon = server.lastIndexOf(":");
    const host = colon < 0 ? server : server.slice(0, colon);
    const port = colon < 0 ? NTP_PORT : Number(server.slice(colon + 1));
    // RFC 4330 section 5: the transmit timestamp is returned as the originate timestamp. A random value instead of a
    // time rejects replies from senders that have not seen the request.
    const request = new Uint8Array(48);
    request[0] = (4 << 3) | 3;
    for (let i = 40; i < 48; i++) request[i] = Math.random() * 256;
    const limit = now() + limitMs;
    let socket: UdpSocket | undefined;
    let sent = 0;
    let unrelated = 0;
    let isStarted = false;

    const finish = (settle: () => void) => {
      Timer.clear(timer);
      timer = undefined;
      withdraw();
      try {
        socket?.close();
      } catch {
        // It was closed by the failure being reported.
      }
      socket = undefined;
      settle();
    };
    const fail = (message: string) => finish(() => reject(new Error(message)));
    const limitTo = (delayMs: number) =>
      Timer.set(() => {
        timer = undefined;
        fail("no reply");
      }, delayMs);
    let timer: Timer | undefined = limitTo(limitMs);
    const start = () => {
      if (isStarted) return;
      isStarted = true;
      Timer.clear(timer);
      timer = limitTo(Math.max(0, Math.min(timeoutMs, limit - now())));
    };

    const onReadable = (packets: number) => {
      try {
        for (; packets > 0 && socket; packets--) {
          const packet = socket.read();
          if (packet === undefined) return;
          const reply = new DataView(packet);
          const time = readReply(reply, request, earliestMs);
          if (typeof time === "number") {
            const at = now() - (now() - sent) / 2;
            finish(() => resolve({ timeMs: time, at }));
          } else if (time !== undefined) {
            fail(time);
          } else if (++unrelated >= MAX_UNRELATED_PACKETS) {
            fail("only unrelated packets were received");
          }
        }
      } catch (error) {
        fail(error instanceof Error ? error.message : "unreadable reply");
      }
    };

    const withdraw = resolver.resolve(host, {
      onStart: start,
      onResolved: (address) => {
        start();
        socket = new (UDP as unknown as UdpConstructor)({ onReadable });
        sent = now();
        socket.write(request, address, port);
      },
      onFailed: (error) => fail(error instanceof Error ? error.message : "name not resolved"),
    });
  });
}

/** Returns the time of a reply, the reason to reject the server, or undefined if the packet is unrelated. */
function readReply(reply: DataView, request: Uint8Array, earliestMs: number): number | string | undefined {
  if (reply.byteLength < 48) return undefined;
  for (let i = 0; i < 8; i++) if (reply.getUint8(24 + i) !== request[40 + i]) return undefined;
  const first = reply.getUint8(0);
  if ((first & 7) !== 4) return undefined;
  const stratum = reply.getUint8(1);
  if (stratum === 0) return "kiss-o'-death";
  if (first >> 6 === 3 || stratum > 15) return "the server is not synchronized";
  const seconds = reply.getUint32(40);
  const fraction = reply.getUint32(44);
  if (seconds === 0 && fraction === 0) return "the reply has no time";
  const timeMs = ntpTimeMs(seconds, fraction, earliestMs);
  if (timeMs < earliestMs || timeMs > earliestMs + LATEST_MS) return "the time is not credible";
  return timeMs;
}
