import { generateKeyPairSync } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { afterEach, describe, expect, test } from "@jest/globals";
import { gatewayCodeHints } from "../../tools/cli/failure.js";
import {
  type DeviceDescription,
  type DevicesDescription,
  type Gateway,
  type ProductDescription,
  parseFault,
  responseCodes,
  startGateway,
  unpublishedCodes,
} from "../../tools/gateway/index.js";
import { type Call, message, send } from "../support/gateway-client.js";
import { productSecret, psk } from "../support/keys.js";

const { iotcloud, common } = JSON.parse(readFileSync(new URL("published-codes.json", import.meta.url), "utf8"));
const published = new Set<string>([...iotcloud, ...common]);
const rsa = generateKeyPairSync("rsa", {
  modulusLength: 2048,
  publicKeyEncoding: { type: "spki", format: "pem" },
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
});

const open: Gateway[] = [];
afterEach(async () => {
  for (const gateway of open.splice(0)) await gateway.close();
});

async function start(
  device: Partial<DeviceDescription> = {},
  product: ProductDescription = {},
  rest: Partial<DevicesDescription> = {},
): Promise<Gateway> {
  const devices = { dev1: { psk, ...device }, dev2: { publicKey: rsa.publicKey } };
  const gateway = await startGateway({
    devices: { products: { P1: { productSecret, devices, ...product }, P2: { devices } }, ...rest },
  });
  open.push(gateway);
  return gateway;
}

const register: Call = {
  path: "/device/register",
  body: JSON.stringify({ ProductId: "P1", DeviceName: "new1" }),
  secret: productSecret,
};
const rsaCall: Call = {
  algorithm: "rsa-sha256",
  privateKey: rsa.privateKey,
  body: message({ DeviceName: "dev2", TopicName: "P1/dev2/data" }),
};

test("the gateway sends only published codes, except for those listed with a reason", () => {
  const invented = responseCodes.filter((code) => !published.has(code));
  expect(invented.sort()).toEqual(Object.keys(unpublishedCodes).sort());
  for (const reason of Object.values(unpublishedCodes)) expect(reason).toMatch(/^[A-Z].{40,}\.$/);
});

test("every code in the gateway's sources is in its table", () => {
  const folder = new URL("../../tools/gateway/", import.meta.url);
  const groups = new Set([...published].map((code) => code.split(".")[0]));
  const literals = new Set<string>();
  for (const name of readdirSync(folder)) {
    const text = readFileSync(new URL(name, folder), "utf8");
    for (const [, code, group] of text.matchAll(/"(([A-Z][A-Za-z]+)(?:\.[A-Za-z]+)?)"/g)) {
      if (groups.has(group)) literals.add(code);
    }
  }
  expect(literals.size).toBeGreaterThan(20);
  expect([...literals].filter((code) => !(responseCodes as readonly string[]).includes(code))).toEqual([]);
});

test("the CLI has hints only for published codes and the retired API's number", () => {
  const codes = Object.keys(gatewayCodeHints);
  expect(codes.filter((code) => !published.has(code))).toEqual(["1010"]);
  const without = responseCodes.filter((code) => !codes.includes(code));
  expect(without.sort()).toEqual([
    "AuthFailure.NonceReused",
    "InvalidParameterValue.CACertNotMatch",
    "UnsupportedProtocol",
  ]);
});

