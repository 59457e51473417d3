/** Rewrites JSON text. Unlike with `JSON.parse`, numbers and strings keep their spelling. */

/** Maximum nesting, so that no input exhausts the stack. */
const MAX_DEPTH = 32;

export type JsonNode =
  | { readonly kind: "object"; readonly members: readonly (readonly [key: string, value: JsonNode])[] }
  | { readonly kind: "array"; readonly items: readonly JsonNode[] }
  | { readonly kind: "leaf"; readonly text: string };

export interface JsonStyle {
  readonly what: string;
  readonly comma: string;
  readonly colon: string;
  readonly indent?: string;
  readonly lineEnd?: string;
}

export const jsonStyles: readonly JsonStyle[] = [
  { what: "compact", comma: ",", colon: ":" },
  { what: "with spaces, as Python writes it", comma: ", ", colon: ": " },
  { what: "indented by two", comma: ",", colon: ": ", indent: "  " },
  { what: "indented by four", comma: ",", colon: ": ", indent: "    " },
  { what: "with a space after each colon", comma: ",", colon: ": " },
  { what: "indented by a tab", comma: ",", colon: ": ", indent: "\t" },
  { what: "as cJSON_Print writes it", comma: ",", colon: ":\t", indent: "\t" },
  { what: "with a space after each comma", comma: ", ", colon: ":" },
  { what: "indented by two with CR LF", comma: ",", colon: ": ", indent: "  ", lineEnd: "\r\n" },
];

/** Parses JSON; returns undefined if it is invalid or nested too deeply. */
export function parseJson(text: string): JsonNode | undefined {
  try {
    JSON.parse(text);
  } catch {
    return undefined;
  }
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  let depth = 0;
  for (const token of tokens) {
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    if (depth > MAX_DEPTH) return undefined;
  }
  let at = 0;
  const read = (): JsonNode => {
    const token = tokens[at++];
    if (token === "{") {
      const members: [string, JsonNode][] = [];
      while (tokens[at] !== "}") {
        if (tokens[at] === ",") at++;
        const key = tokens[at];
        at += 2;
        members.push([key, read()]);
      }
      at++;
      return { kind: "object", members };
    }
    if (token === "[") {
      const items: JsonNode[] = [];
      while (tokens[at] !== "]") {
        if (tokens[at] === ",") at++;
        items.push(read());
      }
      at++;
      return { kind: "array", items };
    }
    return { kind: "leaf", text: token };
  };
  return read();
}

export function writeJson(node: JsonNode, style: JsonStyle, level = 0): string {
  if (node.kind === "leaf") return node.text;
  const parts =
    node.kind === "array"
      ? node.items.map((item) => writeJson(item, style, level + 1))
      : node.members.map(([key, value]) => `${key}${style.colon}${writeJson(value, style, level + 1)}`);
  const [open, close] = node.kind === "array" ? "[]" : "{}";
  if (style.indent === undefined || parts.length === 0) return open + parts.join(style.comma) + close;
  const line = (depth: number): string => (style.lineEnd ?? "\n") + (style.indent as string).repeat(depth);
  return open + line(level + 1) + parts.join(style.comma + line(level + 1)) + line(level) + close;
}

/** Returns the style of a text; compact if unknown. */
export function styleOf(text: string, node: JsonNode): JsonStyle {
  const trimmed = text.trim();
  return jsonStyles.find((style) => writeJson(node, style) === trimmed) ?? jsonStyles[0];
}

const nameOf = (key: string): string => JSON.parse(key) as string;

/** Sorts members by name, at every level. */
export function sortMembers(node: JsonNode): JsonNode {
  if (node.kind === "leaf") return node;
  if (node.kind === "array") return { kind: "array", items: node.items.map(sortMembers) };
  const members = node.members.map(([key, value]) => [key, sortMembers(value)] as const);
  members.sort(([a], [b]) => (nameOf(a) < nameOf(b) ? -1 : 1));
  return { kind: "object", members };
}

/** Puts the top-level members into the order of these names, followed by all others. */
export function orderMembers(node: JsonNode, names: readonly string[]): JsonNode {
  if (node.kind !== "object") return node;
  const rank = (key: string): number => (names.indexOf(nameOf(key)) + names.length + 1) % (names.length + 1);
  return { kind: "object", members: [...node.members].sort(([a], [b]) => rank(a) - rank(b)) };
}

/** Yields every other order of the top-level members; none if there are more than five. */
export function* permutations(node: JsonNode): Generator<JsonNode> {
  if (node.kind !== "object" || node.members.length > 5) return;
  const orders = (items: readonly number[]): number[][] =>
    items.length <= 1
      ? [[...items]]
      : items.flatMap((item) => orders(items.filter((other) => other !== item)).map((rest) => [item, ...rest]));
  const { members } = node;
  for (const order of orders(members.map((_, index) => index))) {
    yield { kind: "object", members: order.map((index) => members[index]) };
  }
}

/** Returns the decoded value of a top-level member; undefined if it is not a string. */
export function stringMember(node: JsonNode, name: string): string | undefined {
  if (node.kind !== "object") return undefined;
  const value = node.members.find(([key]) => nameOf(key) === name)?.[1];
  return value?.kind === "leaf" && value.text.startsWith('"') ? (JSON.parse(value.text) as string) : undefined;
}

/** Replaces the value of a top-level member by a string, or removes the member. */
export function replaceMember(node: JsonNode, name: string, text: string | undefined): JsonNode {
  if (node.kind !== "object") return node;
  const members = node.members.flatMap(([key, value]) => {
    if (nameOf(key) !== name) return [[key, value] as const];
    return text === undefined ? [] : [[key, { kind: "leaf", text: JSON.stringify(text) } as const] as const];
  });
  return { kind: "object", members };
}

/** Rewrites numbers like JavaScript: 1.0 becomes 1, 1e3 becomes 1000. */
export function rewriteNumbers(node: JsonNode): JsonNode {
  if (node.kind === "array") return { kind: "array", items: node.items.map(rewriteNumbers) };
  if (node.kind === "object") {
    return { kind: "object", members: node.members.map(([key, value]) => [key, rewriteNumbers(value)] as const) };
  }
  return /^[-0-9]/.test(node.text) ? { kind: "leaf", text: JSON.stringify(Number(node.text)) } : node;
}
