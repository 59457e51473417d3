/**
 * Servers as they are installed, at their stock settings and at others that matter to a client: nginx and haproxy
 * before the local gateway, `openssl s_server` and gnutls-serv by themselves, the TLS of Go and Java in small programs.
 * What is not installed is skipped, and says so.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createPrivateKey } from "node:crypto";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { type KeyType, makeCertificates, makeClientCertificate } from "../../tools/gateway/index.js";
import { type Expectations, identity, type Session, singly, type Test } from "./session.js";

const ECDSA_SUITE = "ECDHE-ECDSA-AES128-GCM-SHA256";
const RSA_SUITE = "ECDHE-RSA-AES128-GCM-SHA256";
/** As Go and Java call them. */
const TLS_ECDSA_SUITE = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
const TLS_RSA_SUITE = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
/** Only a limit for what hangs. */
const LIMIT_MS = 60_000;
/** Where Debian has them, whatever the user's PATH. */
const FOLDERS = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];

function installed(program: string): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(":"), ...FOLDERS].filter(Boolean);
  return folders
    .map((folder) => join(folder, program))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** A port that nobody listens on: these servers take no 0. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** A server in the foreground, ended by its process. */
class Program {
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  /** What it has printed. */
  text = "";
  onText: (() => void) | undefined;

