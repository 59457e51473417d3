/** `tencent-iothub doctor`: checks step by step what a board needs to publish. */

import { lookup as systemLookup } from "node:dns/promises";
import { isIP, type Socket, connect as tcpConnect } from "node:net";
import { type TLSSocket, connect as tlsConnect } from "node:tls";
import { bundledAnchors, type Endpoint, judgeChain, readEndpoint } from "tencent-iothub-xs/anchors";
import { createSigner, secretMistake } from "tencent-iothub-xs/signing";
import { CliError, exitCodes, explain } from "./failure.js";
import { readKey, readSecret, readTrustAnchors } from "./files.js";
import { type Colors, colorsFor, duration, printLine, type Streams } from "./io.js";
import { nodePrimitives } from "./node-primitives.js";
import { readSettings, type Settings } from "./settings.js";

export interface DoctorArguments extends Settings {
  readonly profile?: string;
  readonly roots?: boolean;
  readonly json?: boolean;
  readonly debug?: boolean;
}

/** What the checks need of the machine, so that tests can replace it. */
export interface DoctorTools {
  readonly lookup: (host: string) => Promise<readonly { readonly address: string }[]>;
  readonly nowMs: () => number;
}

const machine: DoctorTools = {
  // Boards of Moddable have no IPv6.
  lookup: (host) => systemLookup(host, { all: true, family: 4 }),
  nowMs: () => Date.now(),
};

type Outcome = "ok" | "warning" | "failed" | "skipped";
type CheckName = "credential" | "name" | "port" | "certificates" | "clock";

interface Check {
  readonly check: CheckName;
  readonly outcome: Outcome;
  /** One sentence. */
  readonly message: string;
  readonly hint?: string;
}

const DEFAULT_TIMEOUT_MS = 20_000;
/** A signature with a larger deviation is refused. */
const MAX_SKEW_SECONDS = 300;
const NOTABLE_SKEW_SECONDS = 60;
const NOTABLE_DAYS = 14;
/** Length of a generated psk; a psk that was chosen by hand may have another. */
const CONSOLE_PSK_BYTES = 16;
const dayMs = 86_400_000;

const exits: Readonly<Record<CheckName, number>> = {
  credential: exitCodes.credential,
  name: exitCodes.network,
  port: exitCodes.network,
  certificates: exitCodes.network,
  clock: exitCodes.other,
};

export async function doctor(io: Streams, given: DoctorArguments, tools: DoctorTools = machine): Promise<void> {
  const { profile, roots = false, json = false, debug: _, ...flags } = given;
  if (roots) {
    listRoots(io, json, tools.nowMs());
    return;
  }
  const settings = await readSettings(flags, profile, io.env);
  const endpoint = readEndpoint(settings.region, settings.url);
  const timeoutMs = settings.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  if (!(timeoutMs >= 1 && timeoutMs < 2 ** 31))
    throw new CliError("USAGE", "--timeout-ms must be a whole number above 0.");
  const anchors = await readTrustAnchors(settings);
  const c = colorsFor(io.stdout, io.env);
  const checks: Check[] = [];
  const note = (check: Check): void => {
    checks.push(check);
    if (!json) print(io, check, c);
  };
  if (!json) printLine(io.stdout, `${c.bold("doctor")} ${endpoint.scheme}://${endpoint.host}:${endpoint.port}`);
  note(await checkCredential(settings));
  await checkNetwork(endpoint, anchors, timeoutMs, tools, note);
  const failed = checks.filter(({ outcome }) => outcome === "failed");
  if (json) printLine(io.stdout, JSON.stringify({ endpoint, checks }));
  if (failed.length === 0) return;
  const ran = checks.filter(({ outcome }) => outcome !== "skipped").length;
  throw new CliError(
    "DOCTOR_FAILED",
    `${failed.length} of ${ran} checks failed: ${failed.map(({ check }) => check).join(", ")}.`,
    {
      exitCode: exits[failed[0].check],
      hint: failed[0].hint,
    },
  );
}

function print(io: Streams, { check, outcome, message, hint }: Check, c: Colors): void {
  const color = { ok: c.green, warning: c.yellow, failed: c.red, skipped: c.dim }[outcome];
  printLine(io.stdout, `${color(outcome.padEnd(7))}  ${check.padEnd(12)}  ${message}`);
  if (hint !== undefined) printLine(io.stdout, `${" ".repeat(23)}${c.dim(hint)}`);
}

async function checkCredential(settings: Settings): Promise<Check> {
  const check = "credential";
  const { psk, pskFile, keyFile } = settings;
  try {
    if (keyFile !== undefined) {
      createSigner({ privateKey: await readKey(keyFile) }).close();
      return { check, outcome: "ok", message: "The private key can be used to sign." };
    }
    const secret = pskFile === undefined ? psk : await readSecret(pskFile, "psk file");
    if (secret === undefined) {
      return { check, outcome: "skipped", message: "No --psk-file, --psk or --key-file was given." };
    }
    const mistake = secretMistake(secret);
    if (mistake === undefined) {
      const { length } = Buffer.from(secret, "base64");
      const message = `The psk is Base64 of ${length} bytes.`;
      return length === CONSOLE_PSK_BYTES
        ? { check, outcome: "ok", message }
        : { check, outcome: "warning", message, hint: `Those that the console generates have ${CONSOLE_PSK_BYTES}.` };
    }
    const hint = "Copy it again from the console, with its = signs; it is used as text.";
    return { check, outcome: "failed", message: `The psk cannot be what the console shows: ${mistake}.`, hint };
  } catch (error) {
    const { message, hint } = explain(error);
    return { check, outcome: "failed", message, hint };
  }
}

