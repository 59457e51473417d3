/**
 * A product's thing model, as the console of IoT Explorer exports it, as a TypeScript declaration. Its shape is that of
 * tencentyun/qcloud-iot-explorer-sdk-embedded-c (tools/example_config.json) and of tencentyun/iot-device-java (struct.json,
 * DataTemplateJson.java): a bool is 0 or 1, an enum one of the numbers of its mapping, a stringenum one of its texts.
 */

import { CliError } from "./failure.js";

export interface Declaration {
  /** The `.d.ts`. */
  readonly text: string;
  /** Sentences on what could not be made use of. */
  readonly warnings: readonly string[];
}

type Json = Readonly<Record<string, unknown>>;

const EVENT_TYPES: readonly unknown[] = ["info", "alert", "fault"];
/** Structs and arrays inside each other; the console offers an array of structs at most. */
const MAX_DEPTH = 8;
const MAX_COMMENT_CHARACTERS = 240;

/**
 * @param source where the model comes from, for the first line
 * @param name of the interface
 * @throws {CliError} INVALID_MODEL
 */
export function declareModel(model: unknown, source: string, name: string): Declaration {
  const warnings: string[] = [];
  const { properties, events, profile } = object(model, "the file");
  if (properties === undefined && events === undefined) throw invalid("the file has neither properties nor events");
  const typeOf = (where: string, define: unknown) => valueType(where, define, warnings, 0);
  const product = isObject(profile) && typeof profile.ProductId === "string" ? `, product ${profile.ProductId}` : "";
  const lines = [
    `/** ${comment(`Made by tencent-iothub types from ${source}${product}: make it anew when the model changes`)} */`,
    `export interface ${name} {`,
    "  properties: {",
    ...entries(properties, "property").flatMap(({ id, entry, where }) =>
      member(4, id, typeOf(where, entry.define), [entry.name, entry.desc, ...facts(entry.define)]),
    ),
    "  };",
    "  events: {",
    ...entries(events, "event").flatMap(({ id, entry, where }) => {
      if (!EVENT_TYPES.includes(entry.type)) throw invalid(`${where} has a type that is none of info, alert and fault`);
      const params = entries(entry.params, `parameter of ${where}`).flatMap((inner) =>
        member(8, inner.id, typeOf(inner.where, inner.entry.define), [
          inner.entry.name,
          inner.entry.desc,
          ...facts(inner.entry.define),
        ]),
      );
      const type = ["{", `      type: ${quote(entry.type)};`, "      params: {", ...params, "      };", "    }"].join(
        "\n",
      );
      return member(4, id, type, [entry.name, entry.desc]);
    }),
    "  };",
    "}",
  ];
  return { text: `${lines.join("\n")}\n`, warnings };
}

function valueType(where: string, define: unknown, warnings: string[], depth: number): string {
  const { type, mapping, specs, arrayInfo } = object(define, `the definition of ${where}`);
  if (depth > MAX_DEPTH) throw invalid(`${where} is nested too deeply`);
  const keys = isObject(mapping) ? Object.keys(mapping) : [];
  switch (type) {
    case "bool":
      return "0 | 1";
    case "int":
    case "float":
    case "timestamp":
      return "number";
    case "string":
      return "string";
    case "enum":
      return keys.length > 0 && keys.every((key) => /^-?(0|[1-9][0-9]{0,14})$/.test(key)) ? keys.join(" | ") : "number";
    case "stringenum":
      return keys.length > 0 ? keys.map(quote).join(" | ") : "string";
    case "struct": {
      const members = entries(specs, `member of ${where}`).map(({ id, entry, where: inner }) => {
        const defined = entry.dataType ?? entry.define;
        return `${key(id)}: ${valueType(inner, defined, warnings, depth + 1)}`;
      });
      return members.length === 0 ? "object" : `{ ${members.join("; ")} }`;
    }
    case "array": {
      const element = valueType(`an element of ${where}`, arrayInfo, warnings, depth + 1);
      return `readonly (${element})[]`;
    }
    default:
      if (typeof type !== "string") throw invalid(`${where} has no type`);
      warnings.push(`${where} has the type ${quote(type.slice(0, 40))}, which is not known here: any value is taken.`);
      return "unknown";
  }
}

interface Entry {
  readonly id: string;
  readonly entry: Json;
  readonly where: string;
}

function entries(list: unknown, what: string): Entry[] {
  if (list === undefined) return [];
  if (!Array.isArray(list)) throw invalid(`what should be a list of each ${what} is none`);
  const known = new Set<string>();
  return list.map((each, i) => {
    const entry = object(each, `${what} ${i + 1}`);
    const { id } = entry;
    if (typeof id !== "string" || id === "") throw invalid(`${what} ${i + 1} has no id`);
    const where = `${what} ${quote(id.slice(0, 64))}`;
    if (known.has(id)) throw invalid(`${where} is there twice`);
    known.add(id);
    return { id, entry, where };
  });
}

/** Unit, range and meanings of a value. */
function facts(define: unknown): unknown[] {
  if (!isObject(define)) return [];
  const { type, min, max, unit, mapping } = define;
  const of = typeof unit === "string" && unit !== "" ? ` ${unit}` : "";
  const range = min !== undefined && max !== undefined ? `${min} to ${max}${of}` : of;
  const meanings = isObject(mapping) ? Object.entries(mapping).map(([value, meaning]) => `${value}: ${meaning}`) : [];
  return [type === "string" && range !== "" ? `${range} characters` : range, meanings.join(", ")];
}

function member(indent: number, id: string, type: string, facts: readonly unknown[]): string[] {
  const said = facts.filter((fact) => typeof fact === "string" && fact.trim() !== "").join(". ");
  const space = " ".repeat(indent);
  return [...(said === "" ? [] : [`${space}/** ${comment(said)} */`]), `${space}${key(id)}: ${type};`];
}

function key(id: string): string {
  return /^[A-Za-z_$][A-Za-z0-9_$]*$/.test(id) ? id : quote(id);
}

/** A literal that no line separator ends, and nothing hidden is in. */
function quote(text: unknown): string {
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(text).replace(/[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu, escaped);
}

/** Texts of people, on one line, that do not end the comment. */
function comment(text: string): string {
  const line = text
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, " ")
    .replaceAll("*/", "* /")
    .trim();
  const characters = [...line];
  const cut = characters.length > MAX_COMMENT_CHARACTERS;
  const said = cut ? `${characters.slice(0, MAX_COMMENT_CHARACTERS).join("")}…` : line;
  return /[.。!?…]$/.test(said) ? said : `${said}.`;
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function object(value: unknown, what: string): Json {
  if (!isObject(value)) throw invalid(`${what} is not an object`);
  return value;
}

function invalid(what: string): CliError {
  return new CliError("INVALID_MODEL", `This is not a thing model: ${what}.`, {
    hint: "The console exports it where a product's functions are defined.",
  });
}
