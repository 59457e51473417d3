import { generateKeyPairSync } from "node:crypto";
import { afterEach, describe, expect, test } from "@jest/globals";
import { type Gateway, type GatewayOptions, startGateway } from "../../mocks/gateway/index.js";
import { message, productSecret, psk, send } from "./gateway-client.js";

const rsa = generateKeyPairSync("rsa", {
  modulusLength: 2048,
  publicKeyEncoding: { type: "spki", format: "pem" },
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
});

const open: Gateway[] = [];
afterEach(async () => {
  for (const gateway of open.splice(0)) await gateway.close();
});

async function start(options: GatewayOptions = {}): Promise<Gateway> {
  const gateway = await startGateway({
    devices: {
      products: {
        P1: {
          productSecret,
          devices: {
            dev1: { psk, topics: { extra: "publish", "P1/shared/x": "both", event: "subscribe" } },
            dev2: { publicKey: rsa.publicKey },
            dev3: { psk, algorithm: "hmacsha1" },
          },
        },
      },
    },
    ...options,
  });
  open.push(gateway);
  return gateway;
}

describe.each([false, true])("a message over %s (https)", (https) => {
  test("is verified, understood and kept", async () => {
    const gateway = await start({ https });
    const reply = await send(gateway, { body: message({ Payload: "温度 25 °C 😀" }) });
    expect(reply.status).toBe(200);
    expect(reply.headers["content-type"]).toMatch("application/json");
    expect(Math.abs(Date.parse(reply.headers.date as string) - Date.now())).toBeLessThan(60_000);
    const [entry] = gateway.received;
    expect(reply.json).toEqual({ Response: { RequestId: entry.requestId } });
    expect(entry).toMatchObject({ accepted: true, verifiedBy: "psk", algorithm: "hmacsha256", topic: "P1/dev1/data" });
    expect(entry).toMatchObject({ productId: "P1", deviceName: "dev1", qos: 1, status: 200 });
    expect(entry.payload?.toString()).toBe("温度 25 °C 😀");
    expect(gateway.counts).toMatchObject({ connections: 1, requests: 1, accepted: 1, tlsHandshakes: https ? 1 : 0 });
    expect(entry.connection.tls !== undefined).toBe(https);
  });
});
