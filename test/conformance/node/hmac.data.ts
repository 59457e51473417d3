import { createHmac } from "node:crypto";
import { pattern } from "../hash.cases.js";
import { eachRange } from "./hash.data.js";

const ascii = (text: string) => Buffer.from(text, "latin1").toString("hex");
const counting = Array.from({ length: 25 }, (_, index) => (index + 1).toString(16).padStart(2, "0")).join("");

/** RFC 4231 section 4; of the fifth, only the first 128 bits are given. */
const rfc4231: readonly [string, string, string][] = [
  ["0b".repeat(20), ascii("Hi There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"],
  [
    ascii("Jefe"),
    ascii("what do ya want for nothing?"),
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
  ],
  ["aa".repeat(20), "dd".repeat(50), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"],
  [counting, "cd".repeat(50), "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"],
  ["0c".repeat(20), ascii("Test With Truncation"), "a3b6167473100ee06e0c796c2955552b"],
  [
    "aa".repeat(131),
    ascii("Test Using Larger Than Block-Size Key - Hash Key First"),
    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
  ],
  [
    "aa".repeat(131),
    ascii(
      "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.",
    ),
    "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
  ],
];

/** RFC 2202 section 3. */
const rfc2202: readonly [string, string, string][] = [
  ["0b".repeat(20), ascii("Hi There"), "b617318655057264e28bc0b6fb378c8ef146be00"],
  [ascii("Jefe"), ascii("what do ya want for nothing?"), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"],
  ["aa".repeat(20), "dd".repeat(50), "125d7342b9ac11cd91a39af48aa17b4f63f175d3"],
  [counting, "cd".repeat(50), "4c9007f4026250c6bc8414f9bf50c86c2d7235da"],
  ["0c".repeat(20), ascii("Test With Truncation"), "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04"],
  [
    "aa".repeat(80),
    ascii("Test Using Larger Than Block-Size Key - Hash Key First"),
    "aa4ae5e15272d00e95705637ce8a3b55ed402112",
  ],
  [
    "aa".repeat(80),
    ascii("Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data"),
    "e8e99d0f45237d786d6bbaa7965c7808bbff1a91",
  ],
];

function known(rfc: string, hash: string, vectors: readonly [string, string, string][]): [string, unknown][] {
  return vectors.map(([key, message, code], index) => [`${rfc} case ${index + 1}`, { hash, key, message, code }]);
}

export const data = {
  "known answer": Object.fromEntries([...known("RFC 4231", "sha256", rfc4231), ...known("RFC 2202", "sha1", rfc2202)]),
  "every length of key": eachRange((hash, length) =>
    createHmac(hash, pattern(length)).update(pattern(40)).digest("hex"),
  ),
  "every length of message": eachRange((hash, length) =>
    createHmac(hash, pattern(24)).update(pattern(length)).digest("hex"),
  ),
};
