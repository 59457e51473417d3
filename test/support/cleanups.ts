import { afterEach } from "@jest/globals";

/** What is to be undone after the test, the last first. Each test file that imports this has its own. */
export const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
