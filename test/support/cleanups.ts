import { afterEach } from "@jest/globals";

/** Cleanups after each test, in reverse order; separate for each test file. */
export const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
