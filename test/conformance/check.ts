/** Assertions that run on every engine, in a small heap, without a test framework. */

/** A check that did not hold. */
export class CheckFailure extends Error {
  override get name(): string {
    return "CheckFailure";
  }
}

export class Check {
  /** Number of checks that held. */
  count = 0;

  ok(value: unknown, what: string): void {
    if (!value) throw new CheckFailure(what);
    this.count++;
  }

  /** The same primitive (NaN equals NaN, 0 is not -0), the same bytes, or arrays and plain objects of equal members. */
  equal(actual: unknown, expected: unknown, what = ""): void {
    const difference = compare(actual, expected, "");
    if (difference) throw new CheckFailure(what ? `${what}: ${difference}` : difference);
    this.count++;
  }

  /**
   * Throws an error with this `code`.
   * @returns the error
   */
  throws(code: string, action: () => unknown, what = ""): Error {
    let thrown: unknown;
    let result: unknown;
    try {
      result = action();
    } catch (error) {
      thrown = error;
    }
    return this.#expectCode(code, thrown, result, what);
  }

  /**
   * Returns a promise that rejects with an error of this `code`; what is thrown at once does not count.
   * @returns the error
   */
  async rejects(code: string, action: () => Promise<unknown>, what = ""): Promise<Error> {
    const promise = action();
    let thrown: unknown;
    let result: unknown;
    try {
      result = await promise;
    } catch (error) {
      thrown = error;
    }
    return this.#expectCode(code, thrown, result, what);
  }

  #expectCode(code: string, thrown: unknown, result: unknown, what: string): Error {
    const prefix = what ? `${what}: ` : "";
    if (thrown === undefined) throw new CheckFailure(`${prefix}expected ${code}, got no error but ${show(result)}`);
    if (!(thrown instanceof Error) || (thrown as { code?: unknown }).code !== code) {
      throw new CheckFailure(`${prefix}expected ${code}, got ${show((thrown as { code?: unknown }).code)}: ${thrown}`);
    }
    this.count++;
    return thrown;
  }
}

/** Where two values differ; empty if they do not. Only as deep as test data is. */
function compare(actual: unknown, expected: unknown, path: string): string {
  if (Object.is(actual, expected)) return "";
  const at = path ? `at ${path}: ` : "";
  if (expected instanceof Uint8Array) {
    if (!(actual instanceof Uint8Array)) return `${at}expected bytes, got ${show(actual)}`;
    for (let i = 0; i < Math.max(actual.length, expected.length); i++) {
      if (actual[i] !== expected[i]) return `${at}expected ${show(expected)}, got ${show(actual)}, from byte ${i} on`;
    }
    return "";
  }
  const isObject = (value: unknown) => typeof value === "object" && value !== null;
  if (!isObject(expected) || !isObject(actual) || Array.isArray(actual) !== Array.isArray(expected)) {
    return `${at}expected ${show(expected)}, got ${show(actual)}`;
  }
  const a = actual as Record<string, unknown>;
  const e = expected as Record<string, unknown>;
  for (const key of Object.keys(e)) {
    const difference = compare(a[key], e[key], path ? `${path}.${key}` : key);
    if (difference) return difference;
  }
  for (const key of Object.keys(a)) {
    if (!(key in e)) return `${at}unexpected member ${key}: ${show(a[key])}`;
  }
  return "";
}

function show(value: unknown): string {
  let text: string;
  if (typeof value === "bigint") text = `${value}n`;
  else if (value instanceof Uint8Array) text = `[${value.subarray(0, 40).join(" ")}] (${value.length} bytes)`;
  else text = JSON.stringify(value) ?? String(value);
  return text.length > 200 ? `${text.slice(0, 200)}… (${text.length})` : text;
}
