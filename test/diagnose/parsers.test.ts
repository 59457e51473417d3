/** Requests in common formats are read byte for byte, and ambiguous ones rejected with one sentence. */

import { spawnSync } from "node:child_process";
import { describe, expect, test } from "@jest/globals";
import {
  DiagnoseError,
  detectFormat,
  parseCurl,
  parseHar,
  parseHttp,
  parseRequest,
  parseTrace,
  type SentRequest,
} from "../../tools/diagnose/index.js";
import { shellWords } from "../../tools/diagnose/parse-curl.js";

const signature = "X-TC-Signature: c2lnbmF0dXJl";
const bodyOf = ({ body }: SentRequest): string => Buffer.from(body as Uint8Array).toString();

function refusal(run: () => unknown): { code: string; message: string } {
  try {
    run();
  } catch (error) {
    if (error instanceof DiagnoseError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("shell words", () => {
  const commands = [
    "curl a b",
    "curl 'a b' \"c d\" e\\ f",
    "curl 'it'\\''s'",
    'curl "a \\"quoted\\" \\$HOME \\`x\\` \\\\ \\n"',
    "curl a\\\n b",
    'curl "a\\\nb"',
    "curl '$HOME `x` \\n'",
    "curl '' \"\"",
    "curl a # a comment",
    "curl a#b",
    'curl "{\\"t\\": 21.5, \\"place\\": \\"温室\\"}"',
    "curl \t  a   ",
    "curl $ \"$\" '$'",
  ];
  test.each(commands)("match those of sh: %j", (command) => {
    const shell = spawnSync("sh", ["-c", `curl() { for word do printf '%s\\0' "$word"; done; }\n${command}`]);
    expect(shell.status).toBe(0);
    expect(shellWords(command).slice(1)).toEqual(shell.stdout.toString().split("\0").slice(0, -1));
  });

  test("with bash's ANSI-C quoting are decoded", () => {
    expect(shellWords("curl $'a\\nb\\t\\'\\\\\\x41\\u6e29\\041\\U0001f600'")).toEqual(["curl", "a\nb\t'\\A温!😀"]);
  });

  test.each([
    ['curl "$SIGNATURE"', /variable or a substitution/],
    ["curl $SIGNATURE", /variable or a substitution/],
    ["curl `date`", /variable or a substitution/],
    ['curl "$(date +%s)"', /variable or a substitution/],
    ["curl 'open", /single quote is not closed/],
    ['curl "open', /double quote is not closed/],
    ["curl $'open", /single quote is not closed/],
    ["curl a | jq", /has \| outside of quotes/],
    ["curl a > out", /has > outside of quotes/],
    ["curl a; ls", /has ; outside of quotes/],
    ["curl a\nls", /after a line end/],
    ["curl $'\\UFFFFFFFF'", /invalid escape/],
  ])("that a shell would expand or run are rejected: %j", (command, words) => {
    expect(refusal(() => shellWords(command))).toMatchObject({
      code: "INVALID_CURL",
      message: expect.stringMatching(words),
    });
  });
});

describe("curl", () => {
  test("a whole command", () => {
    const request = parseCurl(
      `curl -sS -X POST 'https://gw.example:8443/device/publish?a=1' \\\n  -H 'Content-Type: application/json' \\\n  -H '${signature}' --data-binary '{"a":1}\n'`,
    );
    expect(request).toMatchObject({
      method: "POST",
      target: "/device/publish?a=1",
      host: "gw.example:8443",
      headers: { "content-type": "application/json", "x-tc-signature": "c2lnbmF0dXJl" },
    });
    expect(bodyOf(request)).toBe('{"a":1}\n');
  });

  test.each<[string, string, Partial<SentRequest>, string]>([
    ["options in front of and behind the URL", "curl -k http://h/p -d a", { method: "POST", target: "/p" }, "a"],
    ["short options together", "curl -sSkd a http://h/p", { method: "POST" }, "a"],
    ["a value in the same word", "curl -XPUT -da http://h/p", { method: "PUT" }, "a"],
    ["--url without a scheme", "curl --url h/p --data a", { host: "h", target: "/p" }, "a"],
    ["a Host header in the place of the URL's", "curl http://127.0.0.1:8080/p -H 'Host: gw'", { host: "gw" }, ""],
    ["no path", "curl http://h", { method: "GET", target: "/" }, ""],
    ["several -d", "curl http://h -d a -d b", {}, "a&b"],
    ["--json", "curl http://h --json '{}'", { headers: { "content-type": "application/json" } }, "{}"],
    ["--data-raw with an @", "curl http://h --data-raw @a", {}, "@a"],
    ["no type", "curl http://h -d a", { headers: { "content-type": "application/x-www-form-urlencoded" } }, "a"],
    ["options that do not matter", "curl --cacert ca.pem -o out --max-time 5 -v http://h -d a", { host: "h" }, "a"],
    ["a user in the URL", "curl http://u:p@h/p", { host: "h" }, ""],
  ])("%s", (_name, command, expected, body) => {
    const request = parseCurl(command);
    expect(request).toMatchObject(expected);
    expect(bodyOf(request)).toBe(body);
  });

  test("-d @file removes line breaks like curl, --data-binary @file does not", () => {
    const readFile = () => Buffer.from('{\r\n  "a": 1\n}\n');
    expect(bodyOf(parseCurl("curl http://h --data-binary @x", readFile))).toBe('{\r\n  "a": 1\n}\n');
    const stripped = parseCurl("curl http://h -d @x", readFile);
    expect(bodyOf(stripped)).toBe('{  "a": 1}');
    expect(stripped.originals?.map(({ bytes }) => Buffer.from(bytes).toString())).toEqual(['{\r\n  "a": 1\n}\n']);
  });

  test.each([
    ["wget http://h", /does not begin with curl/],
    ["curl -d a", /no URL/],
    ["curl http://h -d", /-d has no value/],
    ["curl http://h -F a=b", /-F is not supported/],
    ["curl http://h --data-urlencode a", /not supported/],
    ["curl http://h -d @x", /not available/],
    ["curl http://h -H 'bad header: x'", /Name: value/],
  ])("%j is rejected", (command, words) => {
    expect(refusal(() => parseCurl(command))).toMatchObject({
      code: "INVALID_CURL",
      message: expect.stringMatching(words),
    });
  });
});

describe("raw HTTP", () => {
  const head = `POST /device/publish HTTP/1.1\r\nHost: gw.example\r\nx-tc-signature:  c2ln \r\n`;
  test.each([
    ["CR LF", `${head}\r\n{"a":1}\n`, '{"a":1}\n'],
    ["LF", `${head}\r\n`.replaceAll("\r", "").concat('{"a":1}'), '{"a":1}'],
    ["a line feed that an editor added", `${head}Content-Length: 2\r\n\r\n{}\n`, "{}"],
    ["chunks", `${head}Transfer-Encoding: chunked\r\n\r\n3;x=y\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n`, '{"a":1}'],
    ["no body", `${head}\r\n`, ""],
    ["no empty line", head.trimEnd(), ""],
    ["an absolute target", head.replace("/device", "http://other:80/device").concat("\r\n"), ""],
  ])("with %s", (_name, text, body) => {
    const request = parseHttp(Buffer.from(text));
    expect(request).toMatchObject({ method: "POST", host: "gw.example", headers: { "x-tc-signature": "c2ln" } });
    expect(bodyOf(request)).toBe(body);
  });

  test("keeps the bytes of a binary body", () => {
    const body = Buffer.from([0xff, 0, 0x0a, 0x0d]);
    expect(parseHttp(Buffer.concat([Buffer.from(`${head}\r\n`), body])).body).toEqual(body);
  });

  test.each([
    ["nothing", ""],
    ["no request line", "Host: x\n\n"],
    ["a header without a colon", `${head}nonsense\r\n\r\n`],
    ["a body that is cut off", `${head}Content-Length: 20\r\n\r\n{}`],
    ["a chunk that is cut off", `${head}Transfer-Encoding: chunked\r\n\r\n9\r\n{}`],
    ["a chunk without a size", `${head}Transfer-Encoding: chunked\r\n\r\nzz`],
  ])("%s is rejected", (_name, text) => {
    const { code, message } = refusal(() => parseHttp(Buffer.from(text)));
    expect(code).toBe("INVALID_HTTP");
    expect(message).toMatch(/^This is not an HTTP request: .+\.$/);
  });
});

describe("HAR", () => {
  const request = {
    method: "POST",
    url: "https://gw.example:8443/device/publish?a=1",
    headers: [
      { name: ":authority", value: "gw.example:8443" },
      { name: "X-TC-Signature", value: "c2ln" },
    ],
    postData: { mimeType: "application/json", text: '{"place":"温室"}' },
  };
  const entry = { startedDateTime: "2027-01-15T08:00:00.000Z", request };
  test.each([
    ["a file", { log: { entries: [{ request: { ...request, headers: [] } }, entry, { request: { method: "GET" } }] } }],
    ["an entry", entry],
  ])("%s", (_name, value) => {
    const sent = parseHar(JSON.stringify(value));
    expect(sent).toMatchObject({
      method: "POST",
      target: "/device/publish?a=1",
      host: "gw.example:8443",
      headers: { "x-tc-signature": "c2ln" },
      sentAtMs: 1_800_000_000_000,
    });
    expect(bodyOf(sent)).toBe('{"place":"温室"}');
  });

  test("a request alone, its body in Base64", () => {
    const postData = { text: "//4A", encoding: "base64" };
    expect(parseHar(JSON.stringify({ ...request, postData })).body).toEqual(Buffer.from([0xff, 0xfe, 0]));
  });

  test.each([
    "",
    "[]",
    "{}",
    '{"log":{}}',
    '{"log":{"entries":[]}}',
    '{"request":{"headers":[{"name":"x-tc-signature"}]}}',
  ])("%j is rejected", (text) => {
    expect(refusal(() => parseHar(text)).code).toBe("INVALID_HAR");
  });
});

describe("a trace", () => {
  const event = {
    type: "sign",
    path: "/device/publish",
    host: "gw.example",
    algorithm: "hmacsha256",
    timestampSeconds: 1_800_000_000,
    nonce: 42,
    bodyBytes: 2,
    bodyHash: "00ff",
    signature: "c2lnbmF0dXJl",
  };
  test.each([
    ["one event", JSON.stringify(event)],
    ["an array", JSON.stringify([{ type: "clock" }, { ...event, nonce: 1 }, event, { type: "send" }])],
    ["lines of a log", `boot\n12:00 {"type":"clock"}\n12:01 event: ${JSON.stringify(event)} ok\n{broken\n`],
  ])("of %s", (_name, text) => {
    expect(parseTrace(text)).toEqual({
      method: "POST",
      target: "/device/publish",
      host: "gw.example",
      headers: {
        "x-tc-algorithm": "hmacsha256",
        "x-tc-timestamp": "1800000000",
        "x-tc-nonce": "42",
        "x-tc-signature": "c2lnbmF0dXJl",
      },
      bodyHash: "00ff",
      isPrefix: true,
    });
  });

  test.each(["", "{}", '{"type":"send"}', JSON.stringify({ ...event, nonce: "42" }), '{"type":"sign"}'])(
    "%j is rejected",
    (text) => {
      expect(refusal(() => parseTrace(text)).code).toBe("INVALID_TRACE");
    },
  );
});

test("the format of a request is detected, and an unknown one rejected", () => {
  expect(detectFormat("# as it was run\ncurl http://h")).toBe("curl");
  expect(detectFormat("\ufeffPOST / HTTP/1.1\n")).toBe("http");
  expect(detectFormat('{"log":{}}')).toBe("har");
  expect(detectFormat('x {"type":"sign"}')).toBe("trace");
  expect(refusal(() => parseRequest(Buffer.from("hello"))).code).toBe("UNKNOWN_FORMAT");
  expect(refusal(() => parseRequest(Buffer.from("hello"), { format: "http" })).code).toBe("INVALID_HTTP");
});
