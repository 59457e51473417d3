/** Version and build date of a release. */

export const version = "0.1.0";

/** Build date of this version, in milliseconds since 1970. A clock before it has not been set. */
export const buildDateMs = Date.UTC(2026, 10, 1);
