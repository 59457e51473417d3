/** The eight fields of the string to sign, in their order (Tencent Cloud IoT Hub, "HTTP Access", signature). */
export interface SignedFields {
  readonly method: string;
  readonly host: string;
  readonly path: string;
  readonly query: string;
  readonly algorithm: string;
  readonly timestamp: string;
  readonly nonce: string;
  readonly bodyHash: string;
}

export const signedFieldNames = [
  "method",
  "host",
  "path",
  "query",
  "algorithm",
  "timestamp",
  "nonce",
  "bodyHash",
] as const satisfies readonly (keyof SignedFields)[];

export type SignedFieldName = (typeof signedFieldNames)[number];

export function stringToSign(fields: SignedFields): string {
  const { method, host, path, query, algorithm, timestamp, nonce, bodyHash } = fields;
  return `${method}\n${host}\n${path}\n${query}\n${algorithm}\n${timestamp}\n${nonce}\n${bodyHash}`;
}

/** Returns the text with a sign for every invisible character: controls, marks, and spaces other than U+0020. */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]|(?! )\p{Zs}/gu, (character) => {
    const code = character.codePointAt(0) as number;
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    if (code === 0x7f) return "␡";
    return `\\u{${code.toString(16)}}`;
  });
}
