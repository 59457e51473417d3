/** The key of a request in `sign` and `diagnose`, with the same options as in `publish` and `register`. */

import { CliError, exitCodes } from "./failure.js";
import { readKey, readSecret } from "./files.js";
import { type Streams, warnSecretOnCommandLine } from "./io.js";

/** Options of the key. */
export interface KeyArguments {
  readonly psk?: string;
  readonly pskFile?: string;
  readonly productSecret?: string;
  readonly productSecretFile?: string;
  readonly keyFile?: string;
}

/** Keys that were given; a device has either a PSK or a private key. */
export interface SigningKeys {
  readonly psk?: string;
  /** Signs registrations. */
  readonly productSecret?: string;
  /** PEM as text, or DER. */
  readonly privateKey?: string | Uint8Array;
}

/**
 * Reads the keys of the options, and warns of secrets on the command line.
 * @throws {CliError} USAGE if there is none, or one is given twice; FILE_UNREADABLE, FILE_TOO_LARGE, INVALID_UTF8
 */
export async function readSigningKeys(io: Streams, given: KeyArguments): Promise<SigningKeys> {
  const { psk, pskFile, productSecret, productSecretFile, keyFile } = given;
  onlyOne({ "--psk": psk, "--psk-file": pskFile, "--key-file": keyFile });
  onlyOne({ "--product-secret": productSecret, "--product-secret-file": productSecretFile });
  if (
    Object.values({ psk, pskFile, productSecret, productSecretFile, keyFile }).every((value) => value === undefined)
  ) {
    throw new CliError("USAGE", "The key is missing.", {
      exitCode: exitCodes.credential,
      hint: "Use --psk-file, --key-file or, for a registration, --product-secret-file.",
    });
  }
  if (psk !== undefined) warnSecretOnCommandLine(io, "PSK", "--psk-file");
  if (productSecret !== undefined) warnSecretOnCommandLine(io, "ProductSecret", "--product-secret-file");
  return {
    psk: pskFile === undefined ? psk : await readSecret(pskFile, "PSK file"),
    productSecret:
      productSecretFile === undefined ? productSecret : await readSecret(productSecretFile, "ProductSecret file"),
    privateKey: keyFile === undefined ? undefined : await readKey(keyFile),
  };
}

function onlyOne(options: Readonly<Record<string, string | undefined>>): void {
  const present = Object.keys(options).filter((name) => options[name] !== undefined);
  if (present.length > 1) throw new CliError("USAGE", `Only one of ${present.join(" and ")} can be used.`);
}
