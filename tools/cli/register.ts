/** `tencent-iothub register`: registers a device and saves its credential before anything is printed. */

import { createHost, type DeviceEvent, type RegisterOptions, type Registration, register } from "tencent-iothub-xs";
import { type FileSystem, nodeFileSystem } from "../../host/node/file-system.js";
import { CredentialFiles, type KeptPart } from "./credential-files.js";
import { CliError, exitCodes } from "./failure.js";
import { readKey, readSecret, readText, readTrustAnchors } from "./files.js";
import { colorsFor, printLine, type Streams, warnSecretOnCommandLine } from "./io.js";
import { missing } from "./publish.js";
import { readSettings, type Settings } from "./settings.js";

export interface RegisterArguments extends Settings {
  readonly profile?: string;
  readonly out?: string;
  readonly force?: boolean;
  readonly printOnFailure?: boolean;
  readonly clientCertificate?: string;
  readonly clientKey?: string;
  readonly json?: boolean;
  readonly debug?: boolean;
}

type Kind = "psk" | "certificate" | "own certificate";

export async function registerDevice(
  io: Streams,
  given: RegisterArguments,
  fs: FileSystem = nodeFileSystem,
): Promise<void> {
  const { profile, out, force = false, printOnFailure = false, clientCertificate, clientKey, ...rest } = given;
  const { json = false, debug = false, ...flags } = rest;
  const settings = await readSettings(flags, profile, io.env);
  const { productId, deviceName, region, url, timeoutMs } = settings;
  if (productId === undefined) throw missing("the ProductId", "--product-id", "TENCENT_IOTHUB_PRODUCT_ID");
  if (deviceName === undefined) throw missing("the DeviceName", "--device-name", "TENCENT_IOTHUB_DEVICE_NAME");
  if ((clientCertificate === undefined) !== (clientKey === undefined)) {
    throw new CliError("USAGE", "--client-certificate and --client-key must be used together.");
  }
  if ((out === undefined) === (clientCertificate === undefined)) {
    throw new CliError("USAGE", "Use either --out or --client-certificate.", {
      hint: "--out FILE is the file for the new PSK or private key; with --client-certificate there is none.",
    });
  }
  if (given.productSecret !== undefined) {
    warnSecretOnCommandLine(io, "ProductSecret", "--product-secret-file or TENCENT_IOTHUB_PRODUCT_SECRET");
  }
  // Deletes the reserved files if no credential was received; a received one is kept.
  const interruption = new AbortController();
  io.onInterrupt(() => interruption.abort());
  const options: RegisterOptions = {
    productId,
    deviceName,
    productSecret: await readProductSecret(settings),
    region,
    url,
    timeoutMs,
    clientCertificate:
      clientCertificate === undefined ? undefined : await readText(clientCertificate, "certificate file"),
    clientKey: clientKey === undefined ? undefined : await readKey(clientKey),
    // No clock correction, so that the user sees the gateway's actual response.
    clockCorrection: false,
    signal: interruption.signal,
    onEvent: debug ? (event: DeviceEvent) => printLine(io.stderr, `debug: ${JSON.stringify(event)}`) : undefined,
  };
  const host = createHost({ trustAnchors: await readTrustAnchors(settings) });
  // Opened before the request: a secret that cannot be saved must not be issued.
  const files = out === undefined ? undefined : await CredentialFiles.open(fs, out, force);
  let registration: Registration;
  let kept: readonly KeptPart[] = [];
  try {
    registration = await register(options, host);
    if (files !== undefined) kept = await files.keep(registration);
  } finally {
    await files?.close();
    host.http.close();
  }
  if (kept.some(({ problem }) => problem !== undefined)) {
    const homeless = kept.filter(({ path }) => path === undefined);
    const printed = printOnFailure && homeless.length > 0;
    if (printed) for (const { content } of homeless) printLine(io.stdout, Buffer.from(content).toString().trimEnd());
    throw notKeptAsAsked(registration, kept, printed);
  }
  const { requestId, state } = registration;
  const kind: Kind =
    clientCertificate !== undefined
      ? "own certificate"
      : registration.certificate === undefined
        ? "psk"
        : "certificate";
  const certificateFile = kind === "certificate" ? files?.certificatePath : undefined;
  if (json) {
    printLine(
      io.stdout,
      JSON.stringify({ productId, deviceName, requestId, state, credential: kind, file: out, certificateFile }),
    );
    return;
  }
  const c = colorsFor(io.stdout, io.env);
  const known = state === undefined ? "" : state === 0 ? "a new device" : "a known device";
  printLine(io.stdout, `${c.green("registered")}  ${productId}/${deviceName}  ${known}`.trimEnd());
  const where = out === undefined ? "" : ` in ${out}${certificateFile === undefined ? "" : ` and ${certificateFile}`}`;
  const shown = { psk: "PSK", certificate: "private key and certificate", "own certificate": "own certificate" };
  printLine(io.stdout, `credential  ${shown[kind]}${where}`);
  printLine(io.stdout, `RequestId   ${requestId}`);
}

/**
 * Returns a failure that lists where each part of an issued credential is.
 * @param printed whether parts without a file were printed to standard output
 */
function notKeptAsAsked(registration: Registration, kept: readonly KeptPart[], printed: boolean): CliError {
  const lost = !printed && kept.some(({ path }) => path === undefined);
  const said = kept.map(({ what, path, problem }) => {
    const where = path !== undefined ? `in ${path}` : printed ? "on standard output" : "lost";
    return `the ${what === "psk" ? "PSK" : what} is ${where}${problem === undefined ? "" : ` and ${problem}`}`;
  });
  return new CliError(
    lost ? "CREDENTIAL_LOST" : "FILE_UNWRITABLE",
    `The device is registered (RequestId ${registration.requestId}), but ${said.join("; ")}.`,
    {
      exitCode: exitCodes.credential,
      hint: lost
        ? "When files can be written again, register again with --force."
        : "Keep this credential: registering again may revoke it.",
      details: {
        requestId: registration.requestId,
        files: kept.map(({ what, path, problem }) => ({ what, path, problem })),
      },
    },
  );
}

async function readProductSecret({ productSecret, productSecretFile }: Settings): Promise<string> {
  if (productSecretFile !== undefined) return readSecret(productSecretFile, "ProductSecret file");
  if (productSecret !== undefined) return productSecret;
  throw new CliError("USAGE", "The ProductSecret is missing.", {
    exitCode: exitCodes.credential,
    hint: "Use --product-secret-file, or set TENCENT_IOTHUB_PRODUCT_SECRET or TENCENT_IOTHUB_PRODUCT_SECRET_FILE.",
  });
}
