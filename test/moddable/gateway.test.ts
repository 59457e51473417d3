import { describe, expect, test } from "@jest/globals";
import { Device, type DeviceOptions, IotHubError } from "../../src/index.js";
import { type Fault, faultKinds, type Gateway, type GatewayOptions, startGateway } from "../../tools/gateway/index.js";
import { cleanups } from "../support/cleanups.js";
import { makeRsaKeys, psk } from "../support/keys.js";
import { clock, createModdableHost, network, turn, until, useMachine } from "../support/moddable-machine.js";

useMachine();

const { privatePem: privateKey, publicPem: publicKey } = makeRsaKeys();
const devices = {
  products: { G8N9VAAAHB: { devices: { key: { psk }, sha1: { psk }, cert: { publicKey } } } },
};

async function gateway(options: GatewayOptions = {}): Promise<Gateway> {
  const g = await startGateway({ devices, ...options });
  cleanups.push(() => g.close());
  return g;
}

function device(url: string, changes: Partial<DeviceOptions> = {}): Device {
  const options = { productId: "G8N9VAAAHB", deviceName: "key", credential: { secret: psk }, url, ...changes };
  const d = new Device(options, createModdableHost());
  cleanups.push(() => d.close());
  return d;
}

describe.each([true, false])("with writableFirst %s", (writableFirst) => {
  test.each<[string, string, DeviceOptions["credential"]]>([
    ["a key, HMAC-SHA256", "key", { secret: psk }],
    ["a key, HMAC-SHA1", "sha1", { secret: psk, algorithm: "hmacsha1" }],
    ["a certificate's key, RSA-SHA256", "cert", { privateKey }],
  ])("%s is verified, whatever the payload, on one connection", async (_name, deviceName, credential) => {
    network.writableFirst = writableFirst;
    const g = await gateway();
    const d = device(g.url, { deviceName, credential });
    for (const payload of ["温度\0\u2028😀\ud800", { t: 21.5 }, Uint8Array.of(0, 128, 255), "", "x".repeat(16384)]) {
      const { requestId } = await d.publish({ topic: "data", payload, qos: 0 });
      expect(requestId).toMatch(/^[0-9a-f-]{36}$/);
    }
    expect(g.received.length).toBe(5);
    expect(g.counts.connections).toBe(1);
    expect(network.opened).toBe(1);
  });
});