async function checkNetwork(
  endpoint: Endpoint,
  anchors: readonly Uint8Array[] | undefined,
  timeoutMs: number,
  tools: DoctorTools,
  note: (check: Check) => void,
): Promise<void> {
  const { scheme, host, port } = endpoint;
  const skip = (...names: CheckName[]): void => {
    for (const check of names) note({ check, outcome: "skipped", message: "An earlier step failed." });
  };
  const address = await resolveName(host, timeoutMs, tools, note);
  if (address === undefined) return skip("port", "certificates", "clock");
  const socket = await openPort(address, port, timeoutMs, note);
  if (socket === undefined) return skip("certificates", "clock");
  let chain: readonly Uint8Array[] | undefined;
  let dateMs: number | undefined;
  let failure: string | undefined;
  try {
    ({ chain, dateMs } = await ask(endpoint, socket, timeoutMs));
  } catch (error) {
    // OpenSSL's messages have several lines.
    failure = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
  } finally {
    socket.destroy();
  }
  const nowMs = tools.nowMs();
  note(
    scheme === "http"
      ? { check: "certificates", outcome: "skipped", message: "Plain HTTP has none." }
      : judge(chain, failure, host, anchors, nowMs),
  );
  note(checkClock(dateMs, failure, nowMs));
}

async function resolveName(
  host: string,
  timeoutMs: number,
  tools: DoctorTools,
  note: (check: Check) => void,
): Promise<string | undefined> {
  const check = "name";
  const plain = host.replace(/^\[|\]$/g, "");
  if (isIP(plain) !== 0) {
    note({ check, outcome: "ok", message: `${host} is an address.` });
    return plain;
  }
  const startedAt = performance.now();
  try {
    const found = await limited(tools.lookup(host), timeoutMs);
    if (found.length === 0) throw Object.assign(new Error(), { code: "ENODATA" });
    const ms = Math.round(performance.now() - startedAt);
    const list = found.map(({ address }) => address).join(", ");
    note({ check, outcome: "ok", message: `${host} is ${list} (${ms} ms).` });
    return found[0].address;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    const hint = "Check the region or the url, and the DNS server; the board may use another one than this machine.";
    note({ check, outcome: "failed", message: `${host} has no IPv4 address (${code}).`, hint });
    return undefined;
  }
}

/** @returns the connection, undefined if there is none */
async function openPort(
  address: string,
  port: number,
  timeoutMs: number,
  note: (check: Check) => void,
): Promise<Socket | undefined> {
  const check = "port";
  const startedAt = performance.now();
  const socket = tcpConnect({ host: address, port });
  try {
    await limited(
      new Promise<void>((resolve, reject) => {
        socket.once("connect", resolve);
        socket.once("error", reject);
      }),
      timeoutMs,
    );
    const ms = Math.round(performance.now() - startedAt);
    note({ check, outcome: "ok", message: `${address}:${port} accepts connections (${ms} ms).` });
    return socket;
  } catch (error) {
    socket.destroy();
    const code = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    const hint = `Is the port right, and does a firewall let connections to port ${port} out?`;
    note({ check, outcome: "failed", message: `${address}:${port} cannot be reached (${code}).`, hint });
    return undefined;
  }
}

/** What boards offer: TLS 1.2 with these two suites and P-256. */
const boardTls = {
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.2",
  ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0",
  ecdhCurve: "P-256",
  sigalgs: "ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:RSA+SHA256:RSA+SHA384:RSA+SHA512",
} as const;

/** Sends one request without a signature. @returns the chain that the server sent, and its Date header */
async function ask(
  { scheme, host }: Endpoint,
  raw: Socket,
  timeoutMs: number,
): Promise<{ chain?: readonly Uint8Array[]; dateMs?: number }> {
  const isName = isIP(host.replace(/^\[|\]$/g, "")) === 0;
  // Nothing secret is sent, and the chain is judged below: with Node's judgement there would be nothing to judge.
  const tls = { socket: raw, ...boardTls, servername: isName ? host : "", rejectUnauthorized: false, ca: [] };
  const socket = scheme === "http" ? raw : tlsConnect(tls);
  try {
    return await limited(
      new Promise((resolve, reject) => {
        let chain: readonly Uint8Array[] | undefined;
        let text = "";
        const done = (): void => {
          if (scheme === "https" && chain === undefined) reject(new Error("the server closed the connection"));
          const date = /^HTTP\/1\.[01] [\s\S]*?\r\ndate: *([^\r\n]+)/i.exec(text)?.[1];
          const dateMs = date === undefined ? undefined : Date.parse(date);
          resolve({ chain, dateMs: Number.isNaN(dateMs) ? undefined : dateMs });
        };
        const send = (): void => {
          if (scheme === "https") chain = chainOf(socket as TLSSocket);
          const lines = ["GET / HTTP/1.1", `Host: ${host}`, "User-Agent: tencent-iothub-doctor", "Connection: close"];
          socket.write(`${lines.join("\r\n")}\r\n\r\n`);
        };
        if (scheme === "http") send();
        else socket.once("secureConnect", send);
        socket.on("data", (part) => {
          text += part.toString("latin1");
          if (text.includes("\r\n\r\n") || text.length > 65_536) done();
        });
        socket.once("end", done);
        socket.once("close", done);
        socket.once("error", (error) => (chain === undefined ? reject(error) : done()));
      }),
      timeoutMs,
    );
  } finally {
    socket.destroy();
  }
}

