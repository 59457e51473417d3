export type DiagnoseErrorCode =
  | "INVALID_CURL"
  | "INVALID_HTTP"
  | "INVALID_HAR"
  | "INVALID_TRACE"
  | "INVALID_RECORD"
  | "UNKNOWN_FORMAT"
  | "INVALID_REQUEST"
  | "INVALID_KEY"
  | "INVALID_OPTION";

/** Input that cannot be diagnosed. The message never contains a key. */
export class DiagnoseError extends Error {
  override readonly name = "DiagnoseError";
  readonly code: DiagnoseErrorCode;

  constructor(code: DiagnoseErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
