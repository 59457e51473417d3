import { expect, test } from "@jest/globals";
import { createHost } from "../../host/fetch/index.js";
import { makeCertificates } from "../../tools/gateway/index.js";
import { ownResponseCases, runOwnResponses } from "./own-responses.js";

const certificates = makeCertificates("chain");
const host = { name: "fetch", schemes: ["http"], create: () => createHost() } as const;

// How many connections and requests that takes is up to Node's fetch, which does not tell of surplus bytes.
test.each(ownResponseCases.map((one) => [one.name, one] as const))(
  "fetch: no message counts as delivered that was not taken: %s",
  async (_name, one) => {
    expect((await runOwnResponses(one, "http", host, certificates)).wrong).toEqual([]);
  },
);
