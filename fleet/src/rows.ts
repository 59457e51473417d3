/** Rows of the console's CSV, and the slice of them that belongs to one run. */

/** A virtual board's identity. Without `psk` it registers first. */
export interface Row {
  readonly productId: string;
  readonly deviceName: string;
  readonly psk?: string;
}

/** Names of the columns, in lower case without spaces and underscores: those of the API, and those the console shows. */
const columns: Readonly<Record<keyof Row, readonly string[]>> = {
  productId: ["productid", "产品id"],
  deviceName: ["devicename", "设备名称"],
  psk: ["devicepsk", "psk", "devicesecret", "设备密钥"],
};

/**
 * Reads a CSV with a header: ProductId (optional), DeviceName, DevicePsk, in any order; other columns are ignored.
 * @param productId for rows without one
 * @throws Error with the line, and never with its content, which may be a key
 */
export function readRows(text: string, productId?: string): Row[] {
  const lines = cells(text);
  const header = lines[0]?.cells.map((name) => name.toLowerCase().replace(/[\s_]/g, "")) ?? [];
  const at = (name: keyof Row) => header.findIndex((column) => columns[name].includes(column));
  const [productAt, nameAt, pskAt] = [at("productId"), at("deviceName"), at("psk")];
  if (nameAt < 0) throw new Error("The CSV has no column DeviceName.");
  const names = new Set<string>();
  return lines.slice(1).map(({ line, cells }) => {
    const deviceName = cells[nameAt] ?? "";
    const product = cells[productAt] || productId;
    if (deviceName === "" || product === undefined) throw new Error(`Line ${line} of the CSV has no device.`);
    const name = `${product}/${deviceName}`;
    // Two boards with one credential would reuse each other's nonces.
    if (names.has(name)) throw new Error(`Line ${line} of the CSV has a device of an earlier line.`);
    names.add(name);
    return { productId: product, deviceName, psk: cells[pskAt] || undefined };
  });
}

/** The rows of one run: from `offset`, at most `count`. @throws Error if there are fewer */
export function sliceOf<T>(rows: readonly T[], offset: number, count: number): T[] {
  if (offset + count > rows.length) {
    throw new Error(`Devices ${offset} to ${offset + count - 1} are wanted, but there are only ${rows.length}.`);
  }
  return rows.slice(offset, offset + count);
}

/** Offsets and counts of runs that share `total` devices without an overlap or a rest. */
export function divide(total: number, runs: number): { readonly offset: number; readonly count: number }[] {
  return Array.from({ length: runs }, (_, index) => {
    const offset = Math.floor((total * index) / runs);
    return { offset, count: Math.floor((total * (index + 1)) / runs) - offset };
  });
}

/** Lines that are not empty, as RFC 4180 writes them: quoted cells may have commas and doubled quotes. */
function cells(text: string): { readonly line: number; readonly cells: string[] }[] {
  return text
    .replace(/^\ufeff/, "")
    .split(/\r\n|\n|\r/)
    .map((content, index) => ({ line: index + 1, cells: cellsOf(content) }))
    .filter(({ cells }) => cells.some((cell) => cell !== ""));
}

function cellsOf(line: string): string[] {
  const cells: string[] = [];
  // With a comma after the last cell, each cell is what stands before one.
  for (const [, quoted, plain] of `${line},`.matchAll(/\s*(?:"((?:[^"]|"")*)"|([^,]*))\s*,/g)) {
    cells.push(quoted?.replaceAll('""', '"') ?? plain.trim());
  }
  return cells;
}
