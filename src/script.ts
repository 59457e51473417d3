/** All entries as one, for engines that load a script and no modules. */

export * from "./entries/crypto.js";
export * from "./entries/host.js";
export * from "./entries/signing.js";
export * from "./index.js";
export * from "./topics/topics.js";
