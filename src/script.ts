/** All entries in one file, for engines that load scripts but no modules. */

export * from "./entries/crypto.js";
export * from "./entries/host.js";
export * from "./entries/signing.js";
export * from "./index.js";
export * from "./topics/topics.js";
