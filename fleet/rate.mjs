// `npm run rate`: requests a second that the local gateway takes with signature checks. Every request is signed before the
// clock starts; as many connections as given send one after the other on loopback.
import { createHash, createHmac } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { parseArgs } from "node:util";
import { bundle } from "./build.mjs";
import { makeDevices, productId, startGateway } from "./local-gateway.mjs";

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "20000" },
    devices: { type: "string", default: "1000" },
    connections: { type: "string", default: "32" },
  },
});
const number = (name, max) => {
  const value = Number(values[name]);
  if (!Number.isInteger(value) || value < 1 || value > max) throw new Error(`--${name} must be from 1 to ${max}.`);
  return value;
};
const [count, deviceCount, connections] = [
  number("requests", 200_000),
  number("devices", 100_000),
  number("connections", 500),
];

await bundle();
const { devices } = makeDevices(deviceCount, 0);
const gateway = await startGateway(devices);
const { hostname, port, host } = new URL(gateway.url);
const names = Object.keys(devices);
const timestamp = Math.floor(Date.now() / 1000);
const requests = Array.from({ length: count }, (_, i) => {
  const deviceName = names[i % names.length];
  const body = JSON.stringify({
    ProductId: productId,
    DeviceName: deviceName,
    TopicName: `${productId}/${deviceName}/data`,
    Payload: '{"temperature":21.5}',
    Qos: 0,
  });
  const hash = createHash("sha256").update(body).digest("hex");
  const text = `POST\n${hostname}\n/device/publish\n\nhmacsha256\n${timestamp}\n${i}\n${hash}`;
  const signature = createHmac("sha256", devices[deviceName].psk).update(text).digest("base64");
  return Buffer.from(
    [
      "POST /device/publish HTTP/1.1",
      `Host: ${host}`,
      "Content-Type: application/json; charset=utf-8",
      "X-TC-Algorithm: hmacsha256",
      `X-TC-Timestamp: ${timestamp}`,
      `X-TC-Nonce: ${i}`,
      `X-TC-Signature: ${signature}`,
      `Content-Length: ${body.length}`,
      "",
      body,
    ].join("\r\n"),
  );
});

let next = 0;
const sender = async () => {
  const socket = connect(Number(port), hostname);
  await once(socket, "connect");
  socket.setNoDelay(true);
  while (next < count) {
    socket.write(requests[next++]);
    // A response of the local gateway fits into one segment.
    const [response] = await once(socket, "data");
    if (!response.includes("200 OK")) throw new Error(`The gateway responded ${response}`);
  }
  socket.end();
};
const before = await gateway.counts();
const ownBefore = process.cpuUsage();
const start = performance.now();
await Promise.all(Array.from({ length: connections }, sender));
const seconds = (performance.now() - start) / 1000;
const own = process.cpuUsage(ownBefore);
const after = await gateway.counts();
gateway.close();
const cpu = after.cpuSeconds - before.cpuSeconds;
console.log(`${count} requests of ${deviceCount} devices on ${connections} connections in ${seconds.toFixed(1)} s`);
console.log(`${(count / seconds).toFixed(0)} requests/s with signature checks`);
console.log(
  `gateway: ${((100 * cpu) / seconds).toFixed(0)} % of a core, ${((1e6 * cpu) / count).toFixed(0)} µs of CPU a request; sender: ${((own.user + own.system) / seconds / 1e4).toFixed(0)} % of a core`,
);
console.log(`counted by the gateway: ${after.accepted} accepted, ${after.refused} refused`);
process.exitCode = after.accepted === count ? 0 : 1;
