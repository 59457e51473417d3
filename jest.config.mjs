import { fileURLToPath } from "node:url";
import { standIns } from "./mocks/moddable/modules.mjs";

const swc = {
  jsc: { parser: { syntax: "typescript" }, target: "es2022", transform: { useDefineForClassFields: true } },
  module: { type: "es6" },
};

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
  testEnvironment: "node",
  extensionsToTreatAsEsm: [".ts"],
  transform: {
    "host/moddable/(esp32/)?[^/]+\\.ts$": ["@swc/jest", moddable],
    "\\.ts$": ["@swc/jest", swc],
  },
  moduleNameMapper: { "^(\\.{1,2}/.*)\\.js$": "$1" },
  roots: ["<rootDir>/test"],
  testMatch: ["**/*.test.ts"],
};
