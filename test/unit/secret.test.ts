import { describe, expect, test } from "@jest/globals";
import { IotHubError } from "../../src/index.js";
import { openRegistrationPayload } from "../../src/provisioning/register.js";
import { checkPsk, secretMistake } from "../../src/signing/secret.js";

const psk = "lDZ6Uqt+I9E0wW7rvDUs7Q==";
const bare = psk.slice(0, -2);

describe("a PSK that was copied incorrectly is reported with the reason", () => {
  test.each([
    ["a line feed at its end", `${psk}\n`, /line break/],
    ["CRLF at its end", `${psk}\r\n`, /line break/],
    ["a line feed before it", `\n${psk}`, /line break/],
    ["a tab", `\t${psk}`, /control/],
    ["NUL", `${psk}\0`, /control/],
    ["a space at its end", `${psk} `, /space/],
    ["a space for +, as in a query string", psk.replace("+", " "), /space/],
    ["a no-break space", `\u00a0${psk}`, /space/],
    ["a zero-width space", `lDZ6\u200bUqt+I9E0wW7rvDUs7Q==`, /invisible/],
    ["a byte order mark", `\ufeff${psk}`, /byte order mark/],
    ["double quotes", `"${psk}"`, /quotes/],
    ["single quotes", `'${psk}'`, /quotes/],
    ["typographic quotes", `“${psk}”`, /quotes/],
    ["one quote", `${psk}"`, /quotes/],
    ["percent-encoding", encodeURIComponent(psk), /percent/],
    ["both = lost", bare, /trailing = signs/],
    ["one = lost", `${bare}=`, /one of its trailing/],
    ["the only = lost", "bG9uZ2VyIHNlY3JldCE", /trailing = signs/],
    ["a short psk with one = lost", "YQ=", /one of its trailing/],
    ["a = too many", `${psk}=`, /too many trailing =/],
    ["= where there is none", "YWJj=", /too many trailing =/],
    ["its last character lost", "lDZ6Uqt+I9E0wW7rvDUs7", /a part is missing/],
  ])("%s", (_name, secret, reason) => {
    expect(secretMistake(secret)).toMatch(reason);
    let error: unknown;
    try {
      checkPsk(secret);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(IotHubError);
    const { code, message } = error as IotHubError;
    expect(code).toBe("INVALID_CREDENTIAL");
    expect(message).toMatch(/^The PSK differs from what the console shows: .*\.$/);
    expect(message).not.toContain("lDZ6");
  });
});

test.each([
  ["a psk", psk],
  ["one without padding", "bG9uZ2VyIHNlY3JldCEh"],
  ["one with one =", "bG9uZ2VyIHNlY3JldCE="],
  ["a psk of four characters", "YQ=="],
  ["a short word", "secret"],
  ["a word with signs", "correct-horse-battery-staple"],
  ["quotes inside", `it's "mine" ok?`.replaceAll(" ", "_")],
  ["a quote at the end of a text of signs", "x#9!k&'"],
  ["Chinese", "密钥密钥密钥"],
  ["a percent sign", "100%sure"],
])("%s may be a secret", (_name, secret) => {
  expect(secretMistake(secret)).toBeUndefined();
  checkPsk(secret);
});

test("a ProductSecret is checked alike, but need not be Base64", () => {
  const open = (secret: string) => () => openRegistrationPayload(secret, "AAAA", 1);
  for (const secret of ["YDR8Hwh6RbCbzPu1K5yfiVwC\n", '"YDR8Hwh6RbCbzPu1K5yfiVwC"', " YDR8Hwh6RbCbzPu1K5yfiVwC"]) {
    expect(open(secret)).toThrow(
      expect.objectContaining({
        code: "INVALID_PRODUCT_SECRET",
        message: expect.stringMatching(/^The ProductSecret differs from what the console shows: it .*\.$/),
      }),
    );
  }
  expect(secretMistake("YDR8Hwh6RbCbzPu1K5yfiVw", false)).toBeUndefined();
});
