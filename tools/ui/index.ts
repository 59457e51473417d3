/**
 * The page of the local gateway and its API, on a separate listener:
 *
 * - `GET /_/events`: server-sent events `request`, `tlsError`, `dropped` and `fault`, numbered; and the states `counts`,
 *   `faults` and `devices` whenever they change. `Last-Event-ID` (or `?after=`) continues after an event.
 * - `GET /_/requests?after=INDEX&limit=N`, `GET /_/requests/INDEX`: what was received; the latter with headers and body.
 * - `GET /_/faults`, `POST /_/faults`: the faults that are switched on, and changes of them.
 * - `GET /_/counts`, `GET /_/devices`, `GET /_/info`, `GET /_/ca.pem`.
 */

export { checkUiOptions, type UiOptions } from "./options.js";
export { startUi, type Ui } from "./server.js";
