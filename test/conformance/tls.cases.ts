import { alertName, TlsFault } from "../../host/moddable/tls/alerts.js";
import { Handshake, type HandshakeOptions } from "../../host/moddable/tls/handshake.js";
import { cipherSuites, clientHello, readServerHello } from "../../host/moddable/tls/hello.js";
import { MAX_MESSAGE_BYTES, MessageReader, RecordReader } from "../../host/moddable/tls/records.js";
import { type KeptSession, MAX_TICKET_BYTES, Resumption } from "../../host/moddable/tls/resumption.js";
import { decodeRecord, encodeRecord, SessionStore } from "../../host/moddable/tls/session-store.js";
import type { SignaturePrimitives } from "../../host/moddable/tls/verify.js";
import { hex, hexDecode } from "../../src/crypto/hex.js";
import { sha256 } from "../../src/crypto/sha256.js";
import { utf8 } from "../../src/crypto/utf8.js";
import type { Storage } from "../../src/host.js";

import {
  certificateRequest,
  certificates,
  changeCipherSpec,
  data,
  extension,
  finished,
  join,
  joinAll,
  keyExchange,
  message,
  newSessionTicket,
  record,
  run,
  type ServerHelloParts,
  serverHello,
  serverHelloDone,
} from "../support/tls-wire.js";
import type { Case } from "./case.js";

/** Takes every signature for good: what is arithmetic is tested elsewhere. */
const primitives: SignaturePrimitives = {
  hash: () => new Uint8Array(32),
  rsaPublic: () => 0n,
  ecdsaVerify: () => true,
};

export const ID = new Uint8Array(32).fill(7);

export function options(changes: Partial<HandshakeOptions> = {}): HandshakeOptions {
  return {
    host: "gateway.test",
    trust: { anchors: [], pins: [], acceptAnything: true, nowMs: () => 0 },
    primitives,
    clientRandom: new Uint8Array(32),
    ...changes,
  };
}

const offering: Partial<HandshakeOptions> = {
  offered: { id: ID, secret: new Uint8Array(48), suite: 0xc02b, isExtended: true },
};

/** NewSessionTicket of 20 bytes that lasts for 300 seconds. */
const ticket = newSessionTicket(300, new Uint8Array(20).fill(9));
const announced = [extension(23), extension(35)];

/** What a server sends before it is the client's turn: the messages of a full handshake. */
export function messages(leaf: Uint8Array): Uint8Array[] {
  const hello = serverHello({ sessionId: ID, extensions: [extension(0xff01, 0), extension(23)] });
  return [hello, certificates(leaf), keyExchange(), certificateRequest(), serverHelloDone];
}

/** What comes of a hello: `suite`, and `extended`; or the alert. */
function read(parts: ServerHelloParts, change: (body: Uint8Array) => Uint8Array = (body) => body): string {
  try {
    const hello = readServerHello(change(serverHello(parts).subarray(4)), cipherSuites(false));
    return (
      hex(Uint8Array.of(hello.suite >> 8, hello.suite)) +
      (hello.extendedMasterSecret ? " extended" : "") +
      (hello.announcesTicket ? " ticket" : "")
    );
  } catch (error) {
    return `alert ${(error as TlsFault).alert}`;
  }
}

