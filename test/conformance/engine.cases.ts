/** What the core takes for granted of an engine, and where engines are known to differ. */
import type { Case } from "./case.js";

export const cases: readonly Case[] = [
  {
    name: "32-bit integer arithmetic wraps and shifts as in ECMAScript",
    run(check) {
      check.equal((0x7fffffff + 1) | 0, -0x80000000);
      check.equal(-1 >>> 0, 0xffffffff);
      check.equal((0xffffffff + 0xffffffff) | 0, -2);
      check.equal(Math.imul(0xdeadbeef, 0xcafebabe), Number(BigInt.asIntN(32, 0xdeadbeefn * 0xcafebaben)));
      check.equal(1 << 33, 2);
      check.equal(-8 >> 1, -4);
    },
  },
  {
    name: "BigInt arithmetic is exact",
    run(check) {
      const p = (1n << 521n) - 1n;
      check.equal((p * p) % (p - 1n), 1n);
      check.equal(BigInt(`0x${"f".repeat(256)}`), (1n << 1024n) - 1n);
      check.equal(((1n << 1024n) - 1n).toString(16), "f".repeat(256));
      check.equal(-7n % 3n, -1n);
      check.equal(BigInt.asUintN(32, -1n), 0xffffffffn);
    },
  },
  {
    name: "numbers and JSON survive their text form",
    run(check) {
      for (const value of [0, -1, 0.1, 1e21, 5e-324, 1.7976931348623157e308, 2 ** 53 - 1, 1735286744]) {
        check.equal(Number(String(value)), value);
        check.equal(JSON.parse(JSON.stringify(value)), value);
      }
      check.equal(JSON.stringify({ a: [1, "\n\u2028", null, undefined], b: undefined }).includes('"b"'), false);
    },
  },
  {
    name: "errors keep their name, code, cause and place in the hierarchy",
    run(check) {
      class Coded extends Error {
        readonly code = "CODE";
      }
      const error = new Coded("text", { cause: 1 });
      check.ok(error instanceof Coded && error instanceof Error, "instanceof");
      check.equal(error.code, "CODE");
      check.equal(error.message, "text");
    },
  },
  {
    name: "promises settle in order",
    async run(check) {
      const order: number[] = [];
      const first = Promise.resolve().then(() => order.push(1));
      const second = (async () => {
        await null;
        order.push(2);
      })();
      await Promise.all([first, second]);
      check.equal(order, [1, 2]);
      check.equal(
        (await Promise.allSettled([Promise.reject(1), 2])).map((each) => each.status),
        ["rejected", "fulfilled"],
      );
    },
  },
];
