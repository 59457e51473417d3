import type { Check } from "./check.js";

/**
 * One thing that must hold on every engine. It uses only the portable core and the language; whatever needs Node to be
 * computed, and whatever is large, comes as `data` from `node/<suite>.data.ts`.
 */
export interface Case {
  readonly name: string;
  /**
   * `node/<suite>.data.ts` has under this case's name an object; the case runs once for each of its members, each time
   * in a fresh machine, and counts as so many cases.
   */
  readonly each?: boolean;
  /** Limit of the heap on XS in bytes. @default 65_536 */
  readonly heapBytes?: number;
  /** Limit of the stack on XS in bytes. @default 8192 */
  readonly stackBytes?: number;
  /** `data` comes out of JSON; each case knows its own. */
  run(check: Check, data: any): void | Promise<void>;
}
