import { readFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { type Host, IotHubError, type RegisterOptions, register } from "../../src/index.js";
import { openRegistrationPayload } from "../../src/provisioning/register.js";
import { makeClientCertificate, sealRegistrationPayload } from "../../tools/gateway/index.js";
import { type FakeHost, fakeHost, response } from "../support/fake-host.js";
import { productSecret, psk } from "../support/keys.js";

const { aes_registration: vectors } = JSON.parse(
  readFileSync(new URL("../vectors/peers.json", import.meta.url), "utf8"),
);

function code(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return error instanceof IotHubError ? error.code : error;
  }
}

const open = (content: unknown, secret = productSecret, length?: number) => {
  const text = typeof content === "string" ? content : JSON.stringify(content);
  const sealed = sealRegistrationPayload(productSecret, text);
  return code(() => openRegistrationPayload(secret, sealed.payload, length ?? sealed.length));
};

describe("the official SDKs' registrations", () => {
  test.each<{ id: string; response_json: string; product_secret: string; plaintext_in: string | null }>(vectors)(
    "$id: $desc",
    async (v) => {
      const host = fakeHost(() => response(v.response_json));
      const options = { productId: "G8N9VAAAHB", deviceName: "dev1", productSecret: v.product_secret };
      const result = await register(options, host).catch((error) => error.code);
      const expected: Record<string, unknown> = {
        "aes-10": "WRONG_PRODUCT_SECRET",
        "aes-12": "GATEWAY_REJECTED",
        "aes-13": "REGISTRATION_LENGTH",
      };
      if (v.id in expected) {
        expect(result).toBe(expected[v.id]);
        return;
      }
      const content = JSON.parse(v.plaintext_in ?? `{"psk":"${psk}"}`);
      const credential = content.psk
        ? { secret: content.psk, verbatim: true }
        : { privateKey: content.clientKey, certificate: content.clientCert };
      expect(result).toEqual({ ...credential, requestId: "f4da4f1f-d72e-40f1-0000-349fc0072ba0" });
    },
  );

  test("are eight", () => expect(vectors).toHaveLength(8));
});

