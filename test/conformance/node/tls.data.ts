import { Authority } from "../../support/x509.js";
import { damaged, flight } from "../tls.cases.js";

const leaf = new Authority("Root").leaf();
const hex = Buffer.from(leaf).toString("hex");

/** Bytes of a flight that are damaged in one case. */
const GROUP = 100;
const { length } = flight(leaf);

export const data = {
  "a flight in records that end at every place, in a stream that is cut at every place": hex,
  "a flight in records of a few bytes, and nothing else between them": hex,
  "any message left out, doubled or swapped with the next is refused": hex,
  "a session that is resumed": hex,
  "a ticket comes once, where it was announced, before ChangeCipherSpec": hex,
  "when a request may leave before the server's Finished": hex,
  "mutations: the same on every engine": Object.fromEntries(
    Array.from({ length: Math.ceil(length / GROUP) }, (_, i) => {
      const count = Math.min(GROUP, length - GROUP * i);
      const endings = Array.from({ length: count }, (_, j) => damaged(leaf, GROUP * i + j));
      return [`bytes from ${GROUP * i}`, [hex, GROUP * i, endings]];
    }),
  ),
};