/** What one publish without retries comes to. */
const faults: [Fault, string, string?][] = [
  [{ kind: "delay", ms: 1 }, "ok"],
  [{ kind: "delay", ms: 1, phase: "body" }, "ok"],
  [{ kind: "hang", phase: "connect" }, "TIMEOUT", "first-byte"],
  [{ kind: "hang", phase: "read" }, "TIMEOUT", "first-byte"],
  [{ kind: "hang", phase: "headers" }, "TIMEOUT", "first-byte"],
  [{ kind: "hang", phase: "body" }, "TIMEOUT", "read"],
  [{ kind: "reset", phase: "connect" }, "CONNECTION_RESET|CONNECTION_REFUSED"],
  [{ kind: "reset", phase: "read" }, "CONNECTION_RESET"],
  [{ kind: "reset", phase: "headers" }, "CONNECTION_RESET", "first-byte"],
  [{ kind: "reset", phase: "body" }, "CONNECTION_RESET", "read"],
  [{ kind: "close", phase: "connect" }, "CONNECTION_RESET"],
  [{ kind: "close", phase: "read" }, "CONNECTION_RESET"],
  [{ kind: "close", phase: "headers" }, "CONNECTION_RESET", "first-byte"],
  [{ kind: "close", phase: "body" }, "CONNECTION_RESET", "read"],
  [{ kind: "status", status: 503 }, "GATEWAY_REJECTED|HTTP_STATUS"],
  [{ kind: "status", status: 429 }, "GATEWAY_REJECTED|HTTP_STATUS"],
  [{ kind: "error", code: "InternalError" }, "GATEWAY_REJECTED"],
  [{ kind: "html" }, "HTTP_STATUS"],
  [{ kind: "empty" }, "RESPONSE_EMPTY"],
  [{ kind: "truncated" }, "CONNECTION_RESET", "read"],
  [{ kind: "malformed-json" }, "RESPONSE_NOT_JSON"],
  [{ kind: "content-type" }, "ok"],
  [{ kind: "too-large" }, "RESPONSE_TOO_LARGE"],
  [{ kind: "slow-drip", bytes: 20, intervalMs: 1 }, "ok"],
  [{ kind: "wrong-length", length: "less" }, "RESPONSE_NOT_JSON"],
  [{ kind: "wrong-length", length: "more" }, "TIMEOUT", "read"],
  [{ kind: "wrong-length", length: "negative" }, "RESPONSE_MALFORMED"],
  [{ kind: "wrong-length", length: "text" }, "RESPONSE_MALFORMED"],
  [{ kind: "wrong-length", length: "twice" }, "ok|RESPONSE_NOT_JSON|RESPONSE_MALFORMED"],
  [{ kind: "bad-chunk" }, "RESPONSE_MALFORMED"],
  [{ kind: "garbage" }, "RESPONSE_MALFORMED"],
  [{ kind: "interim" }, "ok"],
  [{ kind: "other-response" }, "ok"],
  [{ kind: "repeated" }, "ok"],
  [{ kind: "two-responses" }, "ok"],
  [{ kind: "early" }, "ok"],
  [{ kind: "early", status: 413, keepOpen: true }, "GATEWAY_REJECTED|HTTP_STATUS"],
  [{ kind: "half-open", afterwards: "ignore" }, "ok"],
  [{ kind: "half-open", afterwards: "close" }, "ok"],
  [{ kind: "half-open", afterwards: "reset" }, "ok"],
  [{ kind: "skew", seconds: 30 }, "ok"],
];

test("the table of faults is complete", () => {
  const covered = new Set(faults.map(([{ kind }]) => kind));
  expect(faultKinds.filter((kind) => !covered.has(kind) && !kind.startsWith("tls-"))).toEqual([]);
});

const rows = faults.map(([fault, codes, phase = ""]) => [fault, codes, phase] as const);
test.each(rows)("%j: %s %s, and the next publish gets through", async (fault, codes, phase) => {
  clock.stop();
  const g = await gateway();
  const d = device(g.url, { retry: false, rateLimit: false });
  const publish = async (hangs = false) => {
    const injected = g.counts.faults;
    let settled = false;
    const result = d.publish({ topic: "data", payload: { t: 21.5 }, qos: 1 }, { timeoutMs: 5000 }).then(
      ({ status }) => {
        settled = true;
        expect(status).toBe(200);
        return { code: "ok", phase: undefined };
      },
      (error) => {
        settled = true;
        expect(error).toBeInstanceOf(IotHubError);
        return error;
      },
    );
    if (!hangs) {
      await until(() => settled);
      return await result;
    }
    // The clock goes on only when the gateway has done what it was going to do and nothing more comes.
    await until(() => settled || g.counts.faults > injected || g.faults.pending === 0);
    for (let quiet = 0; !settled && quiet < 200; quiet++) await turn();
    for (let seconds = 0; !settled && seconds < 10; seconds++) await clock.advance(1000);
    expect(settled).toBe(true);
    return await result;
  };
  g.faults.next(fault);
  const result = await publish(codes === "TIMEOUT");
  expect(codes.split("|")).toContain(result.code);
  if (phase) expect(result.phase).toBe(phase);
  if (fault.kind === "half-open" && fault.afterwards === "ignore") {
    // A dead keep-alive connection can only be detected by the missing response.
    expect(await publish(true)).toMatchObject({ code: "TIMEOUT", phase: "first-byte" });
  }
  expect((await publish()).code).toBe("ok");
});
