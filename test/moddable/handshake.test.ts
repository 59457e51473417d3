/** What a handshake is judged by, with Node's cryptography: certificates, key exchanges, requests for a certificate. */

import { sign } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import { TlsFault } from "../../host/moddable/tls/alerts.js";
import { Handshake, type HandshakeOptions } from "../../host/moddable/tls/handshake.js";
import { Rejection } from "../../host/moddable/tls/rejection.js";
import { nodePrimitives } from "../support/node-primitives.js";
import {
  certificateRequest,
  certificates,
  changeCipherSpec,
  data,
  type Ending,
  ecdhParameters,
  finished,
  join,
  keyExchange,
  message,
  POINT,
  RANGED,
  record,
  run,
  serverHello,
  serverHelloDone,
} from "../support/tls-wire.js";
import { Authority, dnsName, extensions, type Key, makeKey } from "../support/x509.js";

const root = new Authority("Root");
const clientRandom = new Uint8Array(32).fill(1);
const serverRandom = new Uint8Array(32).fill(2);
const ECDSA = 0xc02b;
const RSA = 0xc02f;
const STATIC_RSA = 0x003c;

const keys = { ec: makeKey(), rsa: makeKey(2048) };
const leafOf = (key: Key, usage = 0x80) =>
  root.leaf(
    [dnsName("gateway.test")],
    { extensions: [extensions.keyUsage(usage), extensions.subjectAltName(dnsName("gateway.test"))] },
    key,
  );
const leaves = { ec: leafOf(keys.ec), rsa: leafOf(keys.rsa) };

const options = (changes: Partial<HandshakeOptions> = {}): HandshakeOptions => ({
  host: "gateway.test",
  trust: { anchors: [root.root()], pins: [], acceptAnything: false, nowMs: () => Date.UTC(2026, 10, 28) },
  primitives: nodePrimitives,
  clientRandom,
  ...changes,
});

/** A key exchange with a real signature. */
function signed(key: Key, algorithm: readonly [number, number], parameters = ecdhParameters(), hash?: string) {
  const name = hash ?? ["sha1", "", "sha256", "sha384", "sha512"][algorithm[0] - 2];
  const signature = sign(name, join(clientRandom, serverRandom, parameters), key.privateKey);
  return keyExchange(parameters, algorithm, signature);
}

const type = (suite: number) => (suite === ECDSA ? "ec" : "rsa");
const hello = (suite: number) => serverHello({ suite, random: serverRandom });
const through = (suite: number, exchange: Uint8Array, leaf = leaves[type(suite)]): Ending =>
  run(options(), record(22, hello(suite), certificates(leaf), exchange, serverHelloDone));

