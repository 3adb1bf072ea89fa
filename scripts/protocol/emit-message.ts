/**
 * Turns one message definition into straight-line TypeScript: an interface, `newX`, `readX` and `writeX` per struct. What a field needs
 * is worked out for each valid version; equal neighbours are merged, so that a condition appears only where versions differ.
 */
import {
  contains,
  type ElementType,
  type FieldDefinition,
  intersect,
  type MessageDefinition,
  type Primitive,
  type StructDefinition,
} from "./definitions.ts";

const TS_TYPE: Record<Primitive, string> = {
  bool: "boolean",
  int8: "number",
  int16: "number",
  uint16: "number",
  int32: "number",
  int64: "bigint",
  float64: "number",
  uuid: "string",
  string: "string",
  bytes: "Uint8Array",
  records: "Records",
};
const METHOD: Partial<Record<Primitive, string>> = {
  bool: "Bool",
  int8: "Int8",
  int16: "Int16",
  uint16: "Uint16",
  int32: "Int32",
  int64: "Int64",
  float64: "Float64",
  uuid: "Uuid",
};

interface Context {
  readonly message: MessageDefinition;
  readonly struct: StructDefinition;
}

export function emitMessage(message: MessageDefinition): string {
  const needDefaultCheck = new Set<StructDefinition>();
  const parts: string[] = [];
  for (const struct of [...message.structs].reverse()) {
    const context = { message, struct };
    parts.push(emitInterface(context), emitNew(context), emitRead(context), emitWrite(context, needDefaultCheck));
  }
  for (const struct of needDefaultCheck) parts.push(emitIsDefault({ message, struct }, needDefaultCheck));
  return parts.join("\n");
}

function isFlexibleStruct({ message, struct }: Context): boolean {
  return intersect(message.flexible, struct.range) !== undefined;
}

function isNullable({ struct }: Context, field: FieldDefinition): boolean {
  if (field.type.kind === "primitive" && field.type.primitive === "records") return true;
  return intersect(field.nullable, struct.range) !== undefined || field.defaultText === "null";
}

function elementType(type: ElementType): string {
  return type.kind === "struct" ? type.struct.name : TS_TYPE[type.primitive];
}

function tsType(context: Context, field: FieldDefinition): string {
  const base = field.type.kind === "array" ? `${elementType(field.type.element)}[]` : elementType(field.type);
  return isNullable(context, field) ? `${base} | null` : base;
}

function versionsText({ struct }: Context, field: FieldDefinition): string {
  const { from, to } = intersect(field.versions, struct.range)!;
  const text = to === struct.range.to ? `v${from}+` : from === to ? `v${from}` : `v${from}-${to}`;
  const whole = from === struct.range.from && to === struct.range.to;
  const notes = [whole ? "" : text, field.tagged === undefined ? "" : `tag ${field.tag}`].filter((note) => note !== "");
  return notes.length === 0 ? "" : ` (${notes.join(", ")})`;
}

function emitInterface(context: Context): string {
  const { struct } = context;
  const lines = struct.fields.map((field) => {
    const doc = `${field.about.replace(/\s+/g, " ").replaceAll("*/", "* /")}${versionsText(context, field)}`.trim();
    return `${doc === "" ? "" : `  /** ${doc} */\n`}  ${field.name}: ${tsType(context, field)};`;
  });
  if (isFlexibleStruct(context)) lines.push("  unknownTaggedFields?: UnknownTaggedField[];");
  const doc = struct.about === "" ? "" : `/** ${struct.about.replace(/\s+/g, " ")} */\n`;
  return `${doc}export interface ${struct.name} {\n${lines.join("\n")}\n}\n`;
}

/** The value a field has when nothing was said about it: Kafka's default. */
function defaultExpression(field: FieldDefinition): string {
  const text = field.defaultText;
  if (text === "null") return "null";
  if (field.type.kind === "array") return "[]";
  if (field.type.kind === "struct") return `new${field.type.struct.name}()`;
  switch (field.type.primitive) {
    case "bool":
      return text === "true" ? "true" : "false";
    case "int64":
      return `${BigInt(text ?? "0")}n`;
    case "uuid":
      return "ZERO_UUID";
    case "string":
      return JSON.stringify(text ?? "");
    case "bytes":
      return "NO_BYTES";
    case "records":
      return "null";
    default:
      return String(Number(text ?? "0"));
  }
}

