/** `mc/config`: the manifest's `config`. Tests write into it. */
const config: Record<string, unknown> = {};

export default config;
