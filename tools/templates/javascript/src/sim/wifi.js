/** The simulator uses this computer's network. */
export function startWifi() {}