describe("openRegistrationPayload", () => {
  test.each([
    ["a psk", { encryptionType: 2, psk }],
    ["a certificate and key", { encryptionType: 1, clientCert: "-----BEGIN", clientKey: "温度\u2028" }],
    ["private CA", { encryptionType: 1 }],
  ])("%s", (_name, content) => {
    expect(open(content)).toEqual(content);
  });

  test.each([
    ["no JSON at all", "hello", "WRONG_PRODUCT_SECRET"],
    ["a list", "[1]", "WRONG_PRODUCT_SECRET"],
    ["JSON that nests deeper than an engine's stack", "[".repeat(9000) + "]".repeat(9000), "WRONG_PRODUCT_SECRET"],
    ["no encryptionType", { psk }, "REGISTRATION_INCOMPLETE"],
    ["no psk", { encryptionType: 2 }, "REGISTRATION_INCOMPLETE"],
    ["an empty psk", { encryptionType: 2, psk: "" }, "REGISTRATION_INCOMPLETE"],
    ["a PSK that is not text", { encryptionType: 2, psk: 5 }, "REGISTRATION_INCOMPLETE"],
    ["no clientKey", { encryptionType: 1, clientCert: "c" }, "REGISTRATION_INCOMPLETE"],
    ["no clientCert", { encryptionType: 1, clientKey: "k" }, "REGISTRATION_INCOMPLETE"],
    ["encryptionType 3", { encryptionType: 3, psk }, "REGISTRATION_TYPE"],
    ["encryptionType as text", { encryptionType: "2", psk }, "REGISTRATION_TYPE"],
  ])("rejects %s", (_name, content, expected) => {
    expect(open(content)).toBe(expected);
  });

  const content = { encryptionType: 2, psk };

  test("distinguishes a wrong secret from a wrong length", () => {
    expect(open(content, "hzvf5LF9S0isvBhESauWMaIk")).toBe("WRONG_PRODUCT_SECRET");
    // Only the first sixteen characters are the key.
    expect(open(content, "hzvf5LF9S0isvBhDxxxxxxxx")).toEqual(content);
  });

  test.each([[52], [54], [48], [64], [65], [0], [-1], [53.5], [Number.NaN]])("rejects a length of %p", (length) => {
    expect(open(content, productSecret, length)).toBe("REGISTRATION_LENGTH");
  });

  test.each([
    ["short", "hzvf5LF9S0isvBh"],
    ["with a character beyond ASCII", "hzvf5LF9S0isvBhD温"],
    ["with a line end", "hzvf5LF9S0isvBhDSauWMaIk\n"],
    ["too long", "x".repeat(257)],
    ["no text", undefined as unknown as string],
  ])("rejects a ProductSecret that is %s", (_name, secret) => {
    expect(open(content, secret ?? (null as unknown as string))).toBe("INVALID_PRODUCT_SECRET");
  });

  test.each(["s6FB3a1BA/YYbcmSE12XpQ=", "s6FB3a1BA_YYbcmSE12XpQ==", "s6FB 3a1BA/YYbcmSE12XpQ==", 5])(
    "rejects the payload %p as Base64",
    (payload) => {
      expect(code(() => openRegistrationPayload(productSecret, payload as string, 16))).toBe("INVALID_BASE64");
    },
  );

  test("rejects an empty payload", () => {
    expect(code(() => openRegistrationPayload(productSecret, "", 0))).toBe("REGISTRATION_LENGTH");
  });

  test("throws only typed errors without secrets for modified payloads", () => {
    const sealed = sealRegistrationPayload(productSecret, JSON.stringify(content));
    const bytes = Buffer.from(sealed.payload, "base64");
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 5 }),
        fc.integer({ min: -5, max: 80 }),
        (changes, length) => {
          const changed = Buffer.from(bytes);
          for (const [at, bits] of changes) changed[at] ^= bits;
          try {
            openRegistrationPayload(productSecret, changed.toString("base64"), length);
          } catch (error) {
            expect(error).toBeInstanceOf(IotHubError);
            expect((error as Error).message).not.toContain(productSecret.slice(0, 8));
            expect((error as Error).message).not.toContain(psk.slice(0, 8));
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("register", () => {
  const options: RegisterOptions = { productId: "P1", deviceName: "dev1", productSecret, url: "http://gateway.test" };
  const sealed = (content: unknown, members: object = {}) => {
    const { payload, length } = sealRegistrationPayload(productSecret, JSON.stringify(content));
    return response(JSON.stringify({ Response: { Len: length, Payload: payload, RequestId: "r1", ...members } }));
  };
  const pskHost = (changes: Partial<Host> = {}) => fakeHost(() => sealed({ encryptionType: 2, psk }), changes);
  const body = (host: FakeHost) => JSON.parse(Buffer.from(host.sent[0].request.body).toString());

  test("sends a signed ProductId and DeviceName, and resolves with the PSK", async () => {
    const host = pskHost();
    expect(await register(options, host)).toEqual({ secret: psk, verbatim: true, requestId: "r1" });
    const { request } = host.sent[0];
    expect(Buffer.from(request.body).toString()).toBe('{"ProductId":"P1","DeviceName":"dev1"}');
    expect(request.path).toBe("/device/register");
    expect(request.headers["X-TC-Algorithm"]).toBe("hmacsha256");
    expect(host.timers).toBe(0);
  });

  test("returns HMAC-SHA1 with the PSK if it was chosen", async () => {
    const host = pskHost();
    expect(await register({ ...options, algorithm: "hmacsha1" }, host)).toMatchObject({ algorithm: "hmacsha1" });
    expect(host.sent[0].request.headers["X-TC-Algorithm"]).toBe("hmacsha1");
  });

  test.each([
    [0, 0],
    [1, 1],
    [7, undefined],
    ["1", undefined],
  ])("returns State %p as %p", async (State, state) => {
    const host = fakeHost(() => sealed({ encryptionType: 2, psk }, { State }));
    expect((await register(options, host)).state).toBe(state);
  });

  const own = {
    clientCertificate: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    clientKey: "the key",
  };

  test("sends a client certificate as documented or like the C SDK, but never its key", async () => {
    for (const [members, sent] of [
      [undefined, { EncryptionType: 1, ClientCert: own.clientCertificate }],
      ["documented", { EncryptionType: 1, ClientCert: own.clientCertificate }],
      ["c-sdk", { clientCert: own.clientCertificate }],
    ] as const) {
      const host = fakeHost(() => sealed({ encryptionType: 1 }));
      const result = await register({ ...options, ...own, clientCertificateMembers: members }, host);
      expect(result).toEqual({ privateKey: own.clientKey, certificate: own.clientCertificate, requestId: "r1" });
      expect(body(host)).toEqual({ ProductId: "P1", DeviceName: "dev1", ...sent });
    }
  });

  test("sends certificates in DER, or a list, as PEM", async () => {
    const { chain, chainDer } = makeClientCertificate({ name: "board" });
    for (const [given, sent] of [
      [Uint8Array.from(chainDer[0]), chain],
      [chainDer, chain],
      [Buffer.from(chain), chain],
      [[chainDer[0], chain], chain + chain],
    ] as const) {
      const host = fakeHost(() => sealed({ encryptionType: 1 }));
      const result = await register({ ...options, ...own, clientCertificate: given }, host);
      expect(result.certificate).toBe(sent);
      expect(body(host)).toMatchObject({ ClientCert: sent });
    }
  });

  test.each([
    ["clientCert", "Unknown option `clientCert`; did you mean `clientCertificate`?"],
    ["clientCertMembers", "Unknown option `clientCertMembers`; did you mean `clientCertificateMembers`?"],
    ["privateKey", expect.stringMatching(/^Unknown option `privateKey`; .*clientKey/)],
  ])("rejects the option %s of earlier versions", async (name, message) => {
    const given = { ...options, [name]: "x" };
    await expect(register(given, pskHost())).rejects.toMatchObject({ code: "INVALID_OPTION", message });
  });

  test("prefers the gateway's certificate to the client's", async () => {
    const host = fakeHost(() => sealed({ encryptionType: 1, clientCert: "cert", clientKey: "key" }));
    expect(await register({ ...options, ...own }, host)).toMatchObject({ privateKey: "key", certificate: "cert" });
  });

  test.each<[string, Partial<RegisterOptions>, string]>([
    ["no DeviceName", { deviceName: undefined }, "INVALID_DEVICE_NAME"],
    ["a wrong ProductId", { productId: "a b" }, "INVALID_PRODUCT_ID"],
    ["a short ProductSecret", { productSecret: "short" }, "INVALID_PRODUCT_SECRET"],
    ["no ProductSecret", { productSecret: undefined }, "INVALID_PRODUCT_SECRET"],
    ["a certificate without its key", { clientCertificate: own.clientCertificate }, "INVALID_OPTION"],
    ["a key without its certificate", { clientKey: "key" }, "INVALID_OPTION"],
    ["a certificate that is not PEM", { ...own, clientCertificate: "MIIB" }, "INVALID_OPTION"],
    [
      "a certificate that is too long",
      { ...own, clientCertificate: own.clientCertificate.padEnd(9000) },
      "INVALID_OPTION",
    ],
    ["another way to send it", { ...own, clientCertificateMembers: "other" as "c-sdk" }, "INVALID_OPTION"],
    ["an unknown algorithm", { algorithm: "md5" as "hmacsha1" }, "INVALID_CREDENTIAL"],
    ["a wrong url", { url: "ftp://x" }, "INVALID_URL"],
    ["a wrong limit", { timeoutMs: 0 }, "INVALID_OPTION"],
  ])("rejects %s before anything is sent", async (_name, changes, expected) => {
    const host = pskHost();
    await expect(register({ ...options, ...changes } as RegisterOptions, host)).rejects.toMatchObject({
      code: expected,
    });
    expect(host.sent).toHaveLength(0);
  });

  test("uses and validates the host's DeviceName by default", async () => {
    const { deviceName: _, ...unnamed } = options;
    const host = pskHost({ deviceName: () => "24:6f:28:aa:bb:cc" });
    await register(unnamed, host);
    expect(body(host).DeviceName).toBe("24:6f:28:aa:bb:cc");
    const bad = pskHost({ deviceName: () => "a/b" });
    await expect(register(unnamed, bad)).rejects.toMatchObject({ code: "INVALID_DEVICE_NAME" });
  });

  test.each([
    ["without Payload", { Payload: undefined }, "REGISTRATION_INCOMPLETE"],
    ["without Len", { Len: undefined }, "REGISTRATION_INCOMPLETE"],
    ["with Len as text", { Len: "53" }, "REGISTRATION_INCOMPLETE"],
    ["with damaged Base64", { Payload: "s6FB3a1BA" }, "INVALID_BASE64"],
  ])("reports a response %s as a typed error", async (_name, members, expected) => {
    const host = fakeHost(() => sealed({ encryptionType: 2, psk }, members));
    await expect(register(options, host)).rejects.toMatchObject({ code: expected });
  });

  test("requires a client certificate for a product with a private CA", async () => {
    const host = fakeHost(() => sealed({ encryptionType: 1 }));
    await expect(register(options, host)).rejects.toMatchObject({ code: "REGISTRATION_INCOMPLETE" });
  });

  test("reports events without secrets", async () => {
    const events: unknown[] = [];
    await register({ ...options, onEvent: (event) => events.push(event) }, pskHost());
    expect(events.length).toBeGreaterThan(2);
    const text = JSON.stringify(events);
    for (const secret of [productSecret, psk]) expect(text).not.toContain(secret);
  });
});
