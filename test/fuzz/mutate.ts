/** Damages bytes as files, radios and attackers do, repeatably. */

/** Bytes that readers take for something: lengths, tags, quotes, ends. */
const telling = [
  0x00, 0x01, 0x02, 0x03, 0x0a, 0x0d, 0x20, 0x22, 0x2d, 0x30, 0x5b, 0x5c, 0x5d, 0x7b, 0x7d, 0x7f, 0x80, 0x81,
];
telling.push(0x82, 0x83, 0x84, 0x88, 0xc0, 0xe0, 0xed, 0xf0, 0xf4, 0xf8, 0xfe, 0xff);

/**
 * @param random numbers from 0 to 1
 * @param others samples to take pieces from
 * @param maxBytes of the result
 */
export function mutate(
  sample: Uint8Array,
  random: () => number,
  others: readonly Uint8Array[],
  maxBytes: number,
): Uint8Array {
  let bytes = sample;
  const below = (n: number) => Math.floor(random() * n);
  for (let times = 1 + below(4); times > 0; times--) {
    const at = below(bytes.length + 1);
    const length = below(Math.min(64, bytes.length - at) + 1);
    switch (below(9)) {
      case 0:
        bytes = bytes.slice();
        if (at < bytes.length) bytes[at] ^= 1 << below(8);
        break;
      case 1:
        bytes = bytes.slice();
        if (at < bytes.length) bytes[at] = telling[below(telling.length)];
        break;
      case 2:
        bytes = bytes.slice(0, at);
        break;
      case 3:
        bytes = joined(bytes.subarray(0, at), bytes.subarray(at + length));
        break;
      case 4:
        bytes = joined(bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at));
        break;
      case 5:
        bytes = joined(
          bytes.subarray(0, at),
          Uint8Array.from({ length: below(8) }, () => below(256)),
          bytes.subarray(at),
        );
        break;
      case 6: {
        const other = others[below(others.length)];
        bytes = joined(bytes.subarray(0, at), other.subarray(below(other.length + 1)));
        break;
      }
      case 7: {
        // A number of two or four bytes at an edge of its range.
        bytes = bytes.slice();
        const width = random() < 0.5 ? 2 : 4;
        if (at + width <= bytes.length) {
          const edge = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff][below(9)];
          const view = new DataView(bytes.buffer, bytes.byteOffset);
          if (width === 2) view.setUint16(at, edge & 0xffff);
          else view.setUint32(at, edge);
        }
        break;
      }
      default:
        // Now and then something very long.
        if (random() < 0.004 && bytes.length > 0) {
          const piece = bytes.subarray(at, at + 1 + length);
          const size = below(maxBytes);
          if (piece.length > 0) {
            const long = new Uint8Array(size);
            for (let i = 0; i < size; i += piece.length)
              long.set(piece.subarray(0, Math.min(piece.length, size - i)), i);
            bytes = joined(bytes.subarray(0, at), long, bytes.subarray(at));
          }
        }
    }
  }
  return bytes.length > maxBytes ? bytes.subarray(0, maxBytes) : bytes;
}

function joined(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
