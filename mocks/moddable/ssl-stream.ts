/** `ssl/stream`: input of a protocol. */
export default class SSLStream {
  readonly bytes: Buffer;

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes);
  }
}
