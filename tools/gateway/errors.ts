/** What can go wrong before the gateway runs. */
export type GatewayErrorCode =
  /** Another program listens on the port. */
  | "PORT_IN_USE"
  /** The operating system does not let this user listen there. */
  | "PORT_FORBIDDEN"
  /** Listening failed for another reason; see `cause`. */
  | "LISTEN_FAILED"
  /** An option has a value that makes no sense. */
  | "INVALID_OPTION"
  /** The description of products and devices is wrong. */
  | "INVALID_DEVICES"
  /** The file with the devices cannot be read. */
  | "DEVICES_UNREADABLE";

/** Every error that the gateway's own API throws or rejects with. The message is one sentence without secrets. */
export class GatewayError extends Error {
  override readonly name = "GatewayError";
  readonly code: GatewayErrorCode;

  constructor(code: GatewayErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
