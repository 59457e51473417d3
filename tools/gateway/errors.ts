/** Codes of errors of the gateway's API. */
export type GatewayErrorCode =
  /** Another program listens on the port. */
  | "PORT_IN_USE"
  /** The operating system does not allow this user to listen on the port. */
  | "PORT_FORBIDDEN"
  /** Listening failed for another reason; see `cause`. */
  | "LISTEN_FAILED"
  /** An option has an invalid value. */
  | "INVALID_OPTION"
  /** The description of products and devices is invalid. */
  | "INVALID_DEVICES"
  /** The devices file cannot be read. */
  | "DEVICES_UNREADABLE"
  /** The state folder or a file in it cannot be read or written, or others can. */
  | "STATE_UNUSABLE"
  /** A file of the state folder is damaged. */
  | "STATE_DAMAGED"
  /** A file is in the way that was written by something else. */
  | "FILE_EXISTS"
  /** A file cannot be written. */
  | "FILE_UNWRITABLE"
  /** A recording cannot be read, or is not one. */
  | "INVALID_RECORDING"
  /** A recording cannot be written. */
  | "RECORDING_FAILED"
  /** Files of the page are missing from the installed package. */
  | "UI_INCOMPLETE";

/** Error of the gateway's API. The message is one sentence without secrets. */
export class GatewayError extends Error {
  override readonly name = "GatewayError";
  readonly code: GatewayErrorCode;

  constructor(code: GatewayErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
