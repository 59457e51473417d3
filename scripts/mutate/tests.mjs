/** As much of jest as the tests use, in one process: their files are loaded anew for every mutant, in a few milliseconds. */
import { expect } from "expect";
import { ModuleMocker } from "jest-mock";

/** Collects what a test file declares. */
export function createCollector() {
  const tests = [];
  const mocker = new ModuleMocker(globalThis);
  const root = scope(undefined);
  let current = root;

  function scope(parent) {
    return { parent, beforeAll: [], beforeEach: [], afterEach: [], afterAll: [], isReady: false };
  }
  const describe = (_name, body) => {
    current = scope(current);
    try {
      body();
    } finally {
      current = current.parent;
    }
  };
  const test = (name, body) => tests.push({ name, body, scope: current });
  const each = (declare) => (table) => (name, body) => {
    for (const [index, row] of table.entries()) {
      declare(`${name} (${index})`, () => (Array.isArray(row) ? body(...row) : body(row)));
    }
  };
  const hook = (kind) => (body) => void current[kind].push(body);
  const skip = () => {};
  skip.each = () => skip;
  describe.each = each(describe);
  describe.skip = skip;
  test.each = each(test);
  test.skip = skip;

  const jest = {
    fn: (...parts) => mocker.fn(...parts),
    spyOn: (...parts) => mocker.spyOn(...parts),
    restoreAllMocks: () => mocker.restoreAllMocks(),
    setTimeout: () => jest,
  };
  const globals = { describe, test, it: test, expect, jest };
  for (const kind of ["beforeAll", "beforeEach", "afterEach", "afterAll"]) globals[kind] = hook(kind);

  const chain = (inner) => (inner ? [...chain(inner.parent), inner] : []);

  /** Runs a test with its hooks. @throws what it throws */
  async function run(index) {
    const { body, scope: inner } = tests[index];
    const scopes = chain(inner);
    for (const one of scopes) {
      if (one.isReady) continue;
      one.isReady = true;
      for (const before of one.beforeAll) await before();
    }
    try {
      for (const one of scopes) for (const before of one.beforeEach) await before();
      expect.setState({ assertionCalls: 0, expectedAssertionsNumber: null, isExpectingAssertions: false });
      await body();
    } finally {
      for (const one of scopes.reverse()) for (const after of one.afterEach) await after();
    }
  }

  /** What is to be done after the last test of the file, whether it passed or not. */
  async function end() {
    const scopes = new Set(tests.flatMap(({ scope: inner }) => chain(inner)).reverse());
    for (const one of scopes) if (one.isReady) for (const after of one.afterAll) await after();
    mocker.restoreAllMocks();
  }

  return { module: globals, tests, run, end };
}
