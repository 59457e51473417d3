import { BlockCipher, Mode } from "crypt";
import type { NativeAes } from "../../src/host.js";

/** AES of the SDK's `crypt`, which TLS brings along. The core checks what comes of it against its own. */
export class CryptAes implements NativeAes {
  decryptCbc(key: Uint8Array, iv: Uint8Array, ciphertext: Uint8Array): Uint8Array {
    // The SDK takes whole buffers here, and its padding stays off.
    const mode = new Mode("CBC", new BlockCipher("AES", key.slice().buffer), iv.slice().buffer);
    return new Uint8Array(mode.decrypt(ciphertext.slice().buffer));
  }
}
