import { base64, base64Decode } from "../../src/crypto/base64.js";
import { utf8 } from "../../src/crypto/utf8.js";
import type { Case } from "./case.js";
import { pattern } from "./hash.cases.js";

export const cases: readonly Case[] = [
  {
    name: "RFC 4648 section 10",
    run(check) {
      const vectors = ["", "", "f", "Zg==", "fo", "Zm8=", "foo", "Zm9v", "foob", "Zm9vYg==", "fooba", "Zm9vYmE="];
      for (let i = 0; i < vectors.length; i += 2) {
        check.equal(base64(utf8(vectors[i])), vectors[i + 1]);
        check.equal(base64Decode(vectors[i + 1]), utf8(vectors[i]));
      }
    },
  },
  {
    name: "every length there and back",
    run(check, texts: readonly string[]) {
      for (let length = 0; length < texts.length; length++) {
        check.equal(base64(pattern(length)), texts[length], `${length} bytes`);
        check.equal(base64Decode(texts[length]), pattern(length), texts[length]);
      }
    },
  },
  {
    name: "every value of three bytes' digits",
    run(check, text: string) {
      const bytes = base64Decode(text);
      check.equal(bytes.length, 48);
      check.equal(base64(bytes), text);
    },
  },
  {
    name: "what is not Base64 is refused",
    run(check, texts: readonly string[]) {
      for (const text of texts) check.throws("INVALID_BASE64", () => base64Decode(text), JSON.stringify(text));
    },
  },
];
