/** `ssl/stream`: bytes to be read by a protocol. */
export default class SSLStream {
  readonly bytes: Buffer;

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes);
  }
}
