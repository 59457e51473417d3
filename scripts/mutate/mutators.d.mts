export interface Mutant {
  readonly id: string;
  readonly kind: string;
  readonly line: number;
  readonly column: number;
  readonly start: number;
  readonly end: number;
  readonly replacement: string;
}
export interface Block {
  readonly start: number;
  readonly end: number;
}
export function mutants(path: string, source: string): Mutant[];
export function apply(source: string, mutant: Pick<Mutant, "start" | "end" | "replacement">): string;
export function probed(path: string, source: string, name: string): { source: string; blocks: Block[] };
export function blockOf(blocks: readonly Block[], place: Block): number | undefined;
