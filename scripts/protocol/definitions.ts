/**
 * Kafka's message definitions (JSON with comments, as in the jars) turned into a checked model. The rules are those of Kafka's own
 * message generator: a field without `versions` takes its `taggedVersions`; names begin in lower case; a nested struct lives in the
 * versions of the field that holds it.
 */
export interface VersionRange {
  readonly from: number;
  readonly to: number;
}

const ENDLESS = 32767;
export const PRIMITIVES = ["bool", "int8", "int16", "uint16", "int32", "int64", "float64", "uuid", "string", "bytes", "records"] as const;
export type Primitive = (typeof PRIMITIVES)[number];

export type FieldType =
  | { readonly kind: "primitive"; readonly primitive: Primitive }
  | { readonly kind: "struct"; readonly struct: StructDefinition }
  | { readonly kind: "array"; readonly element: ElementType };
export type ElementType = Exclude<FieldType, { kind: "array" }>;

export interface FieldDefinition {
  readonly name: string;
  readonly type: FieldType;
  readonly versions: VersionRange;
  readonly nullable: VersionRange | undefined;
  readonly tagged: VersionRange | undefined;
  readonly tag: number;
  /** As in the definition; undefined when it states none. */
  readonly defaultText: string | undefined;
  readonly ignorable: boolean;
  /** False for the one field that keeps the old string form in flexible versions (the request header's client id). */
  readonly mayBeFlexible: boolean;
  readonly about: string;
}

export interface StructDefinition {
  /** Name of the TypeScript interface; made unique within its file. */
  name: string;
  readonly about: string;
  /** Versions in which it can occur, within the message's valid ones. */
  readonly range: VersionRange;
  readonly fields: FieldDefinition[];
}

export interface MessageDefinition {
  readonly kind: "request" | "response" | "header" | "data" | "coordinator-key" | "coordinator-value";
  readonly apiKey: number | undefined;
  readonly name: string;
  readonly validVersions: VersionRange;
  readonly flexible: VersionRange | undefined;
  readonly latestVersionUnstable: boolean;
  readonly listeners: readonly string[];
  readonly root: StructDefinition;
  /** All of them, each once, the root last. */
  readonly structs: StructDefinition[];
}

interface RawField {
  readonly name: string;
  readonly type: string;
  readonly versions?: string;
  readonly nullableVersions?: string;
  readonly taggedVersions?: string;
  readonly flexibleVersions?: string;
  readonly tag?: number;
  readonly default?: string | number | boolean | null;
  readonly ignorable?: boolean;
  readonly about?: string;
  readonly fields?: readonly RawField[];
}

interface RawStruct {
  readonly name: string;
  readonly versions: string;
  readonly fields: readonly RawField[];
}

export interface RawMessage {
  readonly type: MessageDefinition["kind"];
  readonly apiKey?: number;
  readonly name: string;
  readonly validVersions: string;
  readonly flexibleVersions?: string;
  readonly latestVersionUnstable?: boolean;
  readonly listeners?: readonly string[];
  readonly fields?: readonly RawField[];
  readonly commonStructs?: readonly RawStruct[];
}