const refusedHellos: readonly (readonly [string, ServerHelloParts, string])[] = [
  ["TLS 1.1", { version: 0x0302 }, "alert 70"],
  ["TLS 1.3", { version: 0x0304 }, "alert 70"],
  ["compression", { compression: 1 }, "alert 47"],
  ["static RSA, which was not offered", { suite: 0x003c }, "alert 47"],
  ["CBC, which was not offered", { suite: 0xc027 }, "alert 47"],
  ["no suite", { suite: 0 }, "alert 47"],
  ["an identifier of 33 bytes", { sessionId: new Uint8Array(33) }, "alert 50"],
  ["an extension that was not offered", { extensions: [extension(5)] }, "alert 110"],
  ["a session_ticket with contents", { extensions: [extension(35, 0)] }, "alert 50"],
  ["a session_ticket twice", { extensions: [extension(35), extension(35)] }, "alert 47"],
  ["signature_algorithms, which no server sends", { extensions: [extension(13, 0, 2, 4, 3)] }, "alert 110"],
  ["an extension twice", { extensions: [extension(23), extension(23)] }, "alert 47"],
  ["a server_name with contents", { extensions: [extension(0, 0)] }, "alert 50"],
  ["an extended_master_secret with contents", { extensions: [extension(23, 0)] }, "alert 50"],
  ["another protocol", { extensions: [extension(16, 0, 3, 2, 0x68, 0x32)] }, "alert 47"],
  ["no protocol", { extensions: [extension(16, 0, 0)] }, "alert 47"],
  ["no uncompressed points", { extensions: [extension(11, 1, 1)] }, "alert 47"],
  ["no point formats", { extensions: [extension(11)] }, "alert 50"],
  ["a renegotiation", { extensions: [extension(0xff01, 12, ...new Uint8Array(12))] }, "alert 40"],
  ["renegotiation_info without contents", { extensions: [extension(0xff01)] }, "alert 40"],
  ["an extension that is cut off", { extensions: [Uint8Array.of(0, 23, 0)] }, "alert 50"],
  ["an extension that is longer than the list", { extensions: [Uint8Array.of(0, 10, 0, 9, 0)] }, "alert 50"],
];

/** Units of a stream, cut at the given places, in hex. */
function units(reader: RecordReader | MessageReader, bytes: Uint8Array, cuts: readonly number[]): string {
  const found: string[] = [];
  let from = 0;
  for (const to of [...cuts, bytes.length]) {
    reader.push(bytes.subarray(from, to));
    from = to;
    for (let unit = reader.next(); unit !== undefined; unit = reader.next()) found.push(hex(unit));
  }
  return found.join(" ") + (reader.isAmid ? " …" : "");
}

const each = (length: number) => Array.from({ length }, (_, i) => i);

function alertOf(action: () => unknown): number | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    return error instanceof TlsFault ? error.alert : undefined;
  }
}

