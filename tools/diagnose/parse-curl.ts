import { DiagnoseError } from "./errors.js";
import { readHeaderLines } from "./parse-http.js";
import type { SentRequest } from "./request.js";

const fail = (reason: string): never => {
  throw new DiagnoseError("INVALID_CURL", `The curl command cannot be read: ${reason}.`);
};

/** Reads a file that the command refers to with `@`. */
export type ReadFile = (path: string) => Uint8Array;

/** Options of curl with a value that is not signed. */
const VALUED = new Set(
  (
    "-o --output -A --user-agent -e --referer -x --proxy -u --user -m --max-time -w --write-out -b --cookie -c --cookie-jar " +
    "-E --cert -D --dump-header -r --range -y --speed-time -Y --speed-limit -z --time-cond -C --continue-at " +
    "--cacert --capath --key --key-type --cert-type --ciphers --tls-max --connect-timeout --resolve --connect-to --retry " +
    "--retry-delay --retry-max-time --limit-rate --interface --local-port --max-redirs --noproxy --proxy-user " +
    "--trace --trace-ascii --stderr --pinnedpubkey --dns-servers --keepalive-time --unix-socket"
  ).split(" "),
);
const REFUSED = new Set(
  "-F --form --form-string -T --upload-file -G --get --data-urlencode --url-query -K --config -I --head --next".split(
    " ",
  ),
);
/** Letters of short options without a value, which can be combined: -sSk. */
const FLAGS = /^[a0-46BfgijkLlMnNOpqRsSvZ#]*$/;

/**
 * Parses a command line of curl, quoted for a POSIX shell. Nothing is run or expanded: a variable or a substitution is
 * an error, since its value is unknown.
 * @throws {DiagnoseError} INVALID_CURL; and the errors of `readFile`
 */
export function parseCurl(command: string, readFile?: ReadFile): SentRequest {
  const words = shellWords(command.replace(/^\ufeff/, ""));
  if (!/(?:^|\/)curl(?:\.exe)?$/.test(words.shift() ?? "")) return fail("it does not begin with curl");
  const headerLines: string[] = [];
  const data: Buffer[] = [];
  const originals: { what: string; bytes: Uint8Array }[] = [];
  let url: string | undefined;
  let method: string | undefined;
  let isJson = false;
  const next = (option: string): string => words.shift() ?? fail(`${option} has no value`);
  const fileOf = (path: string): Uint8Array => {
    if (path === "-" || readFile === undefined) return fail(`the file ${JSON.stringify(path)} is not available`);
    return readFile(path);
  };
  const addData = (option: string, value: string): void => {
    const isFile = value.startsWith("@") && option !== "--data-raw";
    const bytes = Buffer.from(isFile ? fileOf(value.slice(1)) : value);
    const isStripped = isFile && option !== "--data-binary" && option !== "--json";
    const sent = isStripped ? bytes.filter((byte) => byte !== 10 && byte !== 13 && byte !== 0) : bytes;
    if (isStripped && sent.length < bytes.length) {
      originals.push({ what: "the file as it is; curl -d left out its line breaks", bytes });
    }
    if (data.length > 0 && option !== "--json") data.push(Buffer.from("&"));
    data.push(Buffer.from(sent));
  };
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    let option = word;
    let value: string | undefined;
    if (word.startsWith("--")) {
      // curl does not support --option=value: a value is always a separate word.
      if (word === "--") {
        url = words.shift();
        continue;
      }
    } else if (word.startsWith("-") && word.length > 1) {
      // Short options can be combined; the rest of the word is the value of one that has a value.
      const at = [...word].findIndex((letter, index) => index > 0 && !FLAGS.test(letter));
      if (at < 0) continue;
      option = `-${word[at]}`;
      value = word.length > at + 1 ? word.slice(at + 1) : undefined;
    } else {
      url = word;
      continue;
    }
    const read = (): string => value ?? next(option);
    if (option === "-H" || option === "--header") headerLines.push(read());
    else if (option === "-X" || option === "--request") method = read();
    else if (option === "--url") url = read();
    else if (option === "-d" || option === "--data" || option === "--data-ascii") addData("-d", read());
    else if (option === "--data-raw" || option === "--data-binary") addData(option, read());
    else if (option === "--json") {
      isJson = true;
      addData(option, read());
    } else if (REFUSED.has(option)) return fail(`${option} is not supported here`);
    else if (VALUED.has(option)) read();
    else if (!option.startsWith("--")) return fail(`the option ${option} is unknown`);
  }
  if (url === undefined) return fail("it has no URL");
  const [, authority, rest] =
    /^(?:https?:\/\/)?([^/?#]+)([^#]*)$/i.exec(url.replace(/#.*$/, "")) ?? fail("its URL is invalid");
  const headers = readCurlHeaders(headerLines);
  const type = isJson ? "application/json" : "application/x-www-form-urlencoded";
  const host = headers.host ?? authority.replace(/^[^@]*@/, "");
  return {
    method: method ?? (data.length > 0 ? "POST" : "GET"),
    target: rest.startsWith("/") ? rest : `/${rest}`,
    host,
    headers: { ...(data.length > 0 ? { "content-type": type } : {}), ...headers },
    body: Buffer.concat(data),
    ...(originals.length > 0 ? { originals } : {}),
  };
}

/** `Name;` is a header without a value, `Name:` removes one that curl would send. */
function readCurlHeaders(lines: readonly string[]): Record<string, string> {
  const plain = lines.filter((line) => !line.startsWith("@") && !line.trimEnd().endsWith(";") && line.includes(":"));
  const headers = readHeaderLines(plain, fail);
  return Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== ""));
}

