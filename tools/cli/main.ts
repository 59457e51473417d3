/** CLI: commands, options, help. Modules that only one command needs are loaded when it runs. */

import { Command, CommanderError, Option } from "commander";
import { describeFaults } from "../gateway/faults.js";
import { boards, languages } from "./boards.js";
import { CliError, exitCodes, exitMeanings, explain, type Failure, trace } from "./failure.js";
import { colorsFor, integer, printLine, type Streams, wholeNumber } from "./io.js";
import { profileVariable, settingNames } from "./settings.js";
import { version } from "./version.js";

const groups = Object.keys(exitCodes) as (keyof typeof exitCodes)[];
const exitHelp = `
Exit codes:
${groups.map((group) => `  ${exitCodes[group]}  ${exitMeanings[group]}`).join("\n")}

A failure prints one line, "error: CODE: message and hint", to standard error; with --json, one JSON object.`;

/** Repeated here, so that other commands do not load the modules. */
const algorithms = ["hmacsha256", "hmacsha1", "rsa-sha256"];
const diagnoseFormats = ["curl", "http", "har", "trace", "record"];

const environmentHelp = `
Environment (overridden by options on the command line; overrides the profile):
  ${[...Object.values(settingNames).map(({ env }) => env), profileVariable].join("\n  ")}

Profile: a JSON object with any of
  ${Object.keys(settingNames).join(", ")};
  paths in it are relative to the profile's folder.`;

const publishExamples = `
Examples:
  $ tencent-iothub publish --product-id ABCDE12345 --device-name sensor1 --psk-file sensor1.psk --topic data '{"t":21.5}'
  $ echo '{"t":21.5}' | tencent-iothub publish --profile sensor1.json --topic data -
  $ tencent-iothub publish --profile sensor1.json --topic event --base64 --payload-file picture.jpg
  $ tencent-iothub publish --profile sensor1.json --url https://127.0.0.1:8443 --trust-anchors ca.pem --topic data hello`;

const registerExamples = `
Examples:
  $ tencent-iothub register --product-id ABCDE12345 --device-name sensor1 --product-secret-file product.secret --out sensor1.psk
  $ tencent-iothub publish --product-id ABCDE12345 --device-name sensor1 --psk-file sensor1.psk --topic data hello
  $ tencent-iothub register --profile product.json --device-name sensor2 --client-certificate sensor2.crt --client-key sensor2.key

Registering a device again may revoke its credential.`;

const logExamples = `
Examples:
  $ tencent-iothub log --profile sensor1.json --level warn battery low
  $ tail -n 50 sensor1.log | tencent-iothub log --profile sensor1.json -`;

const signExamples = `
Examples:
  $ tencent-iothub sign --host ap-guangzhou.gateway.tencentdevices.com --path /device/publish \\
      --body-file body.json --timestamp 1700000000 --nonce 42 --algorithm hmacsha256 --psk-file sensor1.psk
  $ tencent-iothub sign --host example.com --path /device/publish --body '{}' --key-file sensor1.key --curl`;

const diagnoseExamples = `
Examples:
  $ tencent-iothub diagnose request.txt --psk-file sensor1.psk
  $ pbpaste | tencent-iothub diagnose - --psk-file sensor1.psk --product-secret-file product.secret
  $ tencent-iothub diagnose trace.log --format trace --psk-file sensor1.psk --body-file body.json
  $ tencent-iothub diagnose --url https://ap-guangzhou.gateway.tencentdevices.com/device/publish --body-file body.json \\
      --header 'X-TC-Algorithm: hmacsha256' --header 'X-TC-Timestamp: 1700000000' --header 'X-TC-Nonce: 42' \\
      --header 'X-TC-Signature: …' --psk-file sensor1.psk

Formats of the request:
  curl   a command as it was run, quoted for a POSIX shell; reads files that it refers to with @
  http   request line, headers, an empty line, and the body byte for byte
  har    a HAR file of a browser or proxy, or one of its entries; uses the last signed request
  trace  events of onEvent, one JSON object per line; uses the last sign event
  record a recording of tencent-iothub gateway --record; uses the last request with a wrong signature, or --index

A registration is signed with the ProductSecret, every other request with the device's key. With both, the other one is
tried as a mistake.

A cause is reported only if it reproduces the signature; tries every known mistake alone and the common ones in pairs.
Nothing is sent, and no secret is printed. The exit code is 0 for every diagnosis; with --json, its "verdict" is matches,
explained, signature, text, key-or-text or unreadable.`;

