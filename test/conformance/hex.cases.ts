import { hex, hexDecode } from "../../src/crypto/hex.js";
import type { Case } from "./case.js";

export const cases: readonly Case[] = [
  {
    name: "every byte there and back",
    run(check) {
      const bytes = new Uint8Array(256);
      for (let i = 0; i < 256; i++) bytes[i] = i;
      const text = hex(bytes);
      check.equal(text.slice(0, 34), "000102030405060708090a0b0c0d0e0f10");
      check.equal(text.length, 512);
      check.equal(text, text.toLowerCase());
      check.equal(hexDecode(text), bytes);
      check.equal(hexDecode(text.toUpperCase()), bytes);
      check.equal(hex(new Uint8Array(0)), "");
      check.equal(hexDecode(""), new Uint8Array(0));
    },
  },
  {
    name: "what is not hexadecimal is refused",
    run(check) {
      for (const text of [
        "0",
        "abc",
        "0g",
        "g0",
        "0x00",
        " 00",
        "00 ",
        "0 0",
        "-1",
        "+1",
        "1.",
        "0\0",
        "é0",
        "٠٠",
        "００",
      ]) {
        check.throws("INVALID_HEX", () => hexDecode(text), JSON.stringify(text));
      }
    },
  },
];
