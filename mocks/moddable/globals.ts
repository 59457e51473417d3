/** What XS has beyond the language, on Node's engine. */

const additions: [object, Record<string, unknown>][] = [
  [ArrayBuffer, { fromString: (text: string) => Uint8Array.from(Buffer.from(String(text))).buffer, fromBigInt }],
  [String, { fromArrayBuffer: (buffer: ArrayBuffer) => Buffer.from(buffer).toString() }],
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

/** Jest shares ArrayBuffer between the files of a worker: what was added there is taken away again. */
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
