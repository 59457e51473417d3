/** The jobs that are measured, as scripts for the engine, and what their results have to be. */
import { createHash, createHmac, createPrivateKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { bundle } from "./bundle.mjs";
import { OURS, peers, rsaPeers } from "./peers.mjs";

export const SECRET = "MTIzNDU2Nzg5MDEyMzQ1Ng==";
const IDENTITY = { productId: "ABCDEFGHIJ", deviceName: "sensor-1" };
const MESSAGE = { topic: "data", payload: { temperature: 21.5, humidity: 44, ts: 1764000000 }, qos: 1 };
const REQUEST = { host: "ap-guangzhou.gateway.tencentdevices.com", path: "/device/publish" };
const TIME = { timestampSeconds: 1764000000, nonce: 1234567890 };

/** The body of a publish, and the string to sign that belongs to it. */
const BODY =
  `{"ProductId":"${IDENTITY.productId}","DeviceName":"${IDENTITY.deviceName}",` +
  `"TopicName":"${IDENTITY.productId}/${IDENTITY.deviceName}/${MESSAGE.topic}",` +
  `"Payload":${JSON.stringify(JSON.stringify(MESSAGE.payload))},"Qos":1}`;
const sha256 = (text) => createHash("sha256").update(text).digest("hex");
const TEXT = [
  "POST",
  REQUEST.host,
  REQUEST.path,
  "",
  "hmacsha256",
  TIME.timestampSeconds,
  TIME.nonce,
  sha256(BODY),
].join("\n");
const EMOJI = "21.5 °C 😀";
const hmac = createHmac("sha256", SECRET).update(TEXT).digest();

const keys = JSON.parse(readFileSync(new URL("../test/vectors/peers.json", import.meta.url), "utf8")).rsa_test_key;
export const PEM = keys["rsa2048_pkcs1.pem"];
const RSA_SIGNATURE = sign("sha256", Buffer.from(TEXT), createPrivateKey(PEM)).toString("hex");

/** What is hashed, in bytes, for the benchmark's page. */
export const sizes = { key: SECRET.length, text: TEXT.length, body: BODY.length, bulk: 4096 };

/** Some libraries ask for these; none is used by what is measured. */
const PRELUDE = "var window = globalThis, self = globalThis;";

const text = JSON.stringify;
/** The bytes of ASCII text, made without a trace on the heap but the bytes. */
const bytes = (value) => `new Uint8Array(ArrayBuffer.fromString(${text(value)}))`;

const setUp = `
  var sign = peer.signer(${bytes(SECRET)});
  var message = peer.input(${bytes(TEXT)}, ${text(TEXT)});
  var body = peer.input(${bytes(BODY)}, ${text(BODY)});
  var job = function () { sign(message); peer.digest(body); };
`;
const wrong = (what) => `throw new Error(${text(`${what} is wrong`)});`;
const checks = `
  if (peer.code(sign(message)) !== ${text(hmac.toString("hex"))}) ${wrong("the HMAC")}
  if (peer.digest(body) !== ${text(sha256(BODY))}) ${wrong("the hash")}
`;
const scope = (code) => `(function () {\n${code}\n})();\n`;

const library = async (code, name = "peer", stubs = {}) => `${PRELUDE}\n${await bundle(code, { name, stubs })}`;

/** The library as it is measured, and as firmware would carry it. */
export async function libraries(name) {
  return { script: await library(peers[name]), minified: await bundle(peers[name], { minify: true, isForXs: true }) };
}

export const count = scope(`${setUp}${checks} job(); print(measure(job));`);
export const garbage = scope(`${setUp} job(); print(garbage(job));`);
/** Nanoseconds of the fastest of some runs. */
export const time = scope(
  `${setUp} var best = Infinity; for (var i = 0; i < 200; i++) best = Math.min(best, measure(job)); print(best);`,
);
/** Three jobs, as on a device with little memory. */
export const small = scope(`${setUp} job(); job(); job();`);
/** Whether a text that XS keeps in its own way is hashed as everywhere else. */
export const emoji = scope(`print(!peer.textDigest || peer.textDigest(${text(EMOJI)}) === ${text(sha256(EMOJI))});`);
export const bulk = scope(`
    var bytes = new Uint8Array(${sizes.bulk});
    for (var i = 0; i < bytes.length; i++) bytes[i] = i * 7;
    var body = peer.input(bytes, String.fromCharCode.apply(null, bytes));
    peer.digest(body); print(measure(function () { peer.digest(body); }));`);

/** 10 000 signatures in a small heap, after which no more is in use than after the first ones. */
export const leak = scope(`${setUp}
    for (var i = 0; i < 10; i++) job();
    var before = used();
    for (i = 0; i < 10000; i++) job();
    print(used() - before);${checks}`);

const whole = `
  import { createSigner, signRequest } from "../src/signing/signer.js";
  import { publishBody } from "../src/message.js";
  export { createSigner, signRequest, publishBody };`;

/** A message's body, and the request signed: everything between a reading and the socket. */
export const requestLibrary = () => library(whole, "core");
export const request = scope(`
    var signer = core.createSigner({ secret: ${text(SECRET)} });
    var identity = ${JSON.stringify(IDENTITY)}, message = ${JSON.stringify(MESSAGE)}, time = ${JSON.stringify(TIME)};
    var sign = function (body) {
      return core.signRequest({ host: ${text(REQUEST.host)}, path: ${text(REQUEST.path)}, body: body }, signer, time);
    };
    var job = function () { return sign(core.publishBody(identity, message).body); };
    if (job().signature !== ${text(hmac.toString("base64"))}) ${wrong("the signature")}
    job();
    var body = core.publishBody(identity, message).body;
    print(measure(job));
    print(measure(function () { core.publishBody(identity, message); }));
    print(measure(function () { sign(body); }));`);

const ID = "f4da4f1f-d72e-40f1-8c7a-2e7b6c1a0d11";

/** A host whose gateway accepts everything at once. RequestIds differ, since a repeated one would not be believed. */
const host = `
    var requests = 0, timers = 0;
    var headers = { "content-type": "application/json" };
    var response = '{"Response":{"RequestId":"${ID.slice(0, -2)}';
    var host = {
      http: {
        send: function () {
          var body = new Uint8Array(ArrayBuffer.fromString(response + (10 + requests++ % 80) + '"}}'));
          return Promise.resolve({ status: 200, headers: headers, body: body });
        },
        close: function () {},
      },
      clock: { nowMs: function () { return ${TIME.timestampSeconds * 1000}; }, monotonicMs: function () { return 5; } },
      random: { bytes: function (length) { return new Uint8Array(length); } },
      timer: { set: function () { return ++timers; }, clear: function () {} },
    };`;
const options = `{
      productId: ${text(IDENTITY.productId)},
      deviceName: ${text(IDENTITY.deviceName)},
      credential: { secret: ${text(SECRET)} },
      rateLimit: false,
    }`;

/** A device is made, one message is published, and the response is read. */
export const deviceLibrary = () =>
  library(
    `
    export { Device } from "../src/device.js";
    export { createMemoryStorage } from "../src/storage/memory.js";`,
    "core",
  );
export const device = scope(`${host}
    new core.Device(${options.replace("rateLimit: false,", "")}, host).publish(${text(MESSAGE)})
      .then(function (result) { print(result.requestId); });`);

/** Prints what `work` costs once it has been done twice: instructions, then bytes taken. */
const third = (work, before = "Promise.resolve()") => `
    var work = function () { return ${work}; };
    var once = function (left) {
      return ${before}.then(function () {
        var bytes = taken(), start = ticks();
        return work().then(function () {
          start = ticks() - start;
          bytes = taken() - bytes;
          if (left > 0) return once(left - 1);
          print(start); print(bytes);
        });
      });
    };
    once(2).catch(function (error) { print(error.code + error.message); });`;

/** A publish of a device that has published before. */
export const publish = scope(`${host}
    var device = new core.Device(${options}, host);
    ${third(`device.publish(${text(MESSAGE)})`)}`);

/** The same with a hash that costs nothing: what is left is the library's. */
export const publishNative = scope(`${host}
    var hash = new Uint8Array(32).fill(7);
    host.digest = { sha256: function () { return hash; } };
    var device = new core.Device(${options}, host);
    ${third(`device.publish(${text(MESSAGE)})`)}`);

/** The SDK's `crypt`, with a hash that costs nothing but is right for what is asked at the start. */
export const coldLibrary = async () =>
  library(
    `
    export { Device } from "../src/device.js";
    export { createMemoryStorage } from "../src/storage/memory.js";
    export { createDigest } from "../host/moddable/digest.js";`,
    "core",
    { crypt: cryptStub },
  );
const cryptStub = `
  export class Digest {
    reset() { this.parts = 0; }
    write(part) { this.parts += part.byteLength; }
    close() { return (globalThis.known[this.parts] ?? globalThis.known[0]).slice().buffer; }
  }`;
const knownHashes = `
    globalThis.known = {};
    ${[0, 55, 56, 64, 200]
      .map((length) => {
        const input = "a".repeat(length);
        return `known[${length}] = new Uint8Array([${[...createHash("sha256").update(input).digest()]}]);`;
      })
      .join("\n    ")}`;
export const cold = scope(`${knownHashes}
    ${host}
    var start = ticks();
    host.digest = core.createDigest();
    if (host.digest === undefined) ${wrong("the digest")}
    new core.Device(${options}, host).publish(${text(MESSAGE)}).then(function () { print(ticks() - start); });`);

/**
 * What the example for deep sleep does when it wakes, after it has done so before: a device with an outbox is made, a
 * reading stored, and delivered. The host's own work, the TLS handshake above all, comes on top.
 */
export const wake = scope(`${knownHashes}
    ${host}
    host.clock.synchronized = true;
    host.storage = core.createMemoryStorage();
    var wake = function () {
      var start = ticks();
      host.digest = core.createDigest();
      var options = { outbox: { flushIntervalMs: 0, batch: {} }, heartbeat: { intervalMs: 3600000, topic: "event" } };
      var device = new core.Device(Object.assign(${options}, options), host);
      return device.enqueue({ topic: "data", payload: { temperature: 21.5 } })
        .then(function () { return device.flush(); })
        .then(function (result) {
          start = ticks() - start;
          device.close();
          if (result.remaining !== 0) ${wrong("what is left")}
          return start;
        });
    };
    wake().then(wake).then(print, function (error) { print(error.code + error.message); });`);

const READING = { topic: "data", payload: text({ temperature: 21.5, humidity: 44.25, n: 12 }) };
/** What an outbox costs: a reading stored; opened with one reading; one delivered, beside what its publish costs. */
export const enqueue = scope(`${host}
    host.storage = core.createMemoryStorage();
    var device = new core.Device(Object.assign(${options}, { outbox: { flushIntervalMs: 0 } }), host);
    ${third(`device.enqueue(${text(READING)})`)}`);
export const open = scope(`${host}
    host.storage = core.createMemoryStorage();
    var make = function () { return new core.Device(Object.assign(${options}, { outbox: { flushIntervalMs: 0 } }), host); };
    var ahead = function (count) { return count ? make().enqueue(${text(READING)}).then(function () { return ahead(count - 1); }) : undefined; };
    var next;
    Promise.resolve(ahead(1)).then(function () {
      ${third("next.outbox.open()", "Promise.resolve().then(function () { next = make(); })")}
    });`);
export const flush = scope(`${host}
    host.storage = core.createMemoryStorage();
    var device = new core.Device(Object.assign(${options}, { outbox: { flushIntervalMs: 0 } }), host);
    ${third("device.flush()", `device.enqueue(${text(READING)})`)}`);

/** Readings that {@link readings} delivers. */
export const READINGS = 60;
/** Delivers as many small readings from an outbox with these options. */
const readings = (outbox) =>
  scope(`${host}
    host.clock.synchronized = true;
    host.storage = core.createMemoryStorage();
    var outbox = Object.assign({ flushIntervalMs: 0 }, ${outbox});
    var device = new core.Device(Object.assign(${options}, { outbox: outbox }), host);
    var reading = { topic: "data", payload: { temperature: 21.5 } };
    var ahead = function (left) { return left ? device.enqueue(reading).then(function () { return ahead(left - 1); }) : undefined; };
    ${third("device.flush()", `Promise.resolve(ahead(${READINGS}))`)}`);
export const single = readings("{}");
export const batch = readings("{ batch: {} }");
export const largeBatch = readings(`{ batch: { maxReadings: ${READINGS} } }`);
/** One of them, enqueued: stored with its time, and sent before it is stored. */
const enqueuedWith = (outbox) =>
  scope(`${host}
    host.clock.synchronized = true;
    host.storage = core.createMemoryStorage();
    var outbox = Object.assign({ flushIntervalMs: 0 }, ${outbox});
    var device = new core.Device(Object.assign(${options}, { outbox: outbox }), host);
    ${third('device.enqueue({ topic: "data", payload: { temperature: 21.5 } })')}`);
export const enqueueSingle = enqueuedWith("{}");
export const enqueueDated = enqueuedWith("{ batch: {} }");
export const sentFirst = enqueuedWith("{ batch: {}, storeAfterMs: 5000 }");

/** `stats()` of a device with an outbox, after a publish. */
export const stats = scope(`${host}
    host.storage = core.createMemoryStorage();
    var device = new core.Device(Object.assign(${options}, { outbox: { flushIntervalMs: 0 } }), host);
    device.publish(${text(MESSAGE)}).then(function () {
      device.stats();
      print(measure(function () { device.stats(); }));
    });`);

/** An RSA signature: its cost, and that of the key's preparation. */
export const rsaLibrary = (name) => library(rsaPeers[name]);
export const rsa = scope(`
    var sign, result;
    var prepare = measure(function () { sign = peer.signer(${text(PEM)}); });
    print(measure(function () { result = sign(${text(TEXT)}); }));
    print(prepare);
    if (result !== ${text(RSA_SIGNATURE)}) ${wrong("the signature")}`);

/** Firmware that signs with a secret and nothing else. */
export const core = () =>
  bundle(`export * from "../src/bare.js";`, { minify: true, name: "TencentIoTHub", isForXs: true });

/** For the measurement on Node: the bundle's module and its inputs. */
export function onNode(library) {
  const peer = new Function(`${library}; return peer;`)();
  const sign = peer.signer(new Uint8Array(Buffer.from(SECRET)));
  const [message, body] = [TEXT, BODY].map((value) => peer.input(new Uint8Array(Buffer.from(value)), value));
  return () => {
    sign(message);
    peer.digest(body);
  };
}

/** The native limit. */
export function nodeCrypto() {
  createHmac("sha256", SECRET).update(TEXT).digest();
  createHash("sha256").update(BODY).digest("hex");
}

/** For the app on the simulator. */
export const simulatorInput = () => ({
  secret: SECRET,
  text: TEXT,
  body: BODY,
  pem: PEM,
  hmac: hmac.toString("base64"),
  hash: sha256(BODY),
  signature: RSA_SIGNATURE,
});

export { OURS };
