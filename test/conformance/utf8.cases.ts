import { hex, hexDecode } from "../../src/crypto/hex.js";
import { utf8, utf8Decode } from "../../src/crypto/utf8.js";
import type { Case } from "./case.js";

export const cases: readonly Case[] = [
  {
    name: "TextEncoder's bytes",
    each: true,
    run(check, { pieces, bytes, whole }: { pieces: readonly string[]; bytes: string; whole: boolean }) {
      // Joined here: on XS, two halves of a character stay two halves.
      const text = pieces.join("");
      check.equal(hex(utf8(text)), bytes);
      check.equal(hex(utf8(`x${text}y`)), `78${bytes}79`);
      if (whole) check.equal(utf8Decode(hexDecode(bytes)), text);
    },
  },
  {
    name: "a text of every length",
    run(check) {
      // The fast way out of a conversion likes to forget the last character, or one at the end of a block.
      let text = "";
      for (let length = 0; length < 200; length++) {
        const bytes = utf8(text);
        check.equal(bytes.length, length);
        for (let i = 0; i < length; i++)
          if (bytes[i] !== 97 + (i % 26)) check.equal(bytes[i], 97 + (i % 26), `at ${i}`);
        text += String.fromCharCode(97 + (length % 26));
      }
    },
  },
  {
    name: "every character of one, two and three bytes, in samples, and back",
    run(check) {
      for (let c = 1; c < 0x10000; c += c < 0x800 ? 1 : 37) {
        if (c >= 0xd800 && c < 0xe000) continue;
        const text = String.fromCharCode(c);
        const bytes = utf8(text);
        const length = c < 0x80 ? 1 : c < 0x800 ? 2 : 3;
        if (bytes.length !== length || utf8Decode(bytes) !== text)
          check.ok(false, `U+${c.toString(16)}: ${hex(bytes)}`);
      }
      check.ok(true, "all");
    },
  },
  {
    name: "characters of four bytes, in samples, and back",
    run(check) {
      for (let c = 0x10000; c < 0x110000; c += 4093) {
        const text = String.fromCodePoint(c);
        const bytes = utf8(text);
        if (bytes.length !== 4 || utf8Decode(bytes) !== text) check.ok(false, `U+${c.toString(16)}: ${hex(bytes)}`);
        check.equal(hex(bytes), hex(utf8(text)));
      }
    },
  },
  {
    name: "a long text, and what needs care anywhere in it, takes no more than a few copies of it",
    each: true,
    // The text, its bytes, and what they become: each up to 16 KB, and the strings that they are joined from.
    heapBytes: 114688,
    run(check, { pieces, middle }: { pieces: readonly [string, string]; middle: string }) {
      const half = "0123456789abcdef".repeat(510);
      for (const text of [`${half}${half}${pieces.join("")}`, `${pieces.join("")}${half}${half}`]) {
        const bytes = utf8(text);
        const added = middle.length / 2;
        check.equal(bytes.length, 2 * half.length + added);
        const at = text.startsWith("0") ? 2 * half.length : 0;
        check.equal(hex(bytes.slice(at, at + added)), middle);
        check.equal(hex(bytes.slice(at ? 0 : added, (at ? 0 : added) + 4)), "30313233");
        const back = utf8Decode(bytes);
        check.equal(back.length, 2 * half.length + utf8Decode(hexDecode(middle)).length);
        check.ok(at ? back.startsWith(half) : back.endsWith(half), "and back");
      }
    },
  },
  {
    name: "what is not UTF-8 is refused",
    run(check, octets: readonly string[]) {
      for (const each of octets) check.throws("INVALID_UTF8", () => utf8Decode(hexDecode(each)), each);
    },
  },
];
