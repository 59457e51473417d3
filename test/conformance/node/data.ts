/** What the cases are given: by suite, by case, and for a case with `each` by the name of the single case. */
import { data as aes } from "./aes.data.js";
import { data as base64 } from "./base64.data.js";
import { data as hash } from "./hash.data.js";
import { data as hmac } from "./hmac.data.js";
import { data as http } from "./http.data.js";
import { data as message } from "./message.data.js";
import { data as provisioning } from "./provisioning.data.js";
import { data as record } from "./record.data.js";
import { data as rsa } from "./rsa.data.js";
import { data as signature } from "./signature.data.js";
import { data as tls } from "./tls.data.js";
import { data as utf8 } from "./utf8.data.js";

export const dataOfSuites: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  aes,
  base64,
  hash,
  hmac,
  http,
  message,
  provisioning,
  record,
  rsa,
  signature,
  tls,
  utf8,
};
