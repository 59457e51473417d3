/** The SDK's session before a server that misbehaves in its handshake. */
import { expectedResumptions, type Misbehavior, startMisbehaving } from "../support/misbehaving-tls.js";
import { type Expectations, identity, type Session, singly } from "./session.js";

export async function misbehaving(
  session: Session,
  expect: Expectations,
  each: Misbehavior,
  keyType: "ecdsa" | "rsa",
): Promise<string> {
  const server = await startMisbehaving(each, keyType);
  try {
    const options = { trustAnchors: [server.rootDer.toString("base64")], keepAliveMs: 0 };
    await session.run("host", { options });
    await session.run("device", { options: { ...identity, ...singly, url: `https://localhost:${server.port}` } });
    const outcomes = await session.publish(["a", "b", "c"]);
    expect.equal(
      outcomes.map((outcome) => outcome.code ?? outcome.status),
      [200, 200, 200],
      "published",
    );
    const { resumed, alerts } = server.seen;
    expect.equal(resumed, expectedResumptions(each), "resumed");
    expect.equal(alerts, each.alert === undefined ? [] : [each.alert], "alerts");
    return `${resumed.map((isResumed) => (isResumed ? "resumed" : "full")).join(", ")}${alerts.length > 0 ? `; alert ${alerts}` : ""}`;
  } finally {
    await server.close();
  }
}