/** A condition that holds when the field differs from its default. */
function differsExpression(context: Context, field: FieldDefinition, needDefaultCheck: Set<StructDefinition>): string {
  const value = `m.${field.name}`;
  const fallback = defaultExpression(field);
  if (fallback === "null") return `${value} !== null`;
  const orNull = isNullable(context, field) ? `${value} === null || ` : "";
  if (field.type.kind === "struct") {
    needDefaultCheck.add(field.type.struct);
    return `${orNull}!isDefault${field.type.struct.name}(${value})`;
  }
  if (field.type.kind === "array" || field.type.primitive === "bytes") return `${orNull}${value}.length !== 0`;
  if (field.type.primitive === "bool") return fallback === "true" ? `!${value}` : value;
  return `${value} !== ${fallback}`;
}

function emitNew(context: Context): string {
  const { struct } = context;
  const name = struct.name;
  const taken = struct.fields.map((field) => `    ${field.name} = ${defaultExpression(field)},\n`).join("");
  const given = struct.fields.map((field) => field.name).join(", ");
  const flexible = isFlexibleStruct(context);
  if (struct.fields.length === 0) {
    return `export function new${name}(fields: Partial<${name}> = {}): ${name} {\n  return { ...fields };\n}\n`;
  }
  const tail = flexible
    ? `  const m: ${name} = { ${given} };\n  if (fields.unknownTaggedFields !== undefined) m.unknownTaggedFields = fields.unknownTaggedFields;\n  return m;\n`
    : `  return { ${given} };\n`;
  return `export function new${name}(fields: Partial<${name}> = {}): ${name} {\n  const {\n${taken}  } = fields;\n${tail}}\n`;
}

function emitIsDefault(context: Context, needDefaultCheck: Set<StructDefinition>): string {
  const checks = context.struct.fields.map((field) => `(${differsExpression(context, field, needDefaultCheck)})`);
  if (isFlexibleStruct(context)) checks.push("(m.unknownTaggedFields !== undefined && m.unknownTaggedFields.length > 0)");
  return `function isDefault${context.struct.name}(m: ${context.struct.name}): boolean {\n  return !(${checks.join(" || ")});\n}\n`;
}

interface Run {
  readonly from: number;
  readonly text: string;
}

/** What `make` says for each version of the struct, equal neighbours merged. */
function runs({ struct }: Context, make: (version: number) => string): Run[] {
  const merged: Run[] = [];
  for (let version = struct.range.from; version <= struct.range.to; version++) {
    const text = make(version);
    if (merged[merged.length - 1]?.text !== text) merged.push({ from: version, text });
  }
  return merged;
}

function asTernary(merged: readonly Run[]): string {
  let text = "";
  for (const run of [...merged].reverse().slice(0, -1)) text += `v >= ${run.from} ? ${run.text} : `;
  return text + merged[0]!.text;
}

function asStatements(merged: readonly Run[], indent: string): string {
  if (merged.length === 1) return merged[0]!.text === "" ? "" : `${indent}${merged[0]!.text}\n`;
  let text = "";
  let chained = false;
  let skipped = false;
  for (let i = merged.length - 1; i >= 0; i--) {
    const run = merged[i]!;
    const above = merged[i + 1];
    if (run.text === "") {
      skipped = true;
      continue;
    }
    // The versions of a run left out must not fall into a lower one's `else`.
    const bounds = [i > 0 ? `v >= ${run.from}` : "", skipped && above !== undefined ? `v < ${above.from}` : ""];
    const condition = bounds.filter((bound) => bound !== "").join(" && ");
    const head = condition === "" ? "" : `if (${condition}) `;
    text += `${indent}${chained ? "else " : ""}${head}{ ${run.text} }\n`;
    chained = true;
  }
  return text;
}

function isFlexible({ message }: Context, field: FieldDefinition, version: number): boolean {
  return field.mayBeFlexible && contains(message.flexible, version);
}