describe("the key exchange", () => {
  test.each([
    [ECDSA, 4],
    [ECDSA, 5],
    [ECDSA, 6],
    [RSA, 4],
    [RSA, 5],
    [RSA, 6],
  ])("of %d is accepted with every offered hash: %d", (suite, hash) => {
    const kind = type(suite);
    const algorithm = [hash, kind === "ec" ? 3 : 1] as const;
    expect(through(suite, signed(keys[kind], algorithm))).toBe("change-cipher");
    // Signed by another key, or with another hash than it says.
    expect(through(suite, signed(kind === "ec" ? makeKey() : makeKey(2048), algorithm))).toBe("alert 51");
    const another = hash === 4 ? "sha384" : "sha256";
    expect(through(suite, signed(keys[kind], algorithm, ecdhParameters(), another))).toBe("alert 51");
  });

  const good = signed(keys.ec, [4, 3]).subarray(4);
  const otherPoint = Uint8Array.from(POINT);
  otherPoint[64] ^= 1;
  test.each<[string, Uint8Array, Ending]>([
    ["without a signature", message(12, ecdhParameters()), "alert 50"],
    ["with SHA-1", signed(keys.ec, [2, 3]), "alert 47"],
    ["with MD5", keyExchange(ecdhParameters(), [1, 3]), "alert 47"],
    ["with RSA by a key of ECDSA", keyExchange(ecdhParameters(), [4, 1]), "alert 47"],
    ["with RSA-PSS", keyExchange(ecdhParameters(), [8, 4]), "alert 47"],
    ["with Ed25519", keyExchange(ecdhParameters(), [8, 7]), "alert 47"],
    ["with no algorithm", keyExchange(ecdhParameters(), [0, 0]), "alert 47"],
    ["with numbers of 0", keyExchange(ecdhParameters(), [4, 3], [0x30, 6, 2, 1, 0, 2, 1, 0]), "alert 51"],
    ["with numbers that sign nothing", keyExchange(ecdhParameters(), [4, 3], RANGED), "alert 51"],
    ["on another curve", signed(keys.ec, [4, 3], ecdhParameters(POINT, 24)), "alert 47"],
    ["on a curve of the server's making", signed(keys.ec, [4, 3], ecdhParameters(POINT, 23, 1)), "alert 47"],
    ["with a compressed point", signed(keys.ec, [4, 3], ecdhParameters([2, ...POINT.slice(1, 33)])), "alert 50"],
    ["with a point beside the curve", signed(keys.ec, [4, 3], ecdhParameters(otherPoint)), "alert 47"],
    ["with the point of zeros", signed(keys.ec, [4, 3], ecdhParameters([4, ...new Uint8Array(64)])), "alert 47"],
    ["with a byte after its end", message(12, good, [0]), "alert 50"],
    ["that is cut off", message(12, good.subarray(0, -1)), "alert 50"],
    ["of nothing", message(12), "alert 50"],
  ])("%s is rejected", (_name, exchange, ending) => {
    expect(through(ECDSA, exchange)).toBe(ending);
  });

  test("is bound to the randoms of both sides", () => {
    const flight = record(22, hello(ECDSA), certificates(leaves.ec), signed(keys.ec, [4, 3]), serverHelloDone);
    expect(run(options(), flight)).toBe("change-cipher");
    expect(run(options({ clientRandom: new Uint8Array(32) }), flight)).toBe("alert 51");
    const otherHello = serverHello({ suite: ECDSA });
    const rest = [certificates(leaves.ec), signed(keys.ec, [4, 3]), serverHelloDone];
    expect(run(options(), record(22, otherHello, ...rest))).toBe("alert 51");
  });

  test.each([
    [ECDSA, "rsa" as const],
    [RSA, "ec" as const],
  ])("of %d rejects a certificate of %s", (suite, other) => {
    const algorithm = other === "ec" ? ([4, 3] as const) : ([4, 1] as const);
    expect(through(suite, signed(keys[other], algorithm), leaves[other])).toBe("alert 47");
  });

  test("rejects a key that must not sign", () => {
    expect(through(RSA, signed(keys.rsa, [4, 1]), leafOf(keys.rsa, 0x20))).toBe("alert 43");
  });
});

describe("static RSA", () => {
  const flight = (leaf: Uint8Array, ...more: Uint8Array[]) =>
    record(22, hello(STATIC_RSA), certificates(leaf), ...more, serverHelloDone);
  const allowed = options({ allowStaticRsaAndCbc: true });

  test("is accepted if enabled, with a key for encryption, and without ServerKeyExchange", () => {
    expect(run(options(), flight(leafOf(keys.rsa, 0x20)))).toBe("alert 47");
    expect(run(allowed, flight(leafOf(keys.rsa, 0x20)))).toBe("change-cipher");
    expect(run(allowed, flight(leafOf(keys.rsa, 0x80)))).toBe("alert 43");
    expect(run(allowed, flight(leafOf(keys.rsa, 0x20), signed(keys.rsa, [4, 1])))).toBe("alert 10");
    expect(run(allowed, flight(leafOf(keys.ec, 0x20)))).toBe("alert 47");
  });

  test("permits CBC padding in Finished, which AES-GCM does not", () => {
    const cbc = join(flight(leafOf(keys.rsa, 0x20)), changeCipherSpec, record(22, new Uint8Array(80)));
    expect(run(allowed, cbc)).toBe("established");
    const gcm = (bytes: number) =>
      run(
        allowed,
        join(
          record(22, hello(ECDSA), certificates(leaves.ec), signed(keys.ec, [4, 3]), serverHelloDone),
          changeCipherSpec,
          record(22, new Uint8Array(bytes)),
        ),
      );
    expect([39, 40, 41, 80].map(gcm)).toEqual(["alert 10", "established", "alert 10", "alert 10"]);
  });
});

describe("certificates", () => {
  const flight = (list: Uint8Array) => run(options(), record(22, hello(ECDSA), list));

  test("without a path to a trust anchor are rejected with the matching alert", () => {
    const stranger = new Authority("Stranger").leaf();
    expect(flight(certificates(stranger))).toBe("alert 48");
    expect(flight(certificates())).toBe("alert 42");
    expect(flight(certificates(leaves.ec))).toBe("key-exchange");
  });

  test.each<[string, Uint8Array]>([
    ["no list", message(11)],
    ["a list that is longer than the message", message(11, [0, 0, 1])],
    ["a list that is shorter than the message", message(11, [0, 0, 0, 0])],
    ["a length that is cut off", message(11, [0, 0, 2, 0, 0])],
    ["a certificate that is cut off", message(11, [0, 0, 5, 0, 0, 9, 1, 2])],
  ])("%s is malformed", (_name, list) => {
    expect(flight(list)).toBe("alert 50");
  });
});

