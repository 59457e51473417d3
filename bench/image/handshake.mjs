/**
 * What a recorded handshake costs on an image for an ESP32: from a client that is made to its Finished, or the server's
 * where a session is resumed. Runs in the image; `replays` is what the server has sent.
 */
import { print, ticks } from "counters";
import replays from "replays";
import { Handshake } from "../../host/moddable/tls/handshake.js";
import { sdkPrimitives } from "../../host/moddable/tls/primitives.js";
import { RecordReader } from "../../host/moddable/tls/records.js";
import { TlsSession } from "../../host/moddable/tls/session.js";
import { hex } from "../../src/crypto/hex.js";

/** Instructions within our checks, and within the arithmetic that they call for. */
const counts = { guard: 0, arithmetic: 0 };

function counted(name, method) {
  return function (...parameters) {
    const start = ticks();
    try {
      return method.apply(this, parameters);
    } finally {
      counts[name] += ticks() - start;
    }
  };
}

for (const name of ["record", "next"]) Handshake.prototype[name] = counted("guard", Handshake.prototype[name]);
const primitives = {
  hash: sdkPrimitives.hash,
  rsaPublic: counted("arithmetic", sdkPrimitives.rsaPublic),
  ecdsaVerify: counted("arithmetic", sdkPrimitives.ecdsaVerify),
};

const bytesOf = (text) => Uint8Array.fromHex(text);

for (const { name, nowMs, anchor, offered, received, sent } of replays) {
  const steps = received.map(bytesOf);
  const anchors = [bytesOf(anchor)];
  const session = offered && {
    ...offered,
    id: bytesOf(offered.id),
    ticket: offered.ticket === "" ? undefined : { bytes: bytesOf(offered.ticket), lifetimeSeconds: 0 },
    secret: bytesOf(offered.secret),
  };
  const records = [];
  const sink = {
    writable: 0,
    write(record) {
      records.push(record);
      return 2048;
    },
  };
  let draws = 0;
  const random = { bytes: (length) => new Uint8Array(length).fill(0x11 + draws++) };
  counts.guard = counts.arithmetic = 0;
  const start = ticks();
  const handshake = new Handshake({
    host: "localhost",
    trust: { anchors, pins: [], acceptAnything: false, nowMs: () => nowMs },
    primitives,
    clientRandom: random.bytes(32),
    offered: session,
  });
  const client = new TlsSession(handshake, { random });
  client.proceed(sink);
  const reader = new RecordReader();
  for (const bytes of steps) {
    if (handshake.state === "established") break;
    reader.push(bytes);
    for (;;) {
      const record = reader.next();
      if (record === undefined) break;
      client.take(record);
      reader.isEncrypted = handshake.isEncrypted;
      if (client.isOurTurn) client.proceed(sink);
    }
  }
  const total = ticks() - start;
  if (handshake.state !== "established") throw new Error(`${name}: ${handshake.state}`);
  // The recorded client has sent a request besides.
  if (!sent.join("").startsWith(records.map(hex).join(""))) throw new Error(`${name}: sends other bytes`);
  print(`${name}: ${total} ${counts.guard} ${counts.arithmetic}`);
}