/** Expression that reads the field's data as `version` has it on the wire. */
function readExpression(context: Context, field: FieldDefinition, version: number): string {
  const flexible = isFlexible(context, field, version);
  const nullable = contains(field.nullable, version);
  const compact = flexible ? "Compact" : "";
  const quoted = JSON.stringify(field.name);
  const type = field.type;
  if (type.kind === "array") {
    const length = `r.read${compact}${nullable ? "Nullable" : ""}ArrayLength(${quoted})`;
    const elements = (count: string): string => {
      if (type.element.kind === "struct") return `read${type.element.struct.name}Array(r, v, ${count})`;
      if (type.element.primitive === "string") return `r.read${compact}StringArray(${count}, ${quoted})`;
      return `r.read${METHOD[type.element.primitive]}Array(${count})`;
    };
    return nullable ? `(n = ${length}) < 0 ? null : ${elements("n")}` : elements(length);
  }
  if (type.kind === "struct") {
    if (!nullable) return `read${type.struct.name}(r, v)`;
    // Kafka marks a nullable struct with an int8 of -1 or 1, but as a tagged field with a varint of 0 or 1.
    const isNull = field.tagged === undefined ? "r.readInt8() < 0" : "r.readUvarint() === 0";
    return `${isNull} ? null : read${type.struct.name}(r, v)`;
  }
  if (type.primitive === "string") return `r.read${compact}${nullable ? "Nullable" : ""}String(${quoted})`;
  if (type.primitive === "bytes" || type.primitive === "records") {
    return nullable ? `r.read${compact}NullableBytes()` : `r.read${compact}Bytes(${quoted})`;
  }
  return `r.read${METHOD[type.primitive]}()`;
}

