// Starts the longest test files first, so that no core waits for one of them at the end. jest knows how long a file takes
// only after it ran here once; until then it goes by the size of the file, which says nothing of a build or an emulator.
import Sequencer from "@jest/test-sequencer";

/** Files that take longer than ten seconds, the longest first. */
export const longest = [
  "test/node/package.test.ts",
  "test/bench/bench.test.ts",
  "test/faults/moddable.test.ts",
  "test/faults/node.test.ts",
  "test/fleet/fleet.test.ts",
  "test/soak/soak.test.ts",
  "test/fleet/storm.test.ts",
  "test/conformance/node/conformance.test.ts",
  "test/model/model.test.ts",
  "test/unit/provisioning.test.ts",
  "test/unit/mutate.test.ts",
  "test/tools/guard/guard.test.ts",
  "test/unit/outbox-power.test.ts",
];

export default class LongestFirst extends Sequencer {
  async sort(tests) {
    const sorted = await super.sort(tests);
    const rank = ({ path }) => {
      const index = longest.findIndex((file) => path.replaceAll("\\", "/").endsWith(`/${file}`));
      return index < 0 ? longest.length : index;
    };
    return [...sorted].sort((a, b) => rank(a) - rank(b));
  }
}
