import { pattern } from "../hash.cases.js";

export const data = {
  "every length there and back": Array.from({ length: 100 }, (_, length) =>
    Buffer.from(pattern(length)).toString("base64"),
  ),
  "every value of three bytes' digits": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
  "what is not Base64 is refused": [
    "A",
    "AA",
    "AAA",
    "AAAAA",
    "=",
    "==",
    "====",
    "A===",
    "AA=A",
    "AAA=AAAA",
    "AA==AAAA",
    "AAAA====",
    // Bits that no byte takes must be zero, or one signature would have several texts.
    "AB==",
    "AAB=",
    "Zm9=",
    // Other alphabets and lenient decoders.
    "-_-_",
    "AAAA\n",
    "\nAAAA",
    " AAA",
    "AA A",
    "AAA\0",
    "AA\u0000=",
    "AA.=",
    "ééé=",
    "漢漢漢漢",
    "😀😀",
    "\ud83d\ud83d\ud83d\ud83d",
    "ＡＡＡＡ",
  ],
};
