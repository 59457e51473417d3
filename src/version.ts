/** What a release stamps: its number, and the moment before which no clock can be right. */

export const version = "0.1.0";

/** When this version was made, in milliseconds since 1970. A clock that shows less has not been set. */
export const buildDateMs = Date.UTC(2026, 10, 1);
