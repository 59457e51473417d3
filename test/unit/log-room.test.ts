/** The room that a log's lines take is given back, whatever became of them. */
import { expect, test } from "@jest/globals";
import { Device } from "../../src/index.js";
import { fakeHost, type Respond, response, success } from "../support/fake-host.js";

const taken: Respond = () => response(success);
const rejected: Respond = () =>
  response('{"Response":{"Error":{"Code":"InvalidParameterValue.InvalidJSON","Message":"no"},"RequestId":"r"}}');

function setup(respond: Respond) {
  const host = fakeHost(respond);
  const device = new Device(
    {
      productId: "P",
      deviceName: "d",
      credential: { secret: "x" },
      url: "http://gateway.test",
      retry: false,
      rateLimit: false,
      log: { maxLines: 100, maxLineBytes: 512 },
    },
    host,
  );
  /** The number of lines in each upload, and of those that say what was dropped. */
  const uploads = () =>
    host.sent.map(({ request }) => {
      const lines: string[] = JSON.parse(new TextDecoder().decode(request.body)).Message;
      const notices = lines.filter((line) => line.includes("were dropped"));
      return [lines.length - notices.length, ...notices.map((line) => Number(/(\d+) log lines/.exec(line)?.[1]))];
    });
  return { device, uploads };
}

const long = "x".repeat(400);

test("uploaded log lines free their room", async () => {
  const { device, uploads } = setup(taken);
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 30; i++) device.log("info", long);
    await device.flushLog();
  }
  expect(uploads()).toEqual([[30], [30], [30], [30], [30]]);
});

test("dropped log lines free their room, and are counted", async () => {
  const { device, uploads } = setup((...args) => ((uploads().at(-1)?.[0] ?? 0) >= 30 ? rejected : taken)(...args));
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < 30; i++) device.log("info", long);
    await expect(device.flushLog()).rejects.toMatchObject({ code: "GATEWAY_REJECTED" });
    device.log("info", long);
    await expect(device.flushLog()).rejects.toMatchObject({ code: "GATEWAY_REJECTED" });
  }
  const later = [[30, 30], [1, 30], [30]];
  expect(uploads()).toEqual([[30], [1], [30], ...later, ...later, ...later]);
});

test("bytes are logged as their count, since they may be secret", async () => {
  const sent: string[] = [];
  const { device } = setup(({ body }) => {
    sent.push(new TextDecoder().decode(body));
    return response(success);
  });
  device.log("info", "key", Uint8Array.of(11, 22, 33));
  await device.flushLog();
  expect(sent[0]).toContain("|key (3 bytes)");
  expect(sent[0]).not.toContain("22");
});