export function parseJsonWithComments(text: string): RawMessage {
  return JSON.parse(text.replace(/("(?:[^"\\]|\\.)*")|\/\/[^\n]*/g, (_, quoted: string | undefined) => quoted ?? "")) as RawMessage;
}

export function parseVersions(text: string | undefined): VersionRange | undefined {
  if (text === undefined || text === "none") return undefined;
  const match = /^(\d+)(\+|-(\d+))?$/.exec(text.trim());
  if (match === null) throw new Error(`not a version range: ${text}`);
  const from = Number(match[1]);
  if (match[2] === undefined) return { from, to: from };
  return { from, to: match[2] === "+" ? ENDLESS : Number(match[3]) };
}

export function intersect(a: VersionRange | undefined, b: VersionRange | undefined): VersionRange | undefined {
  if (a === undefined || b === undefined) return undefined;
  const range = { from: Math.max(a.from, b.from), to: Math.min(a.to, b.to) };
  return range.from <= range.to ? range : undefined;
}

export function contains(range: VersionRange | undefined, version: number): boolean {
  return range !== undefined && version >= range.from && version <= range.to;
}

/** Undefined for a message that has no valid version any more. */
export function parseMessage(raw: RawMessage): MessageDefinition | undefined {
  const validVersions = parseVersions(raw.validVersions);
  if (validVersions === undefined) return undefined;
  const structs: StructDefinition[] = [];
  const common = new Map<string, RawStruct>((raw.commonStructs ?? []).map((struct) => [struct.name, struct]));
  const byName = new Map<string, StructDefinition>();

  const structOf = (name: string, about: string, fields: readonly RawField[], range: VersionRange): StructDefinition => {
    const struct: StructDefinition = { name, about, range, fields: [] };
    byName.set(name, struct);
    for (const field of fields) {
      const parsed = fieldOf(field, range);
      if (parsed !== undefined) struct.fields.push(parsed);
    }
    structs.push(struct);
    return struct;
  };

  const elementOf = (typeName: string, field: RawField, range: VersionRange): ElementType => {
    const primitive = PRIMITIVES.find((name) => name === typeName);
    if (primitive !== undefined) return { kind: "primitive", primitive };
    const known = byName.get(typeName);
    if (known !== undefined) return { kind: "struct", struct: known };
    const shared = common.get(typeName);
    if (shared !== undefined) {
      const sharedRange = intersect(parseVersions(shared.versions), validVersions);
      if (sharedRange === undefined) throw new Error(`${raw.name}: ${typeName} has no valid version`);
      return { kind: "struct", struct: structOf(typeName, "", shared.fields, sharedRange) };
    }
    if (field.fields === undefined) throw new Error(`${raw.name}: unknown type ${typeName}`);
    return { kind: "struct", struct: structOf(typeName, field.about ?? "", field.fields, range) };
  };

  const fieldOf = (field: RawField, parent: VersionRange): FieldDefinition | undefined => {
    const tagged = parseVersions(field.taggedVersions);
    const versions = parseVersions(field.versions ?? field.taggedVersions);
    const range = intersect(versions, parent);
    if (versions === undefined || range === undefined) return undefined;
    if (tagged !== undefined && (tagged.from !== versions.from || tagged.to !== versions.to)) {
      throw new Error(`${raw.name}.${field.name}: tagged in only some of its versions`);
    }
    const isArray = field.type.startsWith("[]");
    const element = elementOf(isArray ? field.type.slice(2) : field.type, field, range);
    return {
      name: field.name.charAt(0).toLowerCase() + field.name.slice(1),
      type: isArray ? { kind: "array", element } : element,
      versions,
      nullable: parseVersions(field.nullableVersions),
      tagged,
      tag: field.tag ?? -1,
      defaultText: field.default === undefined || field.default === null ? undefined : String(field.default),
      ignorable: field.ignorable ?? false,
      mayBeFlexible: field.flexibleVersions !== "none",
      about: field.about ?? "",
    };
  };

  const root = structOf(raw.name, "", raw.fields ?? [], validVersions);
  return {
    kind: raw.type,
    apiKey: raw.apiKey,
    name: raw.name,
    validVersions,
    flexible: parseVersions(raw.flexibleVersions),
    latestVersionUnstable: raw.latestVersionUnstable ?? false,
    listeners: raw.listeners ?? [],
    root,
    structs,
  };
}

/** Struct names are unique within a message; where two messages share a file, a name that both use gets its message's name in front. */
export function makeNamesUnique(messages: readonly MessageDefinition[]): void {
  const count = new Map<string, number>();
  for (const message of messages) {
    for (const { name } of message.structs) count.set(name, (count.get(name) ?? 0) + 1);
  }
  for (const message of messages) {
    for (const struct of message.structs) {
      if ((count.get(struct.name) ?? 0) > 1) struct.name = message.name + struct.name;
    }
  }
}
