/**
 * Random messages made from Kafka's definitions (fixtures/message-schemas.json), independently of the generated codecs: every field that
 * the version has gets a random value, every other one the definition's default.
 */
import {
  contains,
  type ElementType,
  type FieldDefinition,
  type MessageDefinition,
  parseMessage,
  type RawMessage,
  type StructDefinition,
} from "../../../scripts/protocol/definitions.ts";
import type { UnknownTaggedField } from "../../../src/protocol/api-definition.ts";
import schemas from "./fixtures/message-schemas.json" with { type: "json" };
import type { SeededRandom } from "./seeded-random.ts";

export type Message = Record<string, unknown>;

const parsed = new Map<string, MessageDefinition>();
for (const raw of schemas as unknown as RawMessage[]) {
  const message = parseMessage(raw);
  if (message !== undefined) parsed.set(message.name, message);
}

export function definitionOf(name: string): MessageDefinition {
  const definition = parsed.get(name);
  if (definition === undefined) throw new Error(`no definition of ${name}`);
  return definition;
}

export function definitionsOfKind(...kinds: MessageDefinition["kind"][]): MessageDefinition[] {
  return [...parsed.values()].filter(({ kind }) => kinds.includes(kind));
}

const NAMES = ["", "a", "orders", "αβγ", "日本", "a-much-longer-name-than-the-others-so-that-the-long-path-is-taken-as-well", "😀"];
const ZERO_UUID = "AAAAAAAAAAAAAAAAAAAAAA";

export interface RandomMessageOptions {
  readonly unknownTags: boolean;
  /** Probability of a field keeping its default. */
  readonly defaults?: number;
}

export function randomMessage(
  definition: MessageDefinition,
  version: number,
  random: SeededRandom,
  options: RandomMessageOptions,
): Message {
  return randomStruct(definition.root, 0);

  function randomStruct(struct: StructDefinition, depth: number): Message {
    const message: Message = {};
    for (const field of struct.fields) {
      message[field.name] = contains(field.versions, version) ? randomField(field, depth) : defaultOf(field);
    }
    if (options.unknownTags && contains(definition.flexible, version) && random.chance(0.3)) {
      const fields: UnknownTaggedField[] = [];
      for (let tag = 100 + random.int(50), left = 1 + random.int(3); left > 0; left--, tag += 1 + random.int(20_000)) {
        fields.push({ tag, data: random.bytes(random.int(20)) });
      }
      message.unknownTaggedFields = fields;
    }
    return message;
  }

  function randomField(field: FieldDefinition, depth: number): unknown {
    if (random.chance(options.defaults ?? (field.tagged === undefined ? 0 : 0.5))) return defaultOf(field);
    if (contains(field.nullable, version) && random.chance(0.2)) return null;
    if (field.type.kind !== "array") return randomElement(field.type, depth);
    const { element } = field.type;
    return Array.from({ length: random.int(depth > 2 ? 2 : 4) }, () => randomElement(element, depth + 1));
  }

  function randomElement(type: ElementType, depth: number): unknown {
    if (type.kind === "struct") return randomStruct(type.struct, depth);
    switch (type.primitive) {
      case "bool":
        return random.chance(0.5);
      case "int8":
        return random.int(0x100) - 0x80;
      case "int16":
        return random.int(0x1_0000) - 0x8000;
      case "uint16":
        return random.int(0x1_0000);
      case "int32":
        return random.int(0x1_0000_0000) - 0x8000_0000;
      case "int64":
        return (BigInt(random.int(0x1_0000_0000) - 0x8000_0000) << 32n) | BigInt(random.int(0x1_0000_0000));
      case "float64":
        return random.float() * 1e9;
      case "uuid":
        return random.chance(0.2) ? ZERO_UUID : Buffer.from(random.bytes(16)).toString("base64url");
      case "string":
        return NAMES[random.int(NAMES.length)];
      case "bytes":
      case "records":
        return random.bytes(random.int(40));
    }
  }
}

/** Kafka's default of a field, from the rules of its message generator. */
export function defaultOf(field: FieldDefinition): unknown {
  const text = field.defaultText;
  if (text === "null") return null;
  if (field.type.kind === "array") return [];
  if (field.type.kind === "struct") return Object.fromEntries(field.type.struct.fields.map((inner) => [inner.name, defaultOf(inner)]));
  switch (field.type.primitive) {
    case "bool":
      return text === "true";
    case "int64":
      return BigInt(text ?? 0);
    case "string":
      return text ?? "";
    case "uuid":
      return ZERO_UUID;
    case "bytes":
      return new Uint8Array(0);
    case "records":
      return null;
    default:
      return Number(text ?? 0);
  }
}