describe("a request for a certificate", () => {
  function taken(request: Uint8Array): boolean | undefined | string {
    const handshake = new Handshake(options());
    const flight = [hello(ECDSA), certificates(leaves.ec), signed(keys.ec, [4, 3]), request];
    try {
      handshake.record(record(22, ...flight));
      while (handshake.next() !== undefined);
    } catch (error) {
      return `alert ${(error as TlsFault).alert}`;
    }
    return handshake.takesCertificate;
  }

  test.each<[string, boolean | string, Uint8Array]>([
    ["for RSA with SHA-256", true, certificateRequest()],
    ["for much, and that", true, certificateRequest([64, 1, 2], [8, 4, 6, 1, 4, 1], [0, 2, 0x30, 0])],
    ["for ECDSA", false, certificateRequest([64], [4, 1])],
    ["without SHA-256", false, certificateRequest([1], [5, 1, 4, 3])],
    ["for nothing", "alert 50", certificateRequest([], [])],
    ["without authorities", "alert 50", message(13, [1, 1, 0, 2, 4, 1])],
    ["with a byte more", "alert 50", message(13, [1, 1, 0, 2, 4, 1, 0, 0, 0])],
    ["that is empty", "alert 50", message(13)],
  ])("%s: %p", (_name, expected, request) => {
    expect(taken(request)).toBe(expected);
  });

  test("none: undefined", () => {
    expect(taken(serverHelloDone)).toBeUndefined();
  });
});

describe("records out of order", () => {
  const full = [
    record(22, hello(ECDSA)),
    record(22, certificates(leaves.ec)),
    record(22, signed(keys.ec, [4, 3])),
    record(22, serverHelloDone),
    changeCipherSpec,
    finished,
  ];
  const ending = (...records: readonly Uint8Array[]) => run(options(), join(...records));

  test("a missing, repeated or swapped record ends the handshake", () => {
    expect(ending(...full)).toBe("established");
    for (const i of full.keys()) {
      expect(ending(...full.slice(0, i), ...full.slice(i + 1), data)).toBe("alert 10");
      const twice = ending(...full.slice(0, i + 1), ...full.slice(i));
      expect(twice).toBe(i === 5 ? "alert 100" : "alert 10");
      if (i === 5) continue;
      const swapped = [...full.slice(0, i), full[i + 1], full[i], ...full.slice(i + 2)];
      expect(ending(...swapped)).toBe("alert 10");
    }
  });

  test.each<[string, Ending, Uint8Array[]]>([
    ["data before the handshake", "alert 10", [data]],
    ["data instead of Finished", "alert 10", [...full.slice(0, 5), data]],
    ["ChangeCipherSpec before keys were agreed on", "alert 10", [full[0], changeCipherSpec]],
    ["an empty record", "alert 50", [record(22)]],
    ["ServerHelloDone with contents", "alert 50", [...full.slice(0, 3), record(22, message(14, [1]))]],
    ["ChangeCipherSpec with other contents", "alert 50", [...full.slice(0, 4), record(20, [2])]],
    ["ChangeCipherSpec that is longer", "alert 50", [...full.slice(0, 4), record(20, [1, 1])]],
    ["a renegotiation", "alert 100", [...full, record(22, new Uint8Array(28))]],
    ["ChangeCipherSpec after the handshake", "alert 10", [...full, changeCipherSpec]],
    ["an unknown message", "alert 10", [record(22, message(99))]],
    ["a HelloRequest", "alert 10", [record(22, message(0))]],
    ["a ticket that was not announced", "alert 10", [...full.slice(0, 4), record(22, message(4, [0, 0]))]],
  ])("%s: %s", (_name, expected, records) => {
    expect(ending(...records)).toBe(expected);
  });

  test("error messages have at most 120 characters, and no text of the peer", () => {
    const messages: string[] = [];
    for (const bytes of [[99], [2, 0, 0], ...full.map((part) => [...part.subarray(5)])]) {
      for (const i of Array.from({ length: 64 }, (_, i) => i)) {
        const handshake = new Handshake(options());
        try {
          handshake.record(record(22, message(2, new Uint8Array(i)), bytes));
          while (handshake.next() !== undefined);
        } catch (error) {
          expect(error instanceof TlsFault || error instanceof Rejection).toBe(true);
          messages.push((error as Error).message);
        }
      }
    }
    expect(messages.length).toBeGreaterThan(100);
    expect(messages.filter((text) => text.length > 120)).toEqual([]);
  });
});
