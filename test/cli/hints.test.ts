import { describe, expect, test } from "@jest/globals";
import { explain, gatewayCodeHints } from "../../host/node/cli/failure.js";
import { AnswerError } from "../../src/errors.js";

const NOW_MS = 1_800_000_000_000;

function hintFor(gatewayCode: string | number, gatewayMessage?: string, skewSeconds?: number): string | undefined {
  const details = {
    status: 200,
    gatewayCode,
    ...(gatewayMessage === undefined ? {} : { gatewayMessage }),
    ...(skewSeconds === undefined ? {} : { dateMs: NOW_MS - skewSeconds * 1000 }),
  };
  return explain(new AnswerError("GATEWAY_REJECTED", "refused", details), NOW_MS).hint;
}

describe("the hint for a code of the gateway", () => {
  test.each<[string | number, RegExp]>([
    ["AuthFailure.SignatureFailure", /copy it again from the console/],
    [1010, /copy it again from the console/],
    ["AuthFailure.SignatureExpire", /clock/],
    ["FailedOperation.AccountIsolated", /in arrears: top it up.*Nothing is lost/],
    ["FailedOperation.DeviceAlreadyDisabled", /Enable the device in the console/],
    ["UnauthorizedOperation.DeviceIsNotEnabled", /Enable the device in the console/],
    ["UnauthorizedOperation.ProductIsForbidden", /dynamic registration/],
    ["UnauthorizedOperation.ProductNotSupportPSK", /--key-file/],
    ["UnsupportedOperation.WrongProductAuthType", /--psk-file/],
    ["ResourceNotFound.TopicPolicyNotExist", /Add the topic/],
    ["ResourceNotFound.ProductOrDeviceNotExist", /--product-id/],
    ["UnauthorizedOperation.PermissionDenied", /permission to publish/],
    ["LimitExceeded.DeviceExceedLimit", /Trying again does not help/],
    ["RequestLimitExceeded", /less often/],
    ["UnsupportedOperation.ClientCertAlreadyGot", /handed out before/],
    ["InvalidParameterValue.PayloadOverLimit", /Split the message/],
    ["InternalError.DBOperationError", /try again later/],
  ])("%s says what to do", (code, words) => {
    expect(hintFor(code)).toMatch(words);
  });

  test("comes from the code alone, not from words in the message or in unknown codes", () => {
    expect(hintFor("FailedOperation.AccountIsolated", "signature expired, topic not exist")).toMatch(/arrears/);
    expect(hintFor("FailedOperation.Tomorrow", "signature topic permission timestamp LimitExceeded")).toBeUndefined();
    expect(hintFor("LimitExceeded.Tomorrow")).toBeUndefined();
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
  ])("%s with a clock %p s off", (code, skew, words) => {
    expect(hintFor(code, undefined, skew)).toMatch(words);
  });

  test("is one or two sentences", () => {
    for (const hint of Object.values(gatewayCodeHints)) expect(hint).toMatch(/^[A-Z][^\n]{20,160}\.$/);
  });
});
