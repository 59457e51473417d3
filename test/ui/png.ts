/** Makes a screenshot small enough to be committed: with 256 colors it has a third of the size. */

import { crc32, deflateSync, inflateSync } from "node:zlib";

// Looking up a global takes long in jest's contexts, and there are millions of bytes.
const { abs, min } = Math;

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/**
 * Brings a PNG of 8-bit RGB or RGBA, not interlaced, to a palette: the 256 most frequent colors, after rounding, and for
 * every other the nearest of them (ISO/IEC 15948).
 */
export function withPalette(png: Buffer): Buffer {
  const { width, height, channels, pixels } = decode(png);
  const colors = new Uint32Array(width * height);
  const counts = new Map<number, number>();
  for (let i = 0; i < colors.length; i++) {
    // The lowest two bits of a channel are not seen, and are most of the colors.
    const at = i * channels;
    colors[i] = (rounded(pixels[at]) << 16) | (rounded(pixels[at + 1]) << 8) | rounded(pixels[at + 2]);
    counts.set(colors[i], (counts.get(colors[i]) ?? 0) + 1);
  }
  const palette = [...counts.entries()].sort((x, y) => y[1] - x[1]).slice(0, 256);
  const chosen = palette.map(([color]) => color);
  const indexOf = new Map(chosen.map((color, index) => [color, index]));
  const lines = Buffer.alloc((width + 1) * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const color = colors[y * width + x];
      let index = indexOf.get(color);
      if (index === undefined) {
        index = nearest(chosen, color);
        indexOf.set(color, index);
      }
      lines[y * (width + 1) + 1 + x] = index;
    }
  }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 3, 0, 0, 0], 8);
  const table = Buffer.from(chosen.flatMap((color) => [color >> 16, (color >> 8) & 255, color & 255]));
  return Buffer.concat([
    SIGNATURE,
    chunk("IHDR", head),
    chunk("PLTE", table),
    chunk("IDAT", deflateSync(lines, { level: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function rounded(value: number): number {
  return min(255, (value + 2) & ~3);
}

function nearest(chosen: readonly number[], color: number): number {
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  chosen.forEach((other, index) => {
    let distance = 0;
    for (let shift = 0; shift <= 16; shift += 8) distance += (((color >> shift) & 255) - ((other >> shift) & 255)) ** 2;
    if (distance < least) [best, least] = [index, distance];
  });
  return best;
}

function chunk(type: string, data: Buffer): Buffer {
  const out = Buffer.alloc(12 + data.length);
  out.writeUInt32BE(data.length, 0);
  out.write(type, 4, "latin1");
  data.copy(out, 8);
  out.writeUInt32BE(crc32(out.subarray(4, 8 + data.length)), 8 + data.length);
  return out;
}

function decode(png: Buffer): { width: number; height: number; channels: number; pixels: Buffer } {
  const parts: Buffer[] = [];
  let [width, height, channels] = [0, 0, 0];
  for (let at = 8; at < png.length; ) {
    const size = png.readUInt32BE(at);
    const type = png.toString("latin1", at + 4, at + 8);
    const data = png.subarray(at + 8, at + 8 + size);
    if (type === "IHDR") {
      width = data.readUInt32BE(0);
      height = data.readUInt32BE(4);
      const isKnown = data[8] === 8 && (data[9] === 2 || data[9] === 6) && data[12] === 0;
      if (!isKnown) throw new Error("Only 8-bit RGB and RGBA without interlacing can be read.");
      channels = data[9] === 2 ? 3 : 4;
    } else if (type === "IDAT") parts.push(data);
    at += 12 + size;
  }
  const raw = inflateSync(Buffer.concat(parts));
  const stride = width * channels;
  const pixels = Buffer.alloc(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)];
    for (let x = 0; x < stride; x++) {
      const left = x < channels ? 0 : pixels[y * stride + x - channels];
      const up = y === 0 ? 0 : pixels[(y - 1) * stride + x];
      const corner = x < channels || y === 0 ? 0 : pixels[(y - 1) * stride + x - channels];
      pixels[y * stride + x] = raw[y * (stride + 1) + 1 + x] + predict(filter, left, up, corner);
    }
  }
  return { width, height, channels, pixels };
}

function predict(filter: number, left: number, up: number, corner: number): number {
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  return filter === 4 ? paeth(left, up, corner) : 0;
}

function paeth(left: number, up: number, corner: number): number {
  const a = abs(up - corner);
  const b = abs(left - corner);
  const c = abs(left + up - 2 * corner);
  return a <= b && a <= c ? left : b <= c ? up : corner;
}