describe("state in the devices file", () => {
  test.each<[string, Parameters<typeof start>, Call, string]>([
    ["account in arrears", [{}, {}, { account: "isolated" }], {}, "FailedOperation.AccountIsolated"],
    [
      "account in arrears, registration",
      [{}, {}, { account: "isolated" }],
      register,
      "FailedOperation.AccountIsolated",
    ],
    ["product switched off", [{}, { state: "forbidden" }], {}, "UnauthorizedOperation.ProductIsForbidden"],
    [
      "product switched off, registration",
      [{}, { state: "forbidden" }],
      register,
      "UnauthorizedOperation.ProductIsForbidden",
    ],
    ["device disabled", [{ state: "disabled" }], {}, "FailedOperation.DeviceAlreadyDisabled"],
    ["device not enabled", [{ state: "notEnabled" }], {}, "UnauthorizedOperation.DeviceIsNotEnabled"],
    ["topic without a policy", [{ topics: { data: "none" } }], {}, "ResourceNotFound.TopicPolicyNotExist"],
    ["topic to subscribe to only", [{ topics: { data: "subscribe" } }], {}, "UnauthorizedOperation.PermissionDenied"],
    ["product without keys", [{}, { authentication: "certificate" }], {}, "UnauthorizedOperation.ProductNotSupportPSK"],
    [
      "product without certificates",
      [{}, { authentication: "psk" }],
      rsaCall,
      "UnsupportedOperation.WrongProductAuthType",
    ],
    ["product full", [{}, { registration: { maxDevices: 2 } }], register, "LimitExceeded.DeviceExceedLimit"],
  ])("%s", async (_name, described, call, code) => {
    const gateway = await start(...described);
    expect((await send(gateway, call)).code).toBe(code);
    expect(gateway.received[0]).toMatchObject({ accepted: false, error: { code } });
  });

  test("is not revealed without a valid signature", async () => {
    const gateway = await start({ state: "disabled" }, {}, { account: "isolated" });
    expect((await send(gateway, { secret: "wrong" })).code).toBe("AuthFailure.SignatureFailure");
  });

  test("of one device, product or topic does not affect others", async () => {
    const gateway = await start({ state: "disabled", topics: { data: "none" } });
    expect((await send(gateway, rsaCall)).code).toBeUndefined();
    gateway.devices.set("P1", "dev1", { psk, topics: { data: "none" } });
    expect((await send(gateway, { body: message({ TopicName: "P1/dev1/event" }) })).code).toBeUndefined();
    const other = await start({}, { state: "forbidden" });
    const body = message({ ProductId: "P2", TopicName: "P2/dev1/data" });
    expect((await send(other, { body })).code).toBeUndefined();
  });

  test("can be changed while the gateway is running", async () => {
    const gateway = await start({}, {}, { account: "isolated" });
    const codes = [(await send(gateway)).code];
    gateway.devices.account = undefined;
    const product = gateway.devices.products.get("P1");
    const device = gateway.devices.find("P1", "dev1");
    if (product === undefined || device === undefined) throw new Error("not described");
    product.state = "forbidden";
    codes.push((await send(gateway)).code);
    product.state = undefined;
    device.state = "notEnabled";
    codes.push((await send(gateway)).code);
    device.state = undefined;
    codes.push((await send(gateway)).code);
    expect(codes).toEqual([
      "FailedOperation.AccountIsolated",
      "UnauthorizedOperation.ProductIsForbidden",
      "UnauthorizedOperation.DeviceIsNotEnabled",
      undefined,
    ]);
  });

  test("with a reached device limit still registers known devices, and new ones once it is raised", async () => {
    const registration = { maxDevices: 3 };
    const gateway = await start({}, { registration });
    const named = (DeviceName: string): Call => ({
      ...register,
      body: JSON.stringify({ ProductId: "P1", DeviceName }),
    });
    expect((await send(gateway, named("new1"))).code).toBeUndefined();
    expect((await send(gateway, named("new2"))).code).toBe("LimitExceeded.DeviceExceedLimit");
    expect((await send(gateway, named("new1"))).code).toBeUndefined();
    registration.maxDevices = 4;
    expect((await send(gateway, named("new2"))).code).toBeUndefined();
  });

  test.each([
    [{ account: "rich" }, "account must be one of isolated"],
    [{ products: { P1: { state: "off" } } }, "products.P1.state must be one of forbidden"],
    [{ products: { P1: { authentication: "none" } } }, "products.P1.authentication must be"],
    [{ products: { P1: { devices: { d: { psk, state: "off" } } } } }, "products.P1.devices.d.state must be"],
    [{ products: { P1: { registration: { maxDevices: -1 } } } }, "maxDevices must be a non-negative integer"],
  ])("is validated: %j", async (devices, words) => {
    const wrong = { products: {}, ...devices } as unknown as DevicesDescription;
    await expect(startGateway({ devices: wrong })).rejects.toThrow(words);
  });
});

describe("the fault error:CODE[:STATUS]", () => {
  test.each([
    ["error:InternalError", { kind: "error", code: "InternalError" }],
    [
      "error:InternalError.DBOperationError:500",
      { kind: "error", code: "InternalError.DBOperationError", status: 500 },
    ],
    ["error:A.B:403:as: you like", { kind: "error", code: "A.B", status: 403, message: "as: you like" }],
    ["error:A.B::no status", { kind: "error", code: "A.B", message: "no status" }],
    ["error:1010", { kind: "error", code: "1010" }],
    ["status:503:120", { kind: "status", status: 503, retryAfter: 120 }],
    [
      "status:503:Wed, 21 Oct 2015 07:28:00 GMT",
      { kind: "status", status: 503, retryAfter: "Wed, 21 Oct 2015 07:28:00 GMT" },
    ],
    ["delay:200:body", { kind: "delay", ms: 200, phase: "body" }],
    ["early:503:true", { kind: "early", status: 503, keepOpen: true }],
  ])("%s is parsed", (text, fault) => {
    expect(parseFault(text)).toEqual(fault);
  });

  test.each(["error", "error:", "error:A.B:99", "delay:200:never", "early:503:yes", "hang:body:1"])(
    "%s is rejected",
    (text) => {
      expect(() => parseFault(text)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
    },
  );

  test("responds to every request with that code, and the given status or the default", async () => {
    const gateway = await start();
    gateway.faults.next(parseFault("error:FailedOperation.AccountIsolated"));
    gateway.faults.next(parseFault("error:FailedOperation.AccountIsolated:403"));
    const seen = [await send(gateway), await send(gateway), await send(gateway)];
    expect(seen.map(({ status, code }) => [status, code])).toEqual([
      [200, "FailedOperation.AccountIsolated"],
      [403, "FailedOperation.AccountIsolated"],
      [200, undefined],
    ]);
    expect(gateway.received.map(({ status }) => status)).toEqual([200, 403, 200]);
  });
});
