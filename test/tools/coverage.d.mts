export const floors: Readonly<Record<string, Readonly<Record<string, number>>>>;
export function judge(
  folder: string,
  files: Readonly<Record<string, Readonly<Record<string, { readonly covered: number; readonly total: number }>>>>,
  least: Readonly<Record<string, number>>,
): { line: string; isBelow: boolean };
