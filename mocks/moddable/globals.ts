/** Globals of XS beyond the language, for Node. */

/** Encodes text like XS: UTF-8, with lone surrogates unchanged. */
function fromString(text: string): ArrayBuffer {
  const bytes: number[] = [];
  for (const character of String(text)) {
    const c = character.codePointAt(0) as number;
    if (c >= 0xd800 && c < 0xe000) bytes.push(0xe0 | (c >> 12), 0x80 | ((c >> 6) & 63), 0x80 | (c & 63));
    else bytes.push(...Buffer.from(character));
  }
  return Uint8Array.from(bytes).buffer;
}

/** Decodes text like XS: accepts overlong forms and surrogates, and rejects everything else that is not UTF-8. */
function fromArrayBuffer(buffer: ArrayBuffer, start = 0, length = buffer.byteLength - start): string {
  const bytes = new Uint8Array(buffer, start, length);
  let text = "";
  for (let i = 0; i < length; ) {
    const first = bytes[i++];
    const more = first < 0x80 ? 0 : first < 0xc0 ? -1 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf8 ? 3 : -1;
    if (more < 0 || i + more > length) throw new TypeError("invalid UTF-8");
    let c = more === 0 ? first : first & (0x3f >> more);
    for (let n = 0; n < more; n++) {
      const next = bytes[i++];
      if ((next & 0xc0) !== 0x80) throw new TypeError("invalid UTF-8");
      c = (c << 6) | (next & 63);
    }
    text += String.fromCodePoint(c);
  }
  return text;
}

const additions: [object, Record<string, unknown>][] = [
  [ArrayBuffer, { fromString, fromBigInt }],
  [String, { fromArrayBuffer }],
  [
    BigInt,
    {
      fromArrayBuffer: (buffer: ArrayBuffer) => BigInt(`0x${Buffer.from(buffer).toString("hex") || "0"}`),
      bitLength: (value: bigint) => (value === 0n ? 0 : value.toString(2).length),
    },
  ],
  [globalThis, { trace: () => {} }],
];

function fromBigInt(value: bigint, minBytes = 0): ArrayBuffer {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.padStart(Math.max(hex.length + (hex.length % 2), 2 * minBytes), "0"), "hex");
  return Uint8Array.from(bytes).buffer;
}

/** Removes the additions, since jest shares ArrayBuffer between the files of a worker. */
export function removeGlobals(): void {
  for (const [target, name] of added.splice(0)) Reflect.deleteProperty(target, name);
}

const added: [object, string][] = [];
for (const [target, members] of additions) {
  for (const [name, value] of Object.entries(members)) {
    if (name in target) continue;
    Object.defineProperty(target, name, { value, configurable: true, writable: true });
    added.push([target, name]);
  }
}
