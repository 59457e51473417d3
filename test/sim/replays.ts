/** Handshakes that were recorded with the stand-in for the SDK's session: the SDK's sends the same to the byte. */
import { readFileSync } from "node:fs";
import type { Expectations, Session } from "./session.js";

export async function replays(session: Session, expect: Expectations): Promise<string> {
  const file = new URL("../vectors/tls-replays.json", import.meta.url);
  const recorded: readonly { name: string; sent: string[]; ended: object }[] = JSON.parse(readFileSync(file, "utf8"));
  for (const each of recorded) {
    const { sent, ended } = await session.run("replay", { each });
    expect.equal(sent, each.sent, `${each.name}: what is sent`);
    expect.equal(ended, each.ended, each.name);
  }
  return `${recorded.length} handshakes, the same to the byte`;
}
