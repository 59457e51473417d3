/** Modules for the bundler, by the names of their libraries. */
export const peers: Readonly<Record<string, string>>;
export const rsaPeers: Readonly<Record<string, string>>;
