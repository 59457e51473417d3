import { readFileSync } from "node:fs";
import { sealRegistrationPayload } from "../../../tools/gateway/index.js";

const { rsa_test_key: keys } = JSON.parse(readFileSync(new URL("../../vectors/peers.json", import.meta.url), "utf8"));
const productSecret = "hzvf5LF9S0isvBhDSauWMaIk";

function reply(content: object): string {
  const { payload, length } = sealRegistrationPayload(productSecret, JSON.stringify(content));
  return JSON.stringify({ Response: { Len: length, Payload: payload, State: 0, RequestId: "r" } });
}

const psk = "lDZ6Uqt+I9E0wW7rvDUs7Q==";
const clientKey = keys["rsa2048_pkcs1.pem"];
// As long as a chain of three certificates: with the key, two values of a storage.
const clientCert = `-----BEGIN CERTIFICATE-----\n${`${"A".repeat(64)}\n`.repeat(55)}-----END CERTIFICATE-----\n`;

export const data = {
  "a board registers once, keeps its credential, publishes and forgets": {
    "a psk": { productSecret, reply: reply({ encryptionType: 2, psk }), secret: psk },
    "a certificate": {
      productSecret,
      reply: reply({ encryptionType: 1, clientCert, clientKey }),
      privateKey: clientKey,
      certificate: clientCert,
    },
  },
};