function emitRead(context: Context): string {
  const { struct } = context;
  const name = struct.name;
  const fields = struct.fields.map((field) => {
    const merged = runs(context, (version) =>
      contains(field.versions, version) && !contains(field.tagged, version)
        ? readExpression(context, field, version)
        : defaultExpression(field),
    );
    return `    ${field.name}: ${asTernary(merged.map((run) => ({ ...run, text: run.text.includes("?") ? `(${run.text})` : run.text })))},\n`;
  });
  let tags = "";
  if (isFlexibleStruct(context)) {
    const body = emitReadTags(context);
    const merged = runs(context, (version) => (contains(context.message.flexible, version) ? body : ""));
    tags = asStatements(merged, "  ");
  }
  let body = tags === "" ? `  return {\n${fields.join("")}  };\n` : `  const m: ${name} = {\n${fields.join("")}  };\n${tags}  return m;\n`;
  if (/\bn = /.test(body)) body = `  let n: number;\n${body}`;
  const version = /\bv\b/.test(body) ? "v" : "_v";
  const reader = /\br\./.test(body) || /\(r,/.test(body) ? "r" : "_r";
  const single = `export function read${name}(${reader}: Reader, ${version}: number): ${name} {\n${body}}\n`;
  if (!isArrayElement(context)) return single;
  return `${single}
function read${name}Array(r: Reader, v: number, length: number): ${name}[] {
  const elements: ${name}[] = [];
  for (let i = 0; i < length; i++) elements.push(read${name}(r, v));
  return elements;
}
`;
}

function isArrayElement({ message, struct }: Context): boolean {
  return message.structs.some((holder) =>
    holder.fields.some(({ type }) => type.kind === "array" && type.element.kind === "struct" && type.element.struct === struct),
  );
}

function taggedFields({ struct }: Context): FieldDefinition[] {
  return struct.fields.filter((field) => field.tagged !== undefined).sort((a, b) => a.tag - b.tag);
}

/** "" when the field is tagged in every version of the struct that is flexible. */
function tagCondition(context: Context, field: FieldDefinition): string {
  const flexibleFrom = intersect(context.message.flexible, context.struct.range)!.from;
  if (field.tagged!.to < context.struct.range.to) throw new Error(`${field.name}: a tag that ends is not covered`);
  return field.tagged!.from <= flexibleFrom ? "" : `v >= ${field.tagged!.from}`;
}

function emitReadTags(context: Context): string {
  const known = taggedFields(context);
  if (known.length === 0) return "const tags = r.readUnknownTags(); if (tags !== undefined) m.unknownTaggedFields = tags;";
  const branches = known.map((field) => {
    const condition = [`tag === ${field.tag}`, tagCondition(context, field)].filter((part) => part !== "").join(" && ");
    const read = readExpression(context, field, context.struct.range.to);
    return `if (${condition}) { m.${field.name} = ${read}; r.expectTagEnd(tag, end); }`;
  });
  return [
    "for (let count = r.readTagCount(); count > 0; count--) {",
    "      const tag = r.readUvarint();",
    "      const end = r.readTagEnd();",
    `      ${branches.join("\n      else ")}`,
    "      else (m.unknownTaggedFields ??= []).push(r.readUnknownTag(tag, end));",
    "    }",
  ].join("\n");
}

/** Statements that write the field's data as `version` has it on the wire. */
function writeStatement(context: Context, field: FieldDefinition, version: number): string {
  const flexible = isFlexible(context, field, version);
  const nullable = contains(field.nullable, version);
  const compact = flexible ? "Compact" : "";
  const type = field.type;
  const label = JSON.stringify(`${context.struct.name}.${field.name}`);
  const raw = `m.${field.name}`;
  const value = !nullable && isNullable(context, field) ? `requireNonNull(${raw}, ${label})` : raw;
  if (type.kind === "array") {
    const elements = (array: string): string =>
      `w.write${compact}ArrayLength(${array}.length); for (const e of ${array}) ${writeElement(type.element, compact, label)};`;
    if (nullable) return `if (${raw} === null) w.write${compact}ArrayLength(-1); else { ${elements(raw)} }`;
    return value === raw ? elements(raw) : `{ const a = ${value}; ${elements("a")} }`;
  }
  if (type.kind === "struct") {
    const write = `write${type.struct.name}(w, ${value}, v);`;
    if (!nullable) return write;
    const [none, some] =
      field.tagged === undefined ? ["w.writeInt8(-1);", "w.writeInt8(1);"] : ["w.writeUvarint(0);", "w.writeUvarint(1);"];
    return `if (${raw} === null) ${none} else { ${some} ${write} }`;
  }
  if (type.primitive === "string") return `w.write${compact}${nullable ? "Nullable" : ""}String(${value}, ${label});`;
  if (type.primitive === "bytes") return `w.write${compact}${nullable ? "Nullable" : ""}Bytes(${value});`;
  if (type.primitive === "records") return `w.write${compact}Records(${value});`;
  return `w.write${METHOD[type.primitive]}(${value});`;
}

function writeElement(type: ElementType, compact: string, label: string): string {
  if (type.kind === "struct") return `write${type.struct.name}(w, e, v)`;
  return type.primitive === "string" ? `w.write${compact}String(e, ${label})` : `w.write${METHOD[type.primitive]}(e)`;
}

function emitWrite(context: Context, needDefaultCheck: Set<StructDefinition>): string {
  const { message, struct } = context;
  let body = "";
  for (const field of struct.fields) {
    const label = JSON.stringify(`${struct.name}.${field.name}`);
    const merged = runs(context, (version) => {
      if (contains(field.tagged, version)) return "";
      if (contains(field.versions, version)) return writeStatement(context, field, version);
      return field.ignorable ? "" : `if (${differsExpression(context, field, needDefaultCheck)}) throw unsupportedField(${label}, v);`;
    });
    body += asStatements(merged, "  ");
  }
  if (isFlexibleStruct(context)) {
    const tags = emitWriteTags(context, needDefaultCheck);
    const refuse = `if (m.unknownTaggedFields !== undefined && m.unknownTaggedFields.length > 0) throw unsupportedField("${struct.name}.unknownTaggedFields", v);`;
    body += asStatements(
      runs(context, (version) => (contains(message.flexible, version) ? tags : refuse)),
      "  ",
    );
  }
  const version = /\bv\b/.test(body) ? "v" : "_v";
  const writer = /\bw\./.test(body) || /\(w,/.test(body) ? "w" : "_w";
  const value = /\bm\./.test(body) ? "m" : "_m";
  return `export function write${struct.name}(${writer}: Writer, ${value}: ${struct.name}, ${version}: number): void {\n${body}}\n`;
}

function emitWriteTags(context: Context, needDefaultCheck: Set<StructDefinition>): string {
  const known = taggedFields(context);
  if (known.length === 0) return "w.writeTagSection(m.unknownTaggedFields);";
  const lines = ["const raw = m.unknownTaggedFields ?? NO_TAGS;"];
  const counts = known.map((field) => {
    const differs = differsExpression(context, field, needDefaultCheck);
    const condition = tagCondition(context, field);
    lines.push(`const has${field.tag} = ${condition === "" ? differs : `${condition} && (${differs})`};`);
    return `(has${field.tag} ? 1 : 0)`;
  });
  lines.push(`w.writeUvarint(raw.length + ${counts.join(" + ")});`, "let at = 0;");
  for (const field of known) {
    const write = writeStatement(context, field, context.struct.range.to);
    lines.push(
      `if (has${field.tag}) { at = w.writeUnknownTags(raw, at, ${field.tag}); const start = w.beginTag(${field.tag}); ${write} w.endTag(start); }`,
    );
  }
  lines.push("w.writeUnknownTags(raw, at, NO_TAG);");
  return lines.join("\n    ");
}
