import * as aes from "./aes.cases.js";
import * as base64 from "./base64.cases.js";
import * as batch from "./batch.cases.js";
import type { Case } from "./case.js";
import * as device from "./device.cases.js";
import * as engine from "./engine.cases.js";
import * as evidence from "./evidence.cases.js";
import * as hash from "./hash.cases.js";
import * as health from "./health.cases.js";
import * as hex from "./hex.cases.js";
import * as hmac from "./hmac.cases.js";
import * as http from "./http.cases.js";
import * as message from "./message.cases.js";
import * as provisioning from "./provisioning.cases.js";
import * as record from "./record.cases.js";
import * as response from "./response.cases.js";
import * as rsa from "./rsa.cases.js";
import * as signature from "./signature.cases.js";
import * as tls from "./tls.cases.js";
import * as topics from "./topics.cases.js";
import * as utf8 from "./utf8.cases.js";

/** Every `<suite>.cases.ts` of this folder, by the name of its suite; a test sees to it that none is forgotten. */
export const suites: Readonly<Record<string, readonly Case[]>> = Object.freeze({
  aes: aes.cases,
  response: response.cases,
  base64: base64.cases,
  batch: batch.cases,
  device: device.cases,
  engine: engine.cases,
  evidence: evidence.cases,
  hash: hash.cases,
  health: health.cases,
  hex: hex.cases,
  hmac: hmac.cases,
  http: http.cases,
  message: message.cases,
  provisioning: provisioning.cases,
  record: record.cases,
  rsa: rsa.cases,
  signature: signature.cases,
  tls: tls.cases,
  topics: topics.cases,
  utf8: utf8.cases,
});