/** Returns the certificates that the server sent, its own first. */
function chainOf(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate = socket.getPeerCertificate(true);
  // A self-signed certificate is its own issuer.
  while (certificate?.raw !== undefined && !chain.some((known) => Buffer.from(known).equals(certificate.raw))) {
    chain.push(new Uint8Array(certificate.raw));
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

function judge(
  chain: readonly Uint8Array[] | undefined,
  failure: string | undefined,
  host: string,
  anchors: readonly Uint8Array[] | undefined,
  nowMs: number,
): Check {
  const check = "certificates";
  if (chain === undefined || chain.length === 0) {
    const hint = "A board offers TLS 1.2 with ECDHE, AES-128-GCM and P-256. A url with http:// is for plain HTTP.";
    return { check, outcome: "failed", message: `The TLS handshake failed (${failure ?? "no certificate"}).`, hint };
  }
  const judgement = judgeChain(chain, host, { anchors, nowMs, primitives: nodePrimitives });
  const whose = anchors === undefined ? "its built-in trust anchors" : "these trust anchors";
  if (!judgement.accepted) {
    const hint =
      judgement.alert !== UNKNOWN_CA
        ? undefined
        : anchors === undefined
          ? "A private gateway needs --trust-anchors, and its CA in the firmware; --roots lists those that boards have."
          : "Does the firmware have the CA of this gateway?";
    return { check, outcome: "failed", message: `A board with ${whose} refuses the chain: ${judgement.reason}.`, hint };
  }
  const days = Math.floor((judgement.notAfterMs - nowMs) / dayMs);
  const until = `valid until ${day(judgement.notAfterMs)}`;
  const sent = `${chain.length} certificate${chain.length === 1 ? "" : "s"} sent`;
  const message = `A board with ${whose} accepts the chain (${sent}, ${until}).`;
  if (days < NOTABLE_DAYS) {
    return { check, outcome: "warning", message, hint: `It expires in ${days} day${days === 1 ? "" : "s"}.` };
  }
  return { check, outcome: "ok", message };
}

/** RFC 5246 section 7.2.2. */
const UNKNOWN_CA = 48;

function checkClock(dateMs: number | undefined, failure: string | undefined, nowMs: number): Check {
  const check = "clock";
  if (dateMs === undefined) {
    const reason = failure === undefined ? "The response has no readable Date header." : "There was no response.";
    return { check, outcome: failure === undefined ? "warning" : "skipped", message: reason };
  }
  const skew = Math.round((nowMs - dateMs) / 1000);
  const size = Math.abs(skew);
  if (size < NOTABLE_SKEW_SECONDS) {
    return { check, outcome: "ok", message: `This machine's clock agrees with the gateway's within ${size + 1} s.` };
  }
  const message = `This machine's clock is ${duration(skew)} ${skew < 0 ? "behind" : "ahead of"} the gateway's.`;
  const hint = "Correct it: signatures that are more than five minutes off are refused. Boards use SNTP.";
  return { check, outcome: size > MAX_SKEW_SECONDS ? "failed" : "warning", message, hint };
}

function listRoots(io: Streams, json: boolean, nowMs: number): void {
  const anchors = bundledAnchors();
  if (json) {
    const list = anchors.map(({ name, isDefault, notBeforeMs, notAfterMs }) => ({
      name,
      isDefault,
      notBefore: new Date(notBeforeMs).toISOString(),
      notAfter: new Date(notAfterMs).toISOString(),
    }));
    printLine(io.stdout, JSON.stringify(list));
    return;
  }
  const width = Math.max(...anchors.map(({ name }) => name.length));
  for (const { name, isDefault, notBeforeMs, notAfterMs } of anchors) {
    const left = notAfterMs < nowMs ? "expired" : `${Math.floor((notAfterMs - nowMs) / dayMs)} days left`;
    const use = isDefault ? "" : "; only with digicertGlobalRootCA()";
    printLine(io.stdout, `${name.padEnd(width)}  ${day(notBeforeMs)} to ${day(notAfterMs)}  ${left}${use}`);
  }
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** Rejects with a code if a promise takes too long. */
async function limited<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(Object.assign(new Error(`no response within ${ms} ms`), { code: "TIMEOUT" })), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
