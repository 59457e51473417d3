/** `mc/config`: what the manifest's `config` says. Tests write into it. */
const config: Record<string, unknown> = {};

export default config;
