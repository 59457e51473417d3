import { describe, expect, test } from "@jest/globals";
import {
  type ErrorClass,
  type ErrorCode,
  errorClasses,
  errorTable,
  IotHubError,
  NetworkError,
  type NetworkErrorCode,
  ResponseError,
  type ResponseErrorCode,
} from "../../src/errors.js";
import { classHints, exitCodes, explain, gatewayCodeHints } from "../../tools/cli/failure.js";

const NOW_MS = 1_800_000_000_000;

function hintFor(gatewayCode: string | number, gatewayMessage?: string, skewSeconds?: number): string | undefined {
  const details = {
    status: 200,
    gatewayCode,
    ...(gatewayMessage === undefined ? {} : { gatewayMessage }),
    ...(skewSeconds === undefined ? {} : { dateMs: NOW_MS - skewSeconds * 1000 }),
  };
  return explain(new ResponseError("GATEWAY_REJECTED", "refused", details), NOW_MS).hint;
}

describe("the hint for a code of the gateway", () => {
  test.each<[string | number, RegExp]>([
    ["AuthFailure.SignatureFailure", /copy it again from the console/],
    [1010, /copy it again from the console/],
    ["AuthFailure.SignatureExpire", /clock/],
    ["FailedOperation.AccountIsolated", /in arrears: top it up.*send the message again/],
    ["FailedOperation.DeviceAlreadyDisabled", /Enable the device in the console/],
    ["UnauthorizedOperation.DeviceIsNotEnabled", /Enable the device in the console/],
    ["UnauthorizedOperation.ProductIsForbidden", /dynamic registration/],
    ["UnauthorizedOperation.ProductNotSupportPSK", /--key-file/],
    ["UnsupportedOperation.WrongProductAuthType", /--psk-file/],
    ["ResourceNotFound.TopicPolicyNotExist", /Add the topic/],
    ["ResourceNotFound.ProductOrDeviceNotExist", /--product-id/],
    ["UnauthorizedOperation.PermissionDenied", /permission to publish/],
    ["LimitExceeded.DeviceExceedLimit", /Retrying does not help/],
    ["RequestLimitExceeded", /less often/],
    ["UnsupportedOperation.ClientCertAlreadyGot", /already issued/],
    ["InvalidParameterValue.PayloadOverLimit", /Split the message/],
    ["InternalError.DBOperationError", /try again later/],
  ])("%s has a hint", (code, words) => {
    expect(hintFor(code)).toMatch(words);
  });

  test("depends on the code or its class, not on words in the message or in unknown codes", () => {
    expect(hintFor("FailedOperation.AccountIsolated", "signature expired, topic not exist")).toMatch(/arrears/);
    expect(hintFor("FailedOperation.Tomorrow", "signature topic permission timestamp LimitExceeded")).toBeUndefined();
    expect(hintFor("LimitExceeded.Tomorrow", "the device is not enabled")).toMatch(/less often/);
    expect(hintFor("AuthFailure.Tomorrow", "the account is isolated")).toMatch(/copy it again/);
    expect(hintFor("toString")).toBeUndefined();
  });

  test.each<[string, number | undefined, RegExp]>([
    ["AuthFailure.SignatureFailure", 7200, /clock is 2 h ahead/],
    ["AuthFailure.SignatureExpire", -7200, /clock is 2 h behind/],
    ["AuthFailure.SignatureExpire", 10, /Compare this machine's clock/],
    ["Code.Of.Tomorrow", 7200, /clock is 2 h ahead/],
    // A wrong clock is not what these come from.
    ["FailedOperation.AccountIsolated", 7200, /arrears/],
    ["ResourceNotFound.DeviceNotExist", 7200, /--device-name/],
  ])("%s with a clock that is wrong by %p s", (code, skew, words) => {
    expect(hintFor(code, undefined, skew)).toMatch(words);
  });

  test("exists for every class except those without a remedy", () => {
    const silent = Object.keys(errorClasses).filter((name) => !Object.hasOwn(classHints, name));
    expect(silent).toEqual(["input", "message", "unknown", "storage", "state", "cancelled"]);
    for (const hint of Object.values(classHints)) expect(hint).toMatch(/^[A-Z].{20,160}[.?]$/);
  });

  test("is one or two sentences", () => {
    for (const hint of Object.values(gatewayCodeHints)) expect(hint).toMatch(/^[A-Z][^\n]{20,160}\.$/);
  });
});

/** What the process ends with after an error of each class, and after one that is a response of the gateway. */
const expectedExits: Readonly<Record<ErrorClass, readonly [number, number]>> = {
  input: [2, 2],
  message: [2, 2],
  unknown: [5, 5],
  protocol: [5, 5],
  unreadable: [5, 5],
  network: [4, 4],
  timeout: [4, 4],
  throttled: [5, 5],
  server: [5, 5],
  clock: [1, 5],
  certificate: [4, 4],
  credential: [3, 3],
  account: [5, 5],
  device: [5, 5],
  console: [5, 5],
  storage: [1, 5],
  state: [1, 5],
  cancelled: [1, 5],
};

describe("the exit code", () => {
  test("of every class is that of its group; other responses count as rejected", () => {
    expect(Object.keys(expectedExits)).toEqual(Object.keys(errorClasses));
    for (const [name, [local, response]] of Object.entries(expectedExits)) {
      const errorClass = name as ErrorClass;
      const error = Object.assign(new IotHubError("INVALID_OPTION", "x"), { errorClass });
      expect([name, explain(error).exitCode]).toEqual([name, local]);
      const reply = new ResponseError("GATEWAY_REJECTED", "x", { status: 200, gatewayCode: "X" });
      Object.defineProperty(reply, "errorClass", { value: errorClass });
      expect([name, explain(reply).exitCode]).toEqual([name, response]);
    }
  });

  test("of every code follows from its class", () => {
    const codes = Object.keys(errorTable) as ErrorCode[];
    expect(codes.length).toBeGreaterThan(50);
    for (const code of codes) {
      const errors = [
        new IotHubError(code, "x"),
        new NetworkError(code as NetworkErrorCode, "connect", "x"),
        new ResponseError(code as ResponseErrorCode, "x", { status: 200 }),
      ];
      const [local, response] = expectedExits[errorTable[code]];
      // A rejection without a code is not known.
      const exits = [local, local, code === "GATEWAY_REJECTED" ? exitCodes.rejected : response];
      expect([code, ...errors.map((error) => explain(error).exitCode)]).toEqual([code, ...exits]);
    }
  });

  test.each([
    ["InvalidParameterValue.PayloadOverLimit", 2],
    ["AuthFailure.SignatureFailure", 3],
    ["AuthFailure.SignatureExpire", 5],
    ["FailedOperation.AccountIsolated", 5],
    ["Code.Of.Tomorrow", 5],
  ])("of %s is %i", (gatewayCode, exitCode) => {
    const error = new ResponseError("GATEWAY_REJECTED", "x", { status: 200, gatewayCode, requestId: "r" });
    expect(explain(error).exitCode).toBe(exitCode);
  });
});
