export const longest: readonly string[];

/** jest's own, with the longest files first. */
export default class LongestFirst {
  constructor(options: object);
  sort(tests: readonly object[]): Promise<{ path: string }[]>;
}