export const cases: readonly Case[] = [
  {
    name: "the hello, byte by byte",
    run(check) {
      const random = new Uint8Array(32).fill(1);
      const hello = (host: string, sessionId = new Uint8Array(0), all = false, ticket?: Uint8Array) =>
        hex(clientHello({ host, random, sessionId, ticket, suites: cipherSuites(all) }));
      const start = `0303${"01".repeat(32)}`;
      const fixed =
        "00170000" +
        "ff01000100" +
        "000a000400020017" +
        "000b00020100" +
        "0010000b000908687474702f312e31" +
        "000d000e000c040305030603040105010601";
      const rest = `00230000${fixed}`;
      const name = "00000011000f00000c676174657761792e74657374";
      check.equal(hello("gateway.test"), `${start}000004c02bc02f01000051${name}${rest}`);
      check.equal(hello("Gateway.test."), `${start}000004c02bc02f01000051${name}${rest}`, "a dot at its end");
      check.equal(hello("192.168.1.10"), `${start}000004c02bc02f0100003c${rest}`, "an address");
      check.equal(
        hello("192.168.1.10", ID),
        `${start}20${"07".repeat(32)}0004c02bc02f0100003c${rest}`,
        "a session that is offered",
      );
      check.equal(
        hello("192.168.1.10", ID, false, Uint8Array.of(5, 6, 7)),
        `${start}20${"07".repeat(32)}0004c02bc02f0100003f00230003050607${fixed}`,
        "a ticket",
      );
      check.equal(
        hello("192.168.1.10", ID, false, new Uint8Array(MAX_TICKET_BYTES)),
        `${start}20${"07".repeat(32)}0004c02bc02f0100083c00230800${"00".repeat(2048)}${fixed}`,
        "a long ticket",
      );
      check.equal(
        hello("192.168.1.10", new Uint8Array(0), true),
        `${start}00000ec02bc02fc027003c003d002f0035${"0100003c"}${rest}`,
        "static RSA and CBC",
      );
    },
  },
  {
    name: "hellos of servers",
    run(check) {
      check.equal(read({}), "c02b");
      check.equal(read({ suite: 0xc02f, extensions: [] }), "c02f");
      const every = [
        extension(23),
        extension(0),
        extension(0xff01, 0),
        extension(10, 0, 2, 0, 29),
        extension(11, 3, 0, 1, 2),
        extension(16, 0, 9, 8, ...utf8("http/1.1")),
        extension(35),
      ];
      check.equal(read({ sessionId: ID, extensions: every }), "c02b extended ticket");
      for (const [name, parts, expected] of refusedHellos) check.equal(read(parts), expected, name);
      const whole = serverHello({ sessionId: ID, extensions: every }).length - 4;
      for (const cut of each(whole)) {
        // Without its extensions it is whole again.
        const expected = cut === 70 ? "c02b" : "alert 50";
        const cutOff = (body: Uint8Array) => body.subarray(0, cut);
        check.equal(read({ sessionId: ID, extensions: every }, cutOff), expected, `cut at ${cut}`);
      }
      check.equal(
        read({ extensions: [] }, (body) => join(body, [0])),
        "alert 50",
        "a byte more",
      );
    },
  },
  {
    name: "records and messages, split at every place",
    run(check) {
      const records = [record(22, [1, 2, 3]), record(23), record(21, [1, 0]), record(20, new Uint8Array(40))];
      const whole = [message(1), message(2, [1]), message(3, new Uint8Array(30)), message(4)];
      for (const [make, parts] of [
        [() => new RecordReader(), records],
        [() => new MessageReader(), whole],
      ] as const) {
        const bytes = join(...parts);
        const expected = parts.map(hex).join(" ");
        check.equal(units(make(), bytes, []), expected);
        check.equal(units(make(), bytes, each(bytes.length)), expected, "in bytes");
        for (const cut of each(bytes.length)) {
          check.equal(units(make(), bytes, [cut]), expected, `at ${cut}`);
          check.equal(units(make(), bytes.subarray(0, cut), [cut >> 1]), prefix(parts, cut), `up to ${cut}`);
        }
      }
    },
  },
  {
    name: "what cannot be a record is refused at five bytes, a message that is too long at four",
    run(check) {
      const head = (...bytes: number[]) =>
        alertOf(() => {
          const reader = new RecordReader();
          reader.push(Uint8Array.from(bytes));
          reader.next();
        });
      check.equal(head(22, 3, 3, 0x40, 0), undefined);
      check.equal(head(22, 3, 3, 0x40, 1), 22);
      check.equal(head(19, 3, 3, 0, 1), 10);
      check.equal(head(24, 3, 3, 0, 1), 10);
      check.equal(head(22, 3, 1, 0, 1), 70);
      check.equal(head(22, 3, 4, 0, 1), 70);
      check.equal(head(22, 2, 3, 0, 1), 70);
      check.equal(head(21, 3, 1, 0, 2), undefined, "an alert of an older version");
      check.equal(head(21, 2, 0, 0, 2), 70);
      check.equal(head(72, 84, 84, 80), undefined, "four bytes");
      const encrypted = new RecordReader();
      encrypted.isEncrypted = true;
      encrypted.push(Uint8Array.of(23, 3, 3, 0x48, 0));
      check.equal(encrypted.next(), undefined);
      const longer = new RecordReader();
      longer.isEncrypted = true;
      longer.push(Uint8Array.of(23, 3, 3, 0x48, 1));
      check.equal(
        alertOf(() => longer.next()),
        22,
      );
      for (const [text, reason] of [
        ["HTTP/", "the server speaks plain HTTP on this port"],
        ["SSH-2", "the server speaks something other than TLS on this port"],
      ]) {
        const reader = new RecordReader();
        reader.push(utf8(text));
        let said = "";
        try {
          reader.next();
        } catch (error) {
          said = (error as Error).message;
        }
        check.equal(said, reason);
      }
      const length = MAX_MESSAGE_BYTES - 4;
      const first = (bytes: number) =>
        alertOf(() => {
          const reader = new MessageReader();
          reader.push(Uint8Array.of(11, bytes >> 16, bytes >> 8, bytes));
          reader.next();
        });
      check.equal(first(length), undefined);
      check.equal(first(length + 1), 50);
      check.equal(first(0xffffff), 50);
    },
  },
  {
    name: "names of alerts",
    run(check) {
      const expected = ["close_notify", "unexpected_message", "handshake_failure", "unsupported_extension"];
      check.equal([0, 10, 40, 110].map(alertName), expected);
      check.equal([1, 4, 11, 255].map(alertName), ["unknown", "unknown", "unknown", "unknown"]);
      check.equal(alertName(120), "no_application_protocol");
    },
  },
  {
    name: "a flight in records that end at every place, in a stream that is cut at every place",
    heapBytes: 524288,
    run(check, leaf: string) {
      const whole = join(...messages(hexDecode(leaf)));
      for (const cut of each(whole.length - 1)) {
        const [a, b] = [whole.subarray(0, cut + 1), whole.subarray(cut + 1)];
        const bytes = join(record(22, a), record(22, b), changeCipherSpec, finished, data);
        check.equal(run(options(), bytes, [cut, cut + 9]), "established", `at ${cut}`);
      }
    },
  },
  {
    name: "a flight in records of a few bytes, and nothing else between them",
    heapBytes: 524288,
    run(check, leaf: string) {
      const whole = join(...messages(hexDecode(leaf)));
      for (const size of [1, 2, 3, 5, 512]) {
        const records: Uint8Array[] = [];
        for (let at = 0; at < whole.length; at += size) records.push(record(22, whole.subarray(at, at + size)));
        records.push(changeCipherSpec, finished);
        const bytes = joinAll(records);
        check.equal(run(options(), bytes), "established", `${size} bytes`);
        check.equal(run(options(), bytes, each(bytes.length)), "established", `${size} bytes, by the byte`);
      }
      for (const other of [changeCipherSpec, data]) {
        const amid = join(record(22, whole.subarray(0, 50)), other, record(22, whole.subarray(50)));
        check.equal(run(options(), amid), "alert 10");
      }
    },
  },
  {
    name: "any message left out, doubled or swapped with the next is refused",
    heapBytes: 262144,
    run(check, leaf: string) {
      const whole = messages(hexDecode(leaf));
      const through = (list: readonly Uint8Array[], together: boolean) =>
        run(
          options(),
          join(...(together ? [record(22, ...list)] : list.map((one) => record(22, one))), changeCipherSpec, finished),
        );
      for (const together of [false, true]) {
        check.equal(through(whole, together), "established");
        for (const i of each(whole.length)) {
          // A request for a certificate may be left out.
          const without = whole.filter((_, at) => at !== i);
          check.equal(through(without, together), i === 3 ? "established" : "alert 10", `without ${i}`);
          check.equal(through([...whole.slice(0, i + 1), ...whole.slice(i)], together), "alert 10", `${i} twice`);
          if (i + 1 === whole.length) continue;
          const swapped = [...whole.slice(0, i), whole[i + 1], whole[i], ...whole.slice(i + 2)];
          check.equal(through(swapped, together), "alert 10", `${i} and the next`);
        }
        check.equal(through([...whole, message(0)], together), "alert 10", "a message after the last");
        check.equal(through([...whole, message(4, [0])], together), "alert 10", "a ticket");
      }
      check.equal(
        run(options(), join(record(22, ...whole, [14, 0]), record(22, [0, 0]))),
        "alert 10",
        "a part of a message after the last",
      );
    },
  },
  {
    name: "a session that is resumed",
    heapBytes: 262144,
    run(check, leaf: string) {
      const resume = (parts: ServerHelloParts, changes: Partial<HandshakeOptions> = offering) =>
        run(options(changes), join(record(22, serverHello({ sessionId: ID, ...parts })), changeCipherSpec, finished));
      check.equal(resume({ extensions: [extension(23)] }), "established");
      check.equal(resume({}), "alert 40", "without the confirmation of its kind of secret");
      const plain = { offered: { id: ID, secret: new Uint8Array(48), suite: 0xc02b, isExtended: false } };
      check.equal(resume({}, plain), "established");
      check.equal(resume({ extensions: [extension(23)] }, plain), "alert 40", "with a confirmation that it lacked");
      check.equal(resume({ suite: 0xc02f, extensions: [extension(23)] }), "alert 47", "with another suite");
      check.equal(resume({ extensions: [extension(23)] }, {}), "alert 10", "that was not offered");
      check.equal(resume({ sessionId: [], extensions: [extension(23)] }), "alert 10", "without an identifier");
      const whole = messages(hexDecode(leaf));
      const resumed = record(22, whole[0]);
      check.equal(run(options(offering), join(resumed, record(22, whole[1]))), "alert 10", "with a certificate");
      for (const sessionId of [[], ID.slice(1), new Uint8Array(32)]) {
        const declined = [serverHello({ sessionId, extensions: [extension(23)] }), ...whole.slice(1)];
        const bytes = join(record(22, ...declined), changeCipherSpec, finished);
        check.equal(run(options(offering), bytes), "established", "that the server declines");
      }
    },
  },
  {
    name: "a ticket comes once, where it was announced, before ChangeCipherSpec",
    heapBytes: 262144,
    run(check, leaf: string) {
      const whole = messages(hexDecode(leaf));
      const full = (extensions: readonly Uint8Array[], ...rest: readonly Uint8Array[]) =>
        run(options(), join(record(22, serverHello({ extensions }), ...whole.slice(1)), ...rest));
      const resumed = (extensions: readonly Uint8Array[], ...rest: readonly Uint8Array[]) =>
        run(options(offering), join(record(22, serverHello({ sessionId: ID, extensions })), ...rest));
      const end = [changeCipherSpec, finished];
      for (const [name, through] of [
        ["full", full],
        ["resumed", resumed],
      ] as const) {
        check.equal(through(announced, record(22, ticket), ...end), "established", name);
        check.equal(through(announced, ...halves(ticket), ...end), "established", `${name}, in two records`);
        check.equal(through(announced, ...end), "alert 10", `${name}, missing`);
        check.equal(through([extension(23)], record(22, ticket), ...end), "alert 10", `${name}, not announced`);
        check.equal(through(announced, record(22, ticket), record(22, ticket), ...end), "alert 10", `${name}, twice`);
        check.equal(through(announced, record(22, ticket, ticket), ...end), "alert 10", `${name}, twice in a record`);
        check.equal(through(announced, changeCipherSpec, record(22, ticket), finished), "alert 10", `${name}, late`);
        check.equal(through(announced, record(22, ticket, [4]), ...end), "alert 10", `${name}, and a part of another`);
        check.equal(through(announced, record(22, ticket.subarray(0, 9)), ...end), "alert 10", `${name}, cut off`);
        check.equal(through(announced, record(22, message(14)), ...end), "alert 10", `${name}, another message`);
      }
      const early = join(record(22, serverHello({ extensions: announced }), ...whole.slice(1), ticket), ...end);
      check.equal(run(options(), early), "alert 10", "before it is the client's turn");
      const amid = join(record(22, serverHello({ extensions: announced }), ...whole.slice(1), [4, 0]));
      check.equal(run(options(), amid), "alert 10", "a part of it before it is the client's turn");
      const together = record(22, serverHello({ sessionId: ID, extensions: announced }), ticket);
      check.equal(run(options(offering), join(together, ...end)), "established", "in a record with ServerHello");
      for (const bytes of [message(4), message(4, [0, 0, 0, 0, 0]), message(4, [0, 0, 0, 0, 0, 1])]) {
        check.equal(resumed(announced, record(22, bytes)), "alert 50", "too short");
      }
      check.equal(resumed(announced, record(22, message(4, ticket.subarray(4), [0]))), "alert 50", "a byte more");
    },
  },
  {
    name: "a ticket that is empty or too long is not kept",
    run(check) {
      const kept = (bytes: number) => {
        const handshake = new Handshake(options(offering));
        handshake.record(record(22, serverHello({ sessionId: ID, extensions: announced })));
        handshake.next();
        handshake.record(record(22, newSessionTicket(0x80000001, new Uint8Array(bytes))));
        handshake.next();
        const { ticket: came, state } = handshake;
        return [state, came?.bytes.length, came?.lifetimeSeconds];
      };
      check.equal(kept(1), ["change-cipher", 1, 0x80000001]);
      check.equal(kept(MAX_TICKET_BYTES), ["change-cipher", MAX_TICKET_BYTES, 0x80000001]);
      check.equal(kept(0), ["change-cipher", undefined, undefined]);
      check.equal(kept(MAX_TICKET_BYTES + 1), ["change-cipher", undefined, undefined]);
    },
  },
  {
    name: "when a request may leave before the server's Finished",
    heapBytes: 262144,
    run(check, leaf: string) {
      const whole = messages(hexDecode(leaf)).filter((_, i) => i !== 3);
      const asked = messages(hexDecode(leaf));
      /** After each message, then after ChangeCipherSpec. */
      const ready = (flight: readonly Uint8Array[], changes: Partial<HandshakeOptions> = {}) => {
        const handshake = new Handshake(options(changes));
        return [...flight.map((one) => record(22, one)), changeCipherSpec].map((one) => {
          handshake.record(one);
          while (one[0] === 22 && handshake.next() !== undefined);
          return handshake.isReadyEarly;
        });
      };
      check.equal(ready(whole), [false, false, false, true, false]);
      const hello = serverHello({ extensions: announced });
      check.equal(ready([hello, ...whole.slice(1), ticket]), [false, false, false, true, true, false], "a ticket");
      check.equal(ready(asked), [false, false, false, false, false, false], "a request for a certificate");
      check.equal(ready([serverHello({ sessionId: ID, extensions: [extension(23)] })], offering), [false, false]);
    },
  },
  {
    name: "how long a session is offered",
    run(check) {
      let now = 1000;
      let wall = 0;
      const resumption = new Resumption({ monotonicMs: () => now, nowMs: () => wall });
      const session = { id: ID, secret: new Uint8Array(48), suite: 0xc02b, isExtended: true };
      const withTicket = (lifetimeSeconds: number) => ({
        ...session,
        ticket: { bytes: Uint8Array.of(1), lifetimeSeconds },
      });
      const DAY = 86400000;
      const random = { bytes: (length: number) => new Uint8Array(length).fill(8) };
      /** Whether it is offered a millisecond before, and then. */
      const ends = (start: number, ms: number) =>
        [start + ms - 1, start + ms].map((at) => {
          now = at;
          return resumption.offer(random) !== undefined;
        });
      check.equal(resumption.offer(random), undefined, "nothing was kept");
      resumption.keep(session, Number.POSITIVE_INFINITY);
      check.equal(resumption.offer(random)?.id, ID, "the server's identifier");
      check.equal(ends(1000, DAY), [true, false], "a day");
      resumption.keep(withTicket(300), Number.POSITIVE_INFINITY);
      check.equal(ends(now, 300000), [true, false], "the server's hint");
      resumption.keep(withTicket(0xffffffff), Number.POSITIVE_INFINITY);
      check.equal(ends(now, DAY), [true, false], "a hint that is longer than a day");
      resumption.keep(withTicket(0), Number.POSITIVE_INFINITY);
      check.equal(ends(now, DAY), [true, false], "no hint");
      // Renewed, it lasts from then on; without a hint as before; and never longer than a day in all.
      let start = now;
      resumption.keep(withTicket(300), Number.POSITIVE_INFINITY);
      now += 200000;
      resumption.resumed({ bytes: Uint8Array.of(2), lifetimeSeconds: 300 });
      check.equal(hex(resumption.offer(random)?.ticket?.bytes ?? new Uint8Array(0)), "02", "the new ticket");
      check.equal(resumption.offer(random)?.id, new Uint8Array(32).fill(8), "beside a ticket, what was drawn");
      now += 200000;
      resumption.resumed({ bytes: Uint8Array.of(3), lifetimeSeconds: 0 });
      check.equal(ends(start, 500000), [true, false], "renewed, then without a hint");
      start = now;
      resumption.keep(withTicket(7200), Number.POSITIVE_INFINITY);
      for (let at = 3600000; at < DAY; at += 3600000) {
        now = start + at;
        resumption.resumed({ bytes: Uint8Array.of(2), lifetimeSeconds: 7200 });
      }
      check.equal(ends(start, DAY), [true, false], "renewed every hour");
      resumption.keep(withTicket(7200), 5000);
      wall = 4999;
      check.equal(resumption.offer(random) !== undefined, true, "before the end of the certificate");
      wall = 5000;
      check.equal(resumption.offer(random), undefined, "at the end of the certificate");
      wall = 0;
      check.equal(resumption.offer(random), undefined, "a clock that goes back brings nothing back");
      resumption.keep(session, 5000);
      resumption.clear();
      check.equal(resumption.offer(random), undefined, "cleared");
      resumption.keep(session, 5000);
      resumption.keep(undefined, 5000);
      check.equal(resumption.offer(random), undefined, "a server that keeps none");
    },
  },
  {
    name: "mutations: the same on every engine",
    each: true,
    heapBytes: 524288,
    run(check, given: readonly [leaf: string, first: number, endings: readonly string[]]) {
      const [leaf, first, endings] = given;
      for (const [i, ending] of endings.entries()) {
        check.equal(damaged(hexDecode(leaf), first + i), ending, `byte ${first + i}`);
      }
    },
  },
  {
    name: "a session that outlives the program",
    heapBytes: 131072,
    async run(check) {
      const values: Record<string, string> = {};
      const storage: Storage = {
        maxValueBytes: 3999,
        get: async (key) => values[key],
        set: async (key, text) => {
          values[key] = text;
        },
        delete: async (key) => {
          delete values[key];
        },
        keys: async () => Object.keys(values),
      };
      let nowMs = 2_000_000_000_000;
      const clock = { nowMs: () => nowMs, monotonicMs: () => 0 };
      const hash: SignaturePrimitives["hash"] = (_name, parts) => sha256(joinAll(parts));
      const start = async (origin: string, binding = "a") => {
        const store = new SessionStore({ storage, clock, hash, binding: utf8(binding) });
        await store.load(origin);
        return store;
      };
      const secret = Uint8Array.from({ length: 48 }, (_, i) => i * 5);
      const ticketOf = (length: number, lifetimeSeconds: number) => ({
        bytes: new Uint8Array(length).fill(0xfe),
        lifetimeSeconds,
      });
      const none = new Uint8Array(0);
      const end = Number.POSITIVE_INFINITY;
      /** The storage is looked through before something is stored. */
      const keep = async (session: KeptSession, notAfterMs: number, address: string) => {
        delete values["tls-session"];
        (await start("a:443")).keep("a:443", session, notAfterMs, address);
        for (let i = 0; i < 20; i++) await undefined;
      };
      /** What is stored of a session, and offered by the next start of the program. */
      const stored = async (session: KeptSession) => {
        await keep(session, end, "255.0.12.3");
        return [values["tls-session"]?.length, (await start("a:443")).take("a:443")?.session];
      };
      const byTicket: KeptSession = { id: none, ticket: ticketOf(240, 300), secret, suite: 0xc02f, isExtended: true };
      const byId: KeptSession = { id: ID, ticket: undefined, secret, suite: 0xc02b, isExtended: false };
      const byShortId: KeptSession = { ...byId, id: Uint8Array.of(0), suite: 0x0035 };
      check.equal(await stored(byTicket), [392, byTicket], "as nginx's ticket for a name of 40 characters");
      check.equal(await stored(byId), [136, byId], "an identifier");
      check.equal(await stored(byShortId), [98, byShortId], "the shortest identifier, the last of the suites");
      const longest = { ...byTicket, ticket: ticketOf(247, 300) };
      check.equal(await stored(longest), [400, longest], "400 characters");
      check.equal(await stored({ ...byTicket, ticket: ticketOf(248, 300) }), [undefined, undefined], "one byte more");

      await stored(byTicket);
      const text = values["tls-session"];
      const store = await start("a:443");
      check.equal(store.addressOf("a:443"), "255.0.12.3", "the address");
      check.equal(store.take("b:443"), undefined, "another origin");
      check.equal(store.take("a:443") !== undefined, true, "once");
      check.equal(store.take("a:443"), undefined, "twice");
      check.equal((await start("a:443", "b")).take("a:443"), undefined, "bound to something else");
      // Any character: the head, the check value, the secret, the ticket.
      for (let at = 0; at < text.length - 2; at += 11) {
        const code = text.charCodeAt(at) === 0x23 ? 0x24 : 0x23;
        values["tls-session"] = text.slice(0, at) + String.fromCharCode(code) + text.slice(at + 1);
        check.equal((await start("a:443")).take("a:443"), undefined, `character ${at} changed`);
      }
      values["tls-session"] = text;
      const offered = async (ms: number) => {
        nowMs = 2_000_000_000_000 + ms;
        return (await start("a:443")).take("a:443") !== undefined;
      };
      const times = [-1000, 0, 299_000, 300_000, -1_990_000_000_000];
      const seen: boolean[] = [];
      for (const ms of times) seen.push(await offered(ms));
      check.equal(
        seen,
        [false, true, true, false, false],
        "before, from, until, from its end, and with an unset clock",
      );
      nowMs = 2_000_000_000_000;
      for (const [hint, notAfterMs, seconds] of [
        [0, end, 86400],
        [0xffffffff, end, 86400],
        [7200, nowMs + 5500, 5],
      ]) {
        await keep({ ...byTicket, ticket: ticketOf(9, hint) }, notAfterMs, "1.2.3.4");
        const { lifetimeSeconds, session } = (await start("a:443")).take("a:443") ?? {};
        check.equal([lifetimeSeconds, session?.ticket?.lifetimeSeconds], [seconds, seconds], `a hint of ${hint}`);
      }
    },
  },
  {
    name: "text of stored records",
    run(check) {
      // Of every length, all bits set and none: what is decoded is what was encoded, and printable.
      for (const fill of [0, 0xff, 0x5a]) {
        for (const length of [0, 1, 2, 100, 246, 247]) {
          const record = new Uint8Array(length === 0 ? 30 : 78 + length).fill(fill);
          record[0] = 0x13;
          record[1] = 6;
          record[2] = length;
          const text = encodeRecord(record);
          check.equal(decodeRecord(text), record, `${record.length} bytes of ${fill}`);
          for (let i = 0; i < text.length; i++) {
            const code = text.charCodeAt(i);
            check.ok(code > 0x22 && code < 0x7e, `printable: ${code}`);
          }
        }
      }
      for (const text of [
        "",
        "#",
        "a",
        "~".repeat(200),
        " ".repeat(200),
        "ä".repeat(100),
        "}".repeat(200),
        "#".repeat(38),
      ]) {
        check.equal(decodeRecord(text), undefined, text.slice(0, 3));
      }
    },
  },
  {
    name: "a hello that asks for no ticket",
    run(check) {
      const given = {
        host: "gateway.test",
        random: new Uint8Array(32),
        sessionId: new Uint8Array(0),
        suites: [0xc02b],
      };
      const [asking, without] = [true, false].map((asksForTicket) => hex(clientHello({ ...given, asksForTicket })));
      check.equal(asking.includes("00230000"), true, "asked for");
      check.equal(without.includes("00230000"), false, "not asked for");
      check.equal(without.length, asking.length - 8, "four bytes less");
      const hello = record(22, serverHello({ extensions: announced }));
      check.equal(run(options(), hello), "certificate", "announced");
      check.equal(run(options({ asksForTicket: false }), hello), "alert 110", "announced all the same");
    },
  },
];

/** A message in two records. */
function halves(whole: Uint8Array): Uint8Array[] {
  return [record(22, whole.subarray(0, 7)), record(22, whole.subarray(7))];
}

/** All that a server sends in a full handshake, a message in a record. */
export function flight(leaf: Uint8Array): Uint8Array {
  return join(...messages(leaf).map((one) => record(22, one)), changeCipherSpec, finished);
}

/** What comes of a flight of which one byte is another. */
export function damaged(leaf: Uint8Array, at: number): string {
  const bytes = flight(leaf);
  bytes[at] ^= 1 << (at % 8);
  return run(options(), bytes);
}

/** What the readers have found after so many bytes. */
function prefix(parts: readonly Uint8Array[], length: number): string {
  const whole: string[] = [];
  let end = 0;
  for (const part of parts) {
    if (end + part.length > length) break;
    end += part.length;
    whole.push(hex(part));
  }
  return whole.join(" ") + (end < length ? " …" : "");
}
