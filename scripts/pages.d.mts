export type Platform = "moddable" | "node" | "fetch" | "jest";

export interface Block {
  readonly page: string;
  /** The last heading before it. */
  readonly section: string;
  readonly language: string;
  readonly platform: Platform | "";
  readonly text: string;
  readonly line: number;
}

export const platforms: readonly Platform[];
export const LOCAL_GATEWAY: string;
export const pageDevice: { readonly productId: string; readonly deviceName: string; readonly psk: string };
export function codePages(): string[];
export function allPages(): string[];
export function readPage(page: string): string;
export function blocksOf(page: string): Block[];
export function programsFor(platform: Platform): Block[];
export function linksIn(text: string): string[];
export function anchorsIn(text: string): string[];
export function pageForPackage(page: string, isShipped: (path: string) => boolean): string;
