/** CRC-32 as in Ethernet and ZIP (ITU-T V.42 section 8.1.1.6.2), four bits at a time: a table of 16 words is enough. */

const table: readonly number[] = Object.freeze(makeTable());

function makeTable(): number[] {
  const words: number[] = [];
  for (let n = 0; n < 16; n++) {
    let c = n;
    for (let bit = 0; bit < 4; bit++) c = c & 1 ? ((c >> 1) & 0x7fffffff) ^ 0xedb88320 : c >> 1;
    words.push(c | 0);
  }
  return words;
}

/**
 * The checksum of bytes as a signed 32-bit integer.
 * @param from first byte
 * @param before checksum of the bytes that come before these
 */
export function crc32(bytes: Uint8Array, from = 0, before = 0): number {
  const { length } = bytes;
  let crc = ~before;
  for (let i = from; i < length; i++) {
    // `>>` and a mask: `>>>` makes a double of every negative number on XS.
    crc ^= bytes[i];
    crc = table[crc & 15] ^ ((crc >> 4) & 0x0fffffff);
    crc = table[crc & 15] ^ ((crc >> 4) & 0x0fffffff);
  }
  return ~crc;
}