const typesExamples = `
Examples:
  $ tencent-iothub types model.json --out src/model.d.ts
  $ tencent-iothub types model.json --name Lamp > lamp.d.ts

In the app: import type { Model } from "./model.js"; propertyReport<Model>({ brightness: 40 })`;

const initExamples = `
Examples:
  $ tencent-iothub init sensor
  $ tencent-iothub init sensor --board esp32c3 --language javascript

In the new folder, after npm install:
  npm test            the app against a gateway, on Node
  npm run dev         the app in the simulator against a gateway; needs the Moddable SDK
  npm run flash:desk  the app on the board, against a gateway on this computer
  npm run flash       the app on the board, for the cloud

On a terminal, what is not given is asked for. Tried on Linux; macOS and Windows are untried.`;

const devExamples = `
Examples:
  $ tencent-iothub dev
  $ xvfb-run tencent-iothub dev    without a screen

The gateway's CA and its sample device are kept in .tencent-iothub/; the manifest with url, CA and psk is
build/sim/manifest.json, which includes the app's. Needs MODDABLE. Tried on Linux; macOS and Windows are untried.`;

const flashExamples = `
Examples:
  $ tencent-iothub flash --board esp32c3
  $ tencent-iothub flash --board esp32c3 --desk

Settings: secrets.json has "wifi", "wifiPassword" and, for the cloud, "productId", "deviceName" and "psk" or
"productSecret". The manifest that is built is build/flash/manifest.json, or build/desk/manifest.json with the url and CA
of the gateway on this computer, which the other never contains. Needs MODDABLE, IDF_PATH and, with several serial ports,
UPLOAD_PORT. Boards, macOS and Windows are untried.`;

/** Named here too, so that no other command loads the module. */
const DEFAULT_STATE = ".tencent-iothub";

const gatewayExamples = `
Examples:
  $ tencent-iothub gateway
  $ tencent-iothub gateway --https --lan --moddable desk      # for a board: include desk/manifest.json
  $ tencent-iothub gateway --https --devices devices.json
  $ tencent-iothub gateway --fault status:503 --record requests.jsonl
  $ tencent-iothub diagnose requests.jsonl --psk-file sensor1.psk
  $ tencent-iothub gateway --ui
  $ curl -H 'Content-Type: application/json' -d '{"always":"delay:500"}' http://127.0.0.1:8090/_/faults

Devices file:
  {"products":{"ABCDE12345":{"devices":{
    "sensor1":{"psk":"c2VjcmV0IG9mIHNlbnNvcjE="},
    "sensor2":{"publicKey":"-----BEGIN PUBLIC KEY-----…"}}}}}
  To reject correctly signed requests, add "state":"disabled" or "notEnabled" to a device, "state":"forbidden" to a
  product, or "account":"isolated" beside "products".
  A registered device keeps its new credential over restarts, even if the file has an older one.

Certificates: the CA may issue for localhost, .local, .lan, .internal, .home.arpa, .test, the names of its first start, and
  private addresses only. Clients that do not understand such constraints refuse it (mbedTLS does); for them, --no-state.`;

const faultsHelp = () => `

Faults (values in capitals, optional parts in brackets; PHASE is connect, read, headers or body):
${describeFaults()
  .map((line) => `  ${line}`)
  .join("\n")}
`;

const doctorExamples = `
Examples:
  $ tencent-iothub doctor --region ap-guangzhou --psk-file sensor1.psk
  $ tencent-iothub doctor --url https://192.168.1.23:8443 --trust-anchors .tencent-iothub/ca.pem
  $ tencent-iothub doctor --roots

It resolves the name, connects, judges the certificate chain with the code and the trust anchors of a board, and compares
the clock with the gateway's. It sends one request without a signature, and no secret. A proxy is not used, as boards
use none.`;

/** Runs one command; resolves with the exit status and never rejects. */
export async function main(argv: readonly string[], io: Streams): Promise<number> {
  const flags = { json: argv.includes("--json"), debug: argv.includes("--debug") };
  if (argv.length === 0) {
    return fail(
      io,
      explain(new CliError("USAGE", "A command is missing.", { hint: "tencent-iothub --help lists them." })),
      false,
    );
  }
  try {
    await build(io).parseAsync([...argv], { from: "user" });
    return exitCodes.ok;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return exitCodes.ok;
      return fail(io, fromCommander(error), flags.json);
    }
    if (flags.debug) printLine(io.stderr, trace(error));
    return fail(io, explain(error), flags.json);
  }
}

