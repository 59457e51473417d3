import type { Plugin } from "rollup";

export const options: object;
export function stripTypes(
  file: string,
  settings?: { sourceMaps?: boolean | "inline" },
): Promise<{ code: string; map?: string }>;
export function sourceOf(specifier: string, importer: string | undefined): string | null;
export function stripTypesPlugin(): Plugin;