  constructor(path: string, parameters: readonly string[], folder: string) {
    this.#child = spawn(path, parameters, { cwd: folder, stdio: ["pipe", "pipe", "pipe"] });
    this.#closed = once(this.#child, "close");
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      (stream as Readable).on("data", (data) => {
        this.text += data;
        this.onText?.();
      });
    }
  }

  write(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** Resolves once something is printed that matches. */
  async line(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.text);
      if (found) return found;
      const { stdout, stderr } = this.#child;
      const timer = new AbortController();
      const limit = once(AbortSignal.timeout(LIMIT_MS), "abort", { signal: timer.signal }).then(() => "limit");
      const more = [stdout, stderr].map((stream) => once(stream as Readable, "data", { signal: timer.signal }));
      const ended = this.#closed.then(() => "ended");
      const which = await Promise.race([limit, ended, ...more.map((event) => event.then(() => "more"))]);
      timer.abort();
      for (const event of [limit, ...more]) event.catch(() => {});
      if (which !== "more") throw new Error(`no ${pattern} (${which}):\n${this.text.slice(-2000)}`);
    }
  }

  /** Resolves once it accepts connections on the port. */
  async listens(port: number): Promise<void> {
    const deadline = Date.now() + LIMIT_MS;
    let closed = false;
    this.#closed.then(() => {
      closed = true;
    });
    for (;;) {
      const socket = connect(port, "127.0.0.1");
      const isOpen = await Promise.race([
        once(socket, "connect").then(
          () => true,
          () => false,
        ),
        this.#closed.then(() => false),
      ]);
      socket.destroy();
      if (isOpen) return;
      if (closed || Date.now() > deadline) throw new Error(`it does not listen:\n${this.text.slice(-2000)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** @throws if it has ended with a failure */
  async ended(): Promise<void> {
    await this.#closed;
    if (this.#child.exitCode !== 0) throw new Error(`it failed:\n${this.text.slice(-2000)}`);
  }

  async close(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill();
    await this.#closed;
  }
}

/** A folder with the certificates, and what is started in it. */
class Place {
  readonly folder: string;
  readonly rootDer: string;
  readonly client = makeClientCertificate({ keyType: "rsa" });
  readonly #programs: Program[] = [];

  private constructor(folder: string, rootDer: Buffer) {
    this.folder = folder;
    this.rootDer = rootDer.toString("base64");
  }

  static async open(keyType: KeyType): Promise<Place> {
    const folder = await mkdtemp(join(tmpdir(), "tencent-iothub-servers-"));
    const { key, chain, rootDer } = makeCertificates("chain", { keyType });
    const place = new Place(folder, rootDer);
    await place.write("key.pem", key);
    await place.write("chain.pem", chain);
    await place.write("all.pem", `${chain}\n${key}`);
    await place.write("client-root.pem", place.client.root);
    return place;
  }

  async write(name: string, text: string): Promise<void> {
    await writeFile(join(this.folder, name), text);
  }

  start(path: string, parameters: readonly string[]): Program {
    const program = new Program(path, parameters, this.folder);
    this.#programs.push(program);
    return program;
  }

  async close(): Promise<void> {
    for (const program of this.#programs) await program.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** What a host trusts, and shows. */
  options(withCertificate = false): object {
    const key = () => createPrivateKey(this.client.key).export({ type: "pkcs8", format: "der" }).toString("base64");
    return {
      trustAnchors: [this.rootDer],
      ...(withCertificate && {
        clientCertificate: this.client.chainDer.map((der) => der.toString("base64")),
        clientKey: key(),
      }),
    };
  }
}

interface ServerCase {
  readonly name: string;
  readonly keyType?: KeyType;
  /** Of the host. */
  readonly options?: object;
  /** Lines of its configuration, or parameters. */
  readonly settings?: readonly string[];
  readonly clientCertificate?: boolean;
  /** Whether the client shows one; by default if it is asked for. */
  readonly shown?: boolean;
  /** What the server is to say of three publishes: the suite, then `new`, `kept` or `resumed` for each. */
  readonly expected: readonly string[];
}

const kept = ["new", "kept", "kept"];
const anew = ["new", "new", "new"];
const resumed = ["new", "resumed", "resumed"];
/** A new connection for each publish. */
const apart = { keepAliveMs: 0 };

/** Publishes three times; returns the codes of what failed. */
async function publishThrice(
  session: Session,
  place: Place,
  port: number,
  { options, shown }: ServerCase,
): Promise<(string | undefined)[]> {
  await session.run("host", { options: { ...place.options(shown), ...options } });
  await session.run("device", { options: { ...identity, ...singly, url: `https://localhost:${port}` } });
  return (await session.publish(["a", "温度", "c"])).map(
    (outcome) => outcome.code && `${outcome.code}: ${outcome.message}`,
  );
}

/** Lines of a log, once there are so many: a server writes them after its response. */
async function lines(path: string, count: number): Promise<string[]> {
  for (const deadline = Date.now() + LIMIT_MS; ; ) {
    const found = (await readFile(path, "utf8")).trim().split("\n");
    if (found.length >= count || Date.now() > deadline) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What is said of the connections: suite, whether it was resumed, and how many requests it has had. */
function judge(expect: Expectations, seen: readonly (readonly [string, boolean, number])[], each: ServerCase): string {
  const words = seen.map(([, isResumed, count]) => (count > 1 ? "kept" : isResumed ? "resumed" : "new"));
  const suites = [...new Set(seen.map(([suite]) => suite))];
  expect.equal([...suites, ...words], each.expected, "suite and connections");
  return `${suites.join(", ")}: ${words.join(", ")}`;
}

const nginxCases: readonly ServerCase[] = [
  { name: "stock settings", expected: [ECDSA_SUITE, ...kept] },
  { name: "stock settings, RSA", keyType: "rsa", expected: [RSA_SUITE, ...kept] },
  { name: "stock settings, connections apart", options: apart, expected: [ECDSA_SUITE, ...resumed] },
  { name: "stock settings, RSA, connections apart", keyType: "rsa", options: apart, expected: [RSA_SUITE, ...resumed] },
  {
    name: "no cache, no tickets (an empty session identifier)",
    settings: ["ssl_session_cache off;", "ssl_session_tickets off;"],
    options: apart,
    expected: [ECDSA_SUITE, ...anew],
  },
  {
    name: "cache none, no tickets",
    settings: ["ssl_session_cache none;", "ssl_session_tickets off;"],
    options: apart,
    expected: [ECDSA_SUITE, ...anew],
  },
  {
    name: "a shared cache",
    settings: ["ssl_session_cache shared:s:1m;", "ssl_session_tickets off;"],
    options: apart,
    expected: [ECDSA_SUITE, ...resumed],
  },
  {
    name: "a shared cache, and tickets",
    settings: ["ssl_session_cache shared:s:1m;", "ssl_session_tickets on;"],
    options: apart,
    expected: [ECDSA_SUITE, ...resumed],
  },
  {
    name: "keepalive_requests 1",
    settings: ["ssl_session_cache shared:s:1m;", "keepalive_requests 1;"],
    expected: [ECDSA_SUITE, ...resumed],
  },
  { name: "gzip", settings: ["gzip on;", "gzip_types *;", "gzip_min_length 0;"], expected: [ECDSA_SUITE, ...kept] },
  {
    // A filter that may change the length leaves out Content-Length.
    name: "chunked responses",
    settings: ["sub_filter_types *;", "sub_filter no-such-text no-such-text;"],
    expected: [ECDSA_SUITE, ...kept],
  },
  {
    name: "responses that end with the connection",
    settings: ["chunked_transfer_encoding off;", "sub_filter_types *;", "sub_filter no-such-text no-such-text;"],
    expected: [ECDSA_SUITE, ...resumed],
  },
  {
    name: "a client certificate",
    settings: ["ssl_verify_client on;", "ssl_client_certificate client-root.pem;"],
    shown: true,
    expected: [ECDSA_SUITE, ...kept],
  },
  { name: "small records", settings: ["ssl_buffer_size 100;"], expected: [ECDSA_SUITE, ...kept] },
];

async function nginx(session: Session, expect: Expectations, each: ServerCase, path: string): Promise<string> {
  const place = await Place.open(each.keyType ?? "ecdsa");
  try {
    const gateway = await session.gateway();
    const port = await freePort();
    const folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${name};`);
    await place.write(
      "nginx.conf",
      `daemon off; master_process off; pid nginx.pid; error_log stderr;
       events {}
       http {
         ${folders.join(" ")}
         log_format seen '$ssl_cipher $ssl_session_reused $connection_requests';
         access_log seen.log seen;
         server {
           listen 127.0.0.1:${port} ssl;
           ssl_certificate chain.pem; ssl_certificate_key key.pem;
           ${each.settings?.join("\n") ?? ""}
           location / { proxy_pass http://127.0.0.1:${gateway.port}; proxy_set_header Host $http_host; }
         }
       }`,
    );
    const program = place.start(path, ["-p", place.folder, "-c", "nginx.conf", "-e", "stderr"]);
    await program.listens(port);
    expect.equal((await publishThrice(session, place, port, each)).filter(Boolean), [], "errors");
    expect.equal(gateway.counts.accepted, 3, "accepted by the gateway");
    const seen = (await lines(join(place.folder, "seen.log"), 3)).map((line) => {
      const [suite, mark, count] = line.split(" ");
      return [suite, mark === "r", Number(count)] as const;
    });
    return judge(expect, seen, each);
  } finally {
    await place.close();
  }
}

const haproxyCases: readonly ServerCase[] = [
  { name: "stock settings", expected: [ECDSA_SUITE, ...kept] },
  { name: "stock settings, RSA", keyType: "rsa", expected: [RSA_SUITE, ...kept] },
  { name: "stock settings, connections apart", options: apart, expected: [ECDSA_SUITE, ...resumed] },
  { name: "no tickets", settings: ["no-tls-tickets"], options: apart, expected: [ECDSA_SUITE, ...resumed] },
  {
    name: "a client certificate",
    settings: ["verify required ca-file client-root.pem"],
    shown: true,
    expected: [ECDSA_SUITE, ...kept],
  },
  { name: "ALPN of both protocols", settings: ["alpn h2,http/1.1"], expected: [ECDSA_SUITE, ...kept] },
];

async function haproxy(session: Session, expect: Expectations, each: ServerCase, path: string): Promise<string> {
  const place = await Place.open(each.keyType ?? "ecdsa");
  try {
    const gateway = await session.gateway();
    const port = await freePort();
    await place.write(
      "haproxy.cfg",
      `global
  log stdout format raw local0
defaults
  mode http
  timeout connect 60s
  timeout client 60s
  timeout server 60s
  log global
  log-format "seen %sslc %[ssl_fc_is_resumed] %[fc_http_major,add(0)] %ci:%cp"
frontend tls
  bind 127.0.0.1:${port} ssl crt all.pem ${each.settings?.join(" ") ?? ""}
  default_backend gateway
backend gateway
  server gateway 127.0.0.1:${gateway.port}
`,
    );
    const program = place.start(path, ["-db", "-f", "haproxy.cfg"]);
    await program.listens(port);
    expect.equal((await publishThrice(session, place, port, each)).filter(Boolean), [], "errors");
    expect.equal(gateway.counts.accepted, 3, "accepted by the gateway");
    await program.line(/(seen .*\n[\s\S]*){3}/);
    const counts = new Map<string, number>();
    const seen = [...program.text.matchAll(/^seen (\S+) (\d) 1 (\S+)$/gm)].map(([, suite, mark, client]) => {
      counts.set(client, (counts.get(client) ?? 0) + 1);
      return [suite, mark === "1", counts.get(client) as number] as const;
    });
    return judge(expect, seen, each);
  } finally {
    await place.close();
  }
}

const openSslCases: readonly ServerCase[] = [
  { name: "stock settings", expected: [ECDSA_SUITE, ...kept] },
  { name: "stock settings, RSA", keyType: "rsa", expected: [RSA_SUITE, ...kept] },
  { name: "stock settings, connections apart", options: apart, expected: [ECDSA_SUITE, ...resumed] },
  { name: "no tickets", settings: ["-no_ticket"], options: apart, expected: [ECDSA_SUITE, ...resumed] },
  {
    name: "no tickets, no cache",
    settings: ["-no_ticket", "-no_cache"],
    options: apart,
    expected: [ECDSA_SUITE, ...anew],
  },
  { name: "records of 512 bytes", settings: ["-max_send_frag", "512"], expected: [ECDSA_SUITE, ...kept] },
  {
    name: "records of 512 bytes, RSA, a client certificate",
    keyType: "rsa",
    settings: ["-max_send_frag", "512", "-Verify", "3", "-verify_return_error", "-CAfile", "client-root.pem"],
    shown: true,
    expected: [RSA_SUITE, ...kept],
  },
  { name: "a certificate that is asked for, not shown", settings: ["-verify", "3"], expected: [ECDSA_SUITE, ...kept] },
];

async function openSsl(session: Session, expect: Expectations, each: ServerCase, path: string): Promise<string> {
  const place = await Place.open(each.keyType ?? "ecdsa");
  try {
    const { program, port } = await startOpenSsl(place, path, ["-naccept", "9", ...(each.settings ?? [])]);
    let responded = 0;
    // It prints what it receives, and sends what it is given.
    program.onText = () => {
      const requests = [...program.text.matchAll(/POST \/device\/publish[\s\S]*?\r\n\r\n\{[\s\S]*?\}/g)].length;
      for (; responded < requests; responded++) {
        const body = JSON.stringify({ Response: { RequestId: `openssl-${responded}` } });
        program.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      }
    };
    expect.equal((await publishThrice(session, place, Number(port), each)).filter(Boolean), [], "errors");
    await program.line(/(POST \/device\/publish[\s\S]*){3}/);
    let [suite, isResumed, count] = ["", false, 0];
    const seen: [string, boolean, number][] = [];
    for (const [word, name] of program.text.matchAll(/^CIPHER is (\S+)|^Reused session-id|POST \/device\/publish/gm)) {
      if (word.startsWith("CIPHER")) [suite, isResumed, count] = [name, false, 0];
      else if (word.startsWith("Reused")) isResumed = true;
      else seen.push([suite, isResumed, ++count]);
    }
    expect.equal((program.text.match(/Secure Renegotiation IS supported/g) ?? []).length > 0, true, "RFC 5746");
    return judge(expect, seen, each);
  } finally {
    await place.close();
  }
}

/** `openssl s_server` as it is, on a port that the system chooses. */
async function startOpenSsl(place: Place, path: string, more: readonly string[] = []) {
  const parameters = ["s_server", "-accept", "127.0.0.1:0", "-cert", "chain.pem", "-cert_chain", "chain.pem"];
  const program = place.start(path, [...parameters, "-key", "key.pem", ...more]);
  const [, port] = await program.line(/ACCEPT 127\.0\.0\.1:(\d+)/);
  return { program, port };
}

async function renegotiation(session: Session, expect: Expectations, path: string): Promise<string> {
  const place = await Place.open("ecdsa");
  try {
    const { program, port } = await startOpenSsl(place, path);
    let asked = false;
    program.onText = () => {
      if (asked || !program.text.includes("POST /device/publish")) return;
      asked = true;
      program.write("R\n");
    };
    await session.run("host", { options: place.options() });
    await session.run("device", { options: { ...identity, ...singly, url: `https://localhost:${port}` } });
    const [outcome] = await session.publish(["a"]);
    expect.equal([outcome.code, outcome.phase], ["TLS_FAILED", "first-byte"], "refused");
    expect.ok(outcome.message?.includes("renegotiate"), `message: ${outcome.message}`);
    await program.line(/no renegotiation/i);
    return `${outcome.code}: ${outcome.message}`;
  } finally {
    await place.close();
  }
}

async function oldProtocol(session: Session, expect: Expectations, path: string): Promise<string> {
  const place = await Place.open("ecdsa");
  try {
    const { program, port } = await startOpenSsl(place, path);
    let responded = false;
    program.onText = () => {
      if (responded || !program.text.includes("GET /old")) return;
      responded = true;
      program.write("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    };
    await session.run("host", { options: place.options() });
    const request = { scheme: "https", host: "localhost", port: Number(port), path: "/old", method: "GET", body: "" };
    const { outcome } = await session.run("send", { request, options: {} });
    expect.equal([outcome.status, outcome.body], [200, "{}"], "response");
    return `${outcome.status} ${outcome.body}`;
  } finally {
    await place.close();
  }
}

const gnuTlsCases: readonly ServerCase[] = [
  { name: "stock settings (asks for a certificate)", expected: ["ECDHE-ECDSA AES-128-GCM", ...resumed] },
  { name: "stock settings, RSA", keyType: "rsa", expected: ["ECDHE-RSA AES-128-GCM", ...resumed] },
  {
    name: "stock settings, a certificate shown",
    shown: true,
    expected: ["ECDHE-ECDSA AES-128-GCM", ...resumed],
  },
  {
    name: "neither tickets nor a database",
    settings: ["--noticket", "--nodb"],
    expected: ["ECDHE-ECDSA AES-128-GCM", ...anew],
  },
];

/** It responds to GET alone, in HTTP/1.0, so each request has a connection; and it listens on all addresses. */
async function gnuTls(session: Session, expect: Expectations, each: ServerCase, path: string): Promise<string> {
  const place = await Place.open(each.keyType ?? "ecdsa");
  try {
    const port = await freePort();
    const files = ["--x509keyfile", "key.pem", "--x509certfile", "chain.pem"];
    const program = place.start(path, ["--http", "-p", String(port), ...files, ...(each.settings ?? [])]);
    await program.line(/listening on IPv4/);
    await session.run("host", { options: { ...place.options(each.shown), ...each.options } });
    const request = { scheme: "https", host: "localhost", port, path: "/", method: "GET", body: "" };
    for (let i = 0; i < 3; i++) {
      const { outcome } = await session.run("send", { request, options: {} });
      expect.equal([outcome.code, outcome.status], [undefined, 200], `response: ${outcome.message}`);
    }
    await program.line(/(- Cipher: [\s\S]*){3}/);
    let isResumed = false;
    const seen: [string, boolean, number][] = [];
    const marks = /^\*\*\* This is a resumed session|^- Key Exchange: (\S+)$[\s\S]*?^- Cipher: (\S+)$/gm;
    for (const [word, exchange, cipher] of program.text.matchAll(marks)) {
      if (exchange) seen.push([`${exchange} ${cipher}`, isResumed, 1]);
      isResumed = word.startsWith("***");
    }
    expect.ok(program.text.includes("extended master secret"), "extended master secret");
    return judge(expect, seen, each);
  } finally {
    await place.close();
  }
}

const goServer = `package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
)

func main() {
	counts := map[string]int{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		counts[r.RemoteAddr]++
		resumed := 0
		if r.TLS.DidResume {
			resumed = 1
		}
		fmt.Println("seen", tls.CipherSuiteName(r.TLS.CipherSuite), resumed, counts[r.RemoteAddr])
		fmt.Fprintf(w, "{\\"Response\\":{\\"RequestId\\":\\"go-%s-%d\\"}}", r.RemoteAddr, counts[r.RemoteAddr])
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("port", listener.Addr().(*net.TCPAddr).Port)
	server := http.Server{Handler: handler, TLSConfig: &tls.Config{MaxVersion: tls.VersionTLS12}}
	panic(server.ServeTLS(listener, "chain.pem", "key.pem"))
}
`;

const javaServer = `import java.io.*;
import java.net.InetAddress;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.*;
import javax.net.ssl.*;

public class Server {
  public static void main(String[] arguments) throws Exception {
    var chain = CertificateFactory.getInstance("X.509").generateCertificates(new FileInputStream("chain.pem"));
    var text = Files.readString(Path.of("key.pem")).replaceAll("-----[^-]*-----|\\\\s", "");
    var leaf = chain.iterator().next();
    var key = KeyFactory.getInstance(leaf.getPublicKey().getAlgorithm())
        .generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(text)));
    var store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    store.setKeyEntry("server", key, new char[0], chain.toArray(new java.security.cert.Certificate[0]));
    var keys = KeyManagerFactory.getInstance("PKIX");
    keys.init(store, new char[0]);
    var context = SSLContext.getInstance("TLSv1.2");
    context.init(keys.getKeyManagers(), null, null);
    var listener = (SSLServerSocket) context.getServerSocketFactory().createServerSocket(0, 50, InetAddress.getByName("127.0.0.1"));
    listener.setEnabledProtocols(new String[] {"TLSv1.2"});
    System.out.println("port " + listener.getLocalPort());
    var made = new HashSet<Long>();
    for (int number = 0; ; number++) {
      try (var socket = (SSLSocket) listener.accept()) {
        serve(socket, made, number);
      } catch (IOException error) {
        System.out.println("failed " + error);
      }
      // Sessions are distinguished by their time of creation.
      Thread.sleep(5);
    }
  }

  static void serve(SSLSocket socket, Set<Long> made, int number) throws IOException {
    socket.startHandshake();
    var session = socket.getSession();
    int resumed = made.add(session.getCreationTime()) ? 0 : 1;
    var in = socket.getInputStream();
    for (int count = 1; ; count++) {
      var head = new StringBuilder();
      while (head.indexOf("\\r\\n\\r\\n") < 0) {
        int next = in.read();
        if (next < 0) return;
        head.append((char) next);
      }
      var length = java.util.regex.Pattern.compile("(?i)content-length: (\\\\d+)").matcher(head);
      if (length.find()) in.readNBytes(Integer.parseInt(length.group(1)));
      System.out.println("seen " + session.getCipherSuite() + " " + resumed + " " + count);
      var body = "{\\"Response\\":{\\"RequestId\\":\\"java-" + number + "-" + count + "\\"}}";
      var response = "HTTP/1.1 200 OK\\r\\nContent-Length: " + body.length() + "\\r\\n\\r\\n" + body;
      socket.getOutputStream().write(response.getBytes());
    }
  }
}
`;

const programCases: readonly ServerCase[] = [
  { name: "stock settings", expected: [TLS_ECDSA_SUITE, ...kept] },
  { name: "stock settings, connections apart", options: apart, expected: [TLS_ECDSA_SUITE, ...resumed] },
  {
    name: "stock settings, RSA, connections apart",
    keyType: "rsa",
    options: apart,
    expected: [TLS_RSA_SUITE, ...resumed],
  },
];

/** A server in another language's own TLS, which says what it has seen in lines of `seen SUITE RESUMED COUNT`. */
async function program(
  session: Session,
  expect: Expectations,
  each: ServerCase,
  start: (place: Place) => Promise<Program>,
): Promise<string> {
  const place = await Place.open(each.keyType ?? "ecdsa");
  try {
    const server = await start(place);
    const [, port] = await server.line(/^port (\d+)$/m);
    expect.equal((await publishThrice(session, place, Number(port), each)).filter(Boolean), [], "errors");
    await server.line(/(seen .*\n[\s\S]*){3}/);
    const seen = [...server.text.matchAll(/^seen (\S+) (\d) (\d+)$/gm)].map(
      ([, suite, mark, count]) => [suite, mark === "1", Number(count)] as const,
    );
    return judge(expect, seen, each);
  } finally {
    await place.close();
  }
}

const go: Run = (session, expect, each, path) =>
  program(session, expect, each, async (place) => {
    await place.write("server.go", goServer);
    // Built, not run: what `go run` starts is not ended with it.
    const build = place.start(path, ["build", "-o", "server", "server.go"]);
    await build.ended();
    return place.start(join(place.folder, "server"), []);
  });

const java: Run = (session, expect, each, path) =>
  program(session, expect, each, async (place) => {
    await place.write("Server.java", javaServer);
    return place.start(path, ["Server.java"]);
  });

type Run = (session: Session, expect: Expectations, each: ServerCase, path: string) => Promise<string>;

function tests(program: string, cases: readonly ServerCase[], run: Run): [string, Test][] {
  return cases.map((each) => [
    `${program}, ${each.name}`,
    on(program, (session, expect, path) => run(session, expect, each, path)),
  ]);
}

function on(program: string, run: (session: Session, expect: Expectations, path: string) => Promise<string>): Test {
  return async (session, expect) => {
    const path = installed(program);
    return path ? run(session, expect, path) : `skipped: ${program} is not installed`;
  };
}

export const servers: readonly [string, Test][] = [
  ...tests("nginx", nginxCases, nginx),
  ...tests("haproxy", haproxyCases, haproxy),
  ...tests("openssl", openSslCases, openSsl),
  ["openssl, a renegotiation", on("openssl", renegotiation)],
  ["openssl, HTTP/1.0", on("openssl", oldProtocol)],
  ...tests("gnutls-serv", gnuTlsCases, gnuTls),
  ...tests("go", programCases, go),
  // Java starts a program from its source, but only where its compiler is installed.
  ...tests("javac", programCases, (session, expect, each, path) => java(session, expect, each, join(path, "../java"))),
];
