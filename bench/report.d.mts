export function table(results: object): string;
export function line(results: object): string;
export const pages: Readonly<Record<string, (results: object) => string>>;
export function chart(results: object): Promise<string>;
export function section(text: string, page: string): string;
export function figures(text: string): string;
export function readReport(): { texts: Record<string, string>; svg: string };
export function stale(results: object, files: { texts: Record<string, string>; svg: string }): Promise<string[]>;
export const outboxNames: Readonly<Record<string, string>>;
