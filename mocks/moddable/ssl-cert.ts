/** `ssl/cert`: whom a session trusts, and the keys of its own. The stand-in trusts nobody: the host's guard decides. */

import { createPrivateKey, type KeyObject } from "node:crypto";

export default class CertificateManager {
  readonly #options: { clientCertificates?: readonly ArrayBuffer[]; clientKey?: ArrayBuffer };

  constructor(options: object) {
    this.#options = options;
  }

  verify(_certificates: Uint8Array[], _options: object): boolean {
    return false;
  }

  register(_certificate: ArrayBuffer): void {}

  /** The client's own key. */
  getKey(certificate: ArrayBuffer): object | undefined {
    const { clientCertificates, clientKey } = this.#options;
    if (!clientKey || certificate !== clientCertificates?.[0]) return undefined;
    return createPrivateKey({ key: Buffer.from(clientKey), format: "der", type: "pkcs8" });
  }

  findPreferredCert(): readonly ArrayBuffer[] {
    return this.#options.clientCertificates ?? [];
  }
}

export type ClientKey = KeyObject;
