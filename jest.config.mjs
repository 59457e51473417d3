import { fileURLToPath } from "node:url";
import { standIns } from "./mocks/moddable/modules.mjs";
import { libraryEntries, options as swc } from "./scripts/strip-types.mjs";

// The Moddable host gets stand-ins for the SDK's modules, and nobody else does: `net` is a module of Node's too, which
// jest's moduleNameMapper would take away from everybody.
const moddable = {
  ...swc,
  jsc: {
    ...swc.jsc,
    baseUrl: fileURLToPath(new URL("mocks/moddable", import.meta.url)),
    paths: Object.fromEntries(Object.entries(standIns).map(([name, file]) => [name, [file]])),
  },
};

export default {
  testEnvironment: fileURLToPath(new URL("test/tools/guard/environment.mjs", import.meta.url)),
  testEnvironmentOptions: { globalsCleanup: "on" },
  // jest leaves a core to the terminal, which on two cores doubles the time.
  maxWorkers: "100%",
  testSequencer: fileURLToPath(new URL("test/tools/sequencer.mjs", import.meta.url)),
  reporters: ["default", fileURLToPath(new URL("test/tools/guard/reporter.mjs", import.meta.url))],
  extensionsToTreatAsEsm: [".ts"],
  transform: {
    "host/moddable/((embedded|esp32|tls)/)?[^/]+\\.ts$": ["@swc/jest", moddable],
    "\\.ts$": ["@swc/jest", swc],
  },
  moduleNameMapper: {
    "^(\\.{1,2}/.*)\\.js$": "$1",
    ...Object.fromEntries(Object.entries(libraryEntries).map(([name, file]) => [`^${name}$`, file])),
  },
  // Beside the tests, what is to be covered: a file that no test loads counts as not covered.
  roots: ["<rootDir>/test", "<rootDir>/src", "<rootDir>/host", "<rootDir>/tools"],
  modulePathIgnorePatterns: ["<rootDir>/tools/dist", "<rootDir>/tools/templates"],
  testMatch: ["**/*.test.ts"],
  coverageProvider: "v8",
  collectCoverageFrom: [
    "src/**/*.ts",
    "host/anchors/**/*.ts",
    "host/node/**/*.ts",
    "host/fetch/**/*.ts",
    "host/moddable/**/*.ts",
    "tools/**/*.ts",
    "!tools/templates/**",
    "!**/*.d.ts",
  ],
  coverageReporters: ["json-summary", "lcovonly"],
  // Only what never ends is to fail by it, on a machine that does much else, too.
  testTimeout: 900_000,
};
