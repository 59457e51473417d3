export interface Budget {
  readonly what: string;
  readonly unit: "instructions" | "bytes";
  readonly budget: number;
  readonly recorded?: string;
}
export const budgets: Readonly<Record<string, Budget>>;
export const DEVICE_BYTES: number;
export const STACK_BYTES: number;
export function recordedFigure(budget: Budget, results: object): number | undefined;
export function judge(
  figures: Readonly<Record<string, number | undefined>>,
  results?: object,
  options?: { readonly shownOnly?: string },
): { rows: string[]; over: string[] };