/**
 * Splits a command into words as a POSIX shell does: single quotes, double quotes, backslashes, comments, and the
 * `$'…'` of bash, which browsers write.
 * @throws {DiagnoseError} INVALID_CURL if it contains anything that a shell would expand or run
 */
export function shellWords(command: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let at = 0;
  const expand = (): never =>
    fail("it has a variable or a substitution, which only the shell can expand; replace it by its value");
  while (at < command.length) {
    const character = command[at++];
    if (character === "\\") {
      if (command[at] === "\r" && command[at + 1] === "\n") at += 2;
      else if (command[at] === "\n") at++;
      else if (at < command.length) word = (word ?? "") + command[at++];
    } else if (character === "'") {
      const end = command.indexOf("'", at);
      if (end < 0) return fail("a single quote is not closed");
      word = (word ?? "") + command.slice(at, end);
      at = end + 1;
    } else if (character === '"') {
      word ??= "";
      for (;;) {
        const inner = command[at++];
        if (inner === undefined) return fail("a double quote is not closed");
        if (inner === '"') break;
        if (inner === "`" || (inner === "$" && /[A-Za-z0-9_{(@*#?$!-]/.test(command[at] ?? ""))) return expand();
        if (inner === "\\" && /[$`"\\\n]/.test(command[at] ?? "")) {
          const escaped = command[at++];
          if (escaped !== "\n") word += escaped;
        } else word += inner;
      }
    } else if (character === "$" && command[at] === "'") {
      const [text, end] = ansiC(command, at + 1);
      word = (word ?? "") + text;
      at = end;
    } else if (character === "`" || (character === "$" && /[A-Za-z0-9_{(@*#?$!"-]/.test(command[at] ?? ""))) {
      return expand();
    } else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
      // After a line end without a backslash, a second command follows.
      if (character === "\n" && words.length > 0) {
        if (command.slice(at).trim() !== "")
          return fail("a second command follows after a line end without a backslash");
        break;
      }
    } else if (character === "#" && word === undefined) {
      const end = command.indexOf("\n", at);
      at = end < 0 ? command.length : end;
    } else if (/[|&;<>()]/.test(character)) {
      return fail(`it has ${character} outside of quotes`);
    } else word = (word ?? "") + character;
  }
  if (word !== undefined) words.push(word);
  return words;
}

const ANSI_C: Readonly<Record<string, string>> = {
  n: "\n",
  r: "\r",
  t: "\t",
  a: "\x07",
  b: "\b",
  e: "\x1b",
  f: "\f",
  v: "\v",
};

function ansiC(command: string, from: number): readonly [text: string, end: number] {
  let text = "";
  for (let at = from; at < command.length; at++) {
    const character = command[at];
    if (character === "'") return [text, at + 1];
    if (character !== "\\") {
      text += character;
      continue;
    }
    const rest = command.slice(at + 1, at + 10);
    const code =
      /^x([0-9a-fA-F]{1,2})/.exec(rest) ?? /^u([0-9a-fA-F]{1,4})/.exec(rest) ?? /^U([0-9a-fA-F]{1,8})/.exec(rest);
    const octal = /^[0-7]{1,3}/.exec(rest);
    if (code !== null) {
      const point = Number.parseInt(code[1], 16);
      if (point > 0x10ffff) return fail("it has an invalid escape");
      text += String.fromCodePoint(point);
      at += code[0].length;
    } else if (octal !== null) {
      text += String.fromCharCode(Number.parseInt(octal[0], 8));
      at += octal[0].length;
    } else {
      text += ANSI_C[rest[0]] ?? rest[0] ?? "";
      at++;
    }
  }
  return fail("a single quote is not closed");
}