function fail(io: Streams, { code, message, hint, exitCode, details }: Failure, json: boolean): number {
  if (json) {
    printLine(io.stderr, JSON.stringify({ error: { code, message, hint, exitCode, ...details } }));
  } else {
    const c = colorsFor(io.stderr, io.env);
    printLine(io.stderr, `${c.red("error:")} ${code}: ${message}${hint === undefined ? "" : ` ${c.dim(hint)}`}`);
  }
  return exitCode;
}

function fromCommander(error: CommanderError): Failure {
  const [first, ...rest] = error.message.replace(/^error: /, "").split("\n");
  const sentence = `${first[0].toUpperCase()}${first.slice(1)}${/[.)?]$/.test(first) ? "" : "."}`;
  const hint = rest.join(" ").replace(/[()]/g, "").trim() || "tencent-iothub --help lists commands and options.";
  return explain(new CliError("USAGE", sentence, { hint }));
}

function build(io: Streams): Command {
  const program = new Command("tencent-iothub")
    .description(
      "Publish to Tencent Cloud IoT Hub over HTTPS, inspect signatures, generate types, and run a local gateway.",
    )
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      // `fail` reports it, like every other failure.
      outputError: () => {},
      getOutHasColors: () => false,
      getErrHasColors: () => false,
      getOutHelpWidth: () => 110,
    })
    .addHelpText("after", exitHelp);

  connectionOptions(
    keyOptions(
      command(program, "publish", "publish one message")
        .argument(
          "[payload]",
          "the message, or - to read it unchanged from standard input; after -- if it begins with a dash",
        )
        .option("--product-id <id>", "ProductId")
        .option("--device-name <name>", "DeviceName")
        .option(
          "--topic <topic>",
          "a name such as data or event, expanded to <ProductId>/<DeviceName>/<name>, or a full topic",
        )
        .option("--qos <0|1>", "quality of service (default: 1)", wholeNumber)
        .option("--base64", "send the payload as Base64, with PayloadEncoding")
        .option("--payload-file <file>", "read the payload from a file"),
    ),
    "the whole request",
  )
    .addHelpText("after", publishExamples + environmentHelp + exitHelp)
    .action(async (payload, options) => {
      const { publish } = await import("./publish.js");
      await publish(io, payload, options);
    });

  connectionOptions(
    keyOptions(
      command(program, "log", "add lines to the platform's log of a device")
        .argument("[message...]", "one line, or - to read lines from standard input")
        .option("--level <level>", "debug, info, warn or error (default: info)")
        .option("--product-id <id>", "ProductId")
        .option("--device-name <name>", "DeviceName"),
    ),
    "each request",
  )
    .addHelpText("after", logExamples + environmentHelp + exitHelp)
    .action(async (messages, options) => {
      const { log } = await import("./log.js");
      await log(io, messages, options);
    });

  connectionOptions(
    command(program, "register", "register a device with the ProductSecret, and save its credential in a file")
      .option("--product-id <id>", "ProductId")
      .option("--device-name <name>", "DeviceName")
      .option("--product-secret <text>", "ProductSecret; better in a file or the environment")
      .option("--product-secret-file <file>", "file with the ProductSecret; a trailing line feed is removed")
      .option("--out <file>", "file for the PSK or private key; a certificate is written to <file>.crt")
      .option("--force", "register even if the file exists, and replace it")
      .option("--print-on-failure", "print a credential that cannot be written to any file")
      .option("--client-certificate <file>", "for a product with a private CA: the device's certificate, PEM")
      .option("--client-key <file>", "the private key of that certificate, PEM or DER; never sent"),
    "the whole request",
  )
    .addHelpText("after", registerExamples + environmentHelp + exitHelp)
    .action(async (options) => {
      const { registerDevice } = await import("./register.js");
      await registerDevice(io, options);
    });

  command(program, "sign", "show the string to sign, the signature and the headers of a request; nothing is sent")
    .option("--host <host>", "host of the gateway; a port is not signed")
    .option("--path <path>", "path of the request", "/device/publish")
    .addOption(
      new Option("--url <url>", "URL of the request, instead of --host and --path").conflicts(["host", "path"]),
    )
    .addOption(new Option("--body <text>", "body of the request, signed as UTF-8").conflicts("bodyFile"))
    .option("--body-file <file>", "file with the body, signed byte for byte")
    .option("--timestamp <seconds>", "seconds since 1970 (default: now)")
    .option("--nonce <n>", "unused number (default: random)")
    .addOption(
      new Option("--algorithm <name>", "algorithm of the signature (default: by the type of key)").choices(algorithms),
    )
    .option("--psk <text>", "the device's PSK; better in a file")
    .option("--psk-file <file>", "file with the PSK; a trailing line feed is removed")
    .option("--key-file <file>", "RSA private key, PEM or DER")
    .option("--product-secret <text>", "ProductSecret, for a registration; better in a file")
    .option("--product-secret-file <file>", "file with the ProductSecret")
    .option("--curl", "print a curl command, without the key")
    .addHelpText("after", signExamples + exitHelp)
    .action(async (options) => {
      const { sign } = await import("./sign.js");
      await sign(io, options);
    });

  command(
    program,
    "diagnose",
    "find out why the gateway rejects a signature: which mistake reproduces it; nothing is sent",
  )
    .argument("[request]", "file with the request as it was sent, or - to read it from standard input")
    .addOption(new Option("--format <format>", "format of the request (default: detected)").choices(diagnoseFormats))
    .option(
      "--index <n>",
      "number of the request in a recording, such as 7 for #7 in the gateway's lines",
      integer(1, 1e15),
    )
    .addOption(new Option("--url <url>", "instead of a file: URL of the request").conflicts(["format", "index"]))
    .option("--method <method>", "with --url: the method (default: POST)")
    .option("--header <header...>", "with --url: a header, Name: value; may be repeated")
    .addOption(new Option("--body <text>", "with --url or a trace: the body, as UTF-8").conflicts("bodyFile"))
    .option("--body-file <file>", "with --url or a trace: file with the body, byte for byte")
    .option("--sent-at <seconds>", "when the request was sent, seconds since 1970, to check its timestamp")
    .option("--psk <text>", "the device's PSK; better in a file")
    .option("--psk-file <file>", "file with the PSK; a trailing line feed is removed")
    .option("--key-file <file>", "RSA key of the device, private or public, or its certificate, PEM")
    .option("--product-secret <text>", "ProductSecret; better in a file")
    .option("--product-secret-file <file>", "file with the ProductSecret")
    .addHelpText("after", diagnoseExamples + exitHelp)
    .action(async (request, options) => {
      const { diagnoseRequest } = await import("./diagnose.js");
      await diagnoseRequest(io, request, options);
    });

  command(program, "types", "generate TypeScript types from a product's thing model, as exported by the console")
    .argument("<model>", "JSON file, or - to read it from standard input")
    .option("--out <file>", "output file, replaced if it exists (default: standard output)")
    .option("--name <name>", "name of the type", "Model")
    .addHelpText("after", typesExamples + exitHelp)
    .action(async (model, options) => {
      const { types } = await import("./types.js");
      await types(io, model, options);
    });

  command(
    program,
    "gateway",
    "run a local gateway that verifies requests and prints one line per request, until Ctrl-C",
  )
    .option("--port <n>", "port, 0 for any free one (default: 8080, with --https 8443)", integer(0, 65535))
    .addOption(new Option("--host <address>", "address to listen on (default: 127.0.0.1)").conflicts("lan"))
    .option("--lan", "listen on all private addresses of this machine, for boards in the local network")
    .option("--https", "HTTPS, with a certificate of the state folder's CA")
    .option("--name <name...>", "DNS name of this machine, for the certificate; may be repeated")
    .addOption(
      new Option("--state <dir>", "folder that keeps CA, sample device and registrations, for its owner only")
        .env("TENCENT_IOTHUB_STATE")
        .default(DEFAULT_STATE),
    )
    .option("--no-state", "keep nothing: CA and device are new at each start")
    .option("--trust-anchors-out <file>", "write the CA certificate that clients must trust, PEM")
    .option("--moddable <dir>", "write a manifest for a Moddable app to include: url, sample device and CA")
    .option("--devices <file>", "products and devices (default: one device with a generated key)")
    .option("--window-seconds <n>", "tolerance of timestamps (default: 300)", integer(0, 1e12))
    .option("--clock-skew-seconds <n>", "offset of the gateway's clock", integer(-1e11, 1e11))
    .option("--rate-limit <n>", "messages per second and device (default: none)", integer(1, 1e6))
    .option("--map-status", "report errors with 4xx statuses instead of 200")
    .option("--fault <fault>", "inject this fault into every request, see below")
    .option("--fault-header <name>", "let requests select a fault with this header")
    .addOption(
      new Option("--offline [how]", "start offline: connections hang, or are reset")
        .choices(["hang", "reset"])
        .preset("hang"),
    )
    .option("--interactive", "read faults from standard input, one a line: a fault, none, offline [reset], online")
    .option("--record <file>", "append all events to a file as JSON lines, which diagnose reads")
    .option("--ui", "serve a page that shows what arrives and switches faults")
    .option("--ui-port <n>", "port of the page, 0 for any free one (default: 8090)", integer(0, 65535))
    .option(
      "--ui-host <address>",
      "address of the page; not on this machine alone, its URL has a token (default: 127.0.0.1)",
    )
    .option("--ui-token", "a token in the page's URL in any case, for a machine with several users")
    .addHelpText("after", () => gatewayExamples + faultsHelp() + exitHelp)
    .action(async (options) => {
      const { gateway } = await import("./gateway.js");
      await gateway(io, options);
    });

  command(program, "init", "create the project of an app, for a board or the simulator")
    .argument("<folder>", "a new or empty folder; . is the current one")
    .addOption(new Option("--board <board>", "board (default: esp32)").choices(boards))
    .addOption(new Option("--language <language>", "language (default: typescript)").choices(languages))
    .option("--packages <folder>", "take the packages from tarballs in this folder, not from the registry")
    .addHelpText("after", initExamples + exitHelp)
    .action(async (folder, options) => {
      const { init } = await import("./init.js");
      await init(io, folder, options);
    });

  command(program, "dev", "run the app of a project in the simulator against a gateway on this computer, until Ctrl-C")
    .option("--project <folder>", "folder of the app", ".")
    .option("--port <n>", "port of the gateway (default: any free one)", integer(0, 65_535))
    .addHelpText("after", devExamples + exitHelp)
    .action(async (options) => {
      const { dev } = await import("./dev.js");
      await dev(io, options);
    });

  command(program, "flash", "flash the app of a project, for the cloud or for a gateway on this computer")
    .option("--project <folder>", "folder of the app", ".")
    .requiredOption("--board <board>", "esp32, esp32c3, esp32s3 or a platform of the SDK such as esp32/m5stack")
    .option("--desk", "for a gateway on this computer, which runs until Ctrl-C")
    .addOption(new Option("--host <address>", "with --desk: address of this computer (default: found out)"))
    .option("--port <n>", "with --desk: port of the gateway (default: 8443)", integer(0, 65_535))
    .option("--xsbug", "debug build, for the SDK's debugger")
    .addHelpText("after", flashExamples + exitHelp)
    .action(async (options) => {
      const { flash } = await import("./flash.js");
      await flash(io, options);
    });

  connectionOptions(
    command(
      program,
      "doctor",
      "check what a board needs: its key, the clock, the network, and the gateway's certificates",
    )
      .option("--product-id <id>", "ProductId")
      .option("--device-name <name>", "DeviceName")
      .option("--psk <text>", "the device's key; better in a file or the environment")
      .option("--psk-file <file>", "file with the device's key; a line feed at its end is left out")
      .option("--key-file <file>", "private key of the device's certificate, PEM or DER")
      .option("--roots", "list the trust anchors that boards have, with their dates; nothing is sent"),
    "each step",
    "certificates to trust instead of those that boards have, PEM or DER",
  )
    .addHelpText("after", doctorExamples + exitHelp)
    .action(async (options) => {
      const { doctor } = await import("./doctor.js");
      await doctor(io, options);
    });

  command(program, "demo", "publish readings of this machine to a local gateway over HTTPS and show both ends")
    .addHelpText("after", exitHelp)
    .action(async (options) => {
      const { demo } = await import("./demo.js");
      await demo(io, options);
    });

  return program;
}

/** Options of the device's credential. */
function keyOptions(command: Command): Command {
  return command
    .option("--psk <text>", "the device's PSK; better in a file or the environment")
    .option("--psk-file <file>", "file with the PSK; a trailing line feed is removed")
    .option("--key-file <file>", "private key of the device's certificate, PEM or DER");
}

/** Options of the connection to the gateway. */
function connectionOptions(
  command: Command,
  limited: string,
  anchors = "certificates to trust instead of Node's, PEM or DER",
): Command {
  return command
    .option("--region <region>", "ap-guangzhou (default), us-east, europe, ap-bangkok, …")
    .option("--url <url>", "http:// or https:// with host and port, instead of a region")
    .option("--trust-anchors <file>", anchors)
    .option("--timeout-ms <n>", `limit of ${limited} in milliseconds (default: 20000)`, wholeNumber)
    .option("--profile <file>", "settings from a JSON file");
}

function command(program: Command, name: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .allowExcessArguments(false)
    .option("--json", "print JSON for machines")
    .option("--debug", "print events and stack traces to standard error");
}
