export function table(results: object): string;
export function chart(results: object): Promise<string>;
export function section(readme: string): string;
export function figures(text: string): string;
export function stale(results: object, files: { readme: string; svg: string }): Promise<string[]>;
export const outboxNames: Readonly<Record<string, string>>;
