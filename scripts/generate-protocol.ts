#!/usr/bin/env bun
/**
 * Generates src/protocol/messages/, error-codes.ts and api-ranges.ts from the jars of Apache Kafka, and the schemas that the codec tests
 * make random messages from. The results are committed; run it again only for another Kafka version.
 *
 *     bun scripts/generate-protocol.ts [--jars DIR] [--check]
 *
 * --check writes nothing and fails when a committed file is not what the generator makes.
 * Without --jars the jars are fetched from Maven Central by `mvn`. The tables of error codes and advertised versions come from Kafka's
 * own enums, through a small Java program; without a JDK those two files stay as they are.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type MessageDefinition, parseJsonWithComments, parseMessage, type RawMessage } from "./protocol/definitions.ts";
import {
  type ApiPair,
  apiName,
  emitApiFile,
  emitDataFile,
  emitIndex,
  emitRecordFile,
  emitRecordIndex,
  generatedHeader,
  kebab,
  type RecordPair,
  recordName,
} from "./protocol/emit-files.ts";
import { readJar } from "./protocol/jar.ts";
import { kafkaTables } from "./protocol/kafka-tables.ts";

const KAFKA_VERSION = "4.4.0";
/** Jars of coordinators, and the internal topic whose records each defines. */
const COORDINATORS = [
  { jar: "kafka-group-coordinator", topic: "__consumer_offsets" },
  { jar: "kafka-transaction-coordinator", topic: "__transaction_state" },
  { jar: "kafka-share-coordinator", topic: "__share_group_state" },
];
/** Kafka's classes need it to load. */
const SLF4J = "org.slf4j:slf4j-api:1.7.36";
const JARS = ["kafka-clients", ...COORDINATORS.map(({ jar }) => jar)];
const ROOT = join(import.meta.dir, "..");
const PROTOCOL = "src/protocol";
const MESSAGES = `${PROTOCOL}/messages`;
const SCHEMAS = "test/unit/protocol/fixtures/message-schemas.json";

function jarPath(folder: string, name: string): string {
  return join(folder, `${name}-${KAFKA_VERSION}.jar`);
}

function fetchJars(): string {
  const folder = mkdtempSync(join(tmpdir(), "kafka-jars-"));
  for (const artifact of [...JARS.map((name) => `org.apache.kafka:${name}:${KAFKA_VERSION}`), SLF4J]) {
    const options = [`-Dartifact=${artifact}`, "-Dtransitive=false"];
    run(["mvn", "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:get", ...options]);
    run(["mvn", "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy", ...options, `-DoutputDirectory=${folder}`]);
  }
  return folder;
}

function run(command: string[]): void {
  const { exitCode } = Bun.spawnSync(command, { stdout: "inherit", stderr: "inherit" });
  if (exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${exitCode}`);
}

interface Loaded {
  readonly raw: RawMessage;
  readonly message: MessageDefinition;
}

async function loadMessages(jar: string): Promise<Loaded[]> {
  const entries = await readJar(jar, (name) => name.startsWith("common/message/") && name.endsWith(".json"));
  const loaded: Loaded[] = [];
  for (const [, bytes] of [...entries].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const raw = parseJsonWithComments(new TextDecoder().decode(bytes));
    const message = parseMessage(raw);
    if (message !== undefined) loaded.push({ raw, message });
  }
  return loaded;
}

function pairUp(messages: readonly MessageDefinition[], left: string, right: string): [MessageDefinition, MessageDefinition][] {
  const pairs = messages
    .filter(({ kind }) => kind === left)
    .map((first): [MessageDefinition, MessageDefinition] => {
      const base = first.name.slice(0, -suffix(left).length);
      const second = messages.find(({ kind, name }) => kind === right && name === base + suffix(right));
      if (second === undefined || second.apiKey !== first.apiKey) throw new Error(`${first.name} has no partner`);
      return [first, second];
    });
  return pairs.sort(([a], [b]) => (a.apiKey ?? 0) - (b.apiKey ?? 0));
}

function suffix(kind: string): string {
  const word = kind.replace("coordinator-", "");
  return word.charAt(0).toUpperCase() + word.slice(1);
}

/** Definitions without what only people read, for the tests' random messages. */
function schemaOf(raw: RawMessage): unknown {
  return JSON.parse(JSON.stringify(raw, (key, value: unknown) => (key === "about" || key === "entityType" ? undefined : value)));
}

/** Content of every generated file, by its path from the top of the repository. */
async function generate(folder: string): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const header = generatedHeader(KAFKA_VERSION);
  const put = (path: string, text: string): void => void files.set(`${MESSAGES}/${path}`, text);
  const clients = await loadMessages(jarPath(folder, "kafka-clients"));
  const schemas: unknown[] = clients.map(({ raw }) => schemaOf(raw));
  const messages = clients.map(({ message }) => message);

  const apis: ApiPair[] = pairUp(messages, "request", "response").map(([request, response]) => ({ request, response }));
  for (const pair of apis) put(`${kebab(apiName(pair))}.ts`, emitApiFile(pair, header));
  put("index.ts", emitIndex(apis, header));
  put("headers.ts", emitDataFile(ofKind(messages, "header"), header, "../"));
  for (const message of ofKind(messages, "data")) put(`data/${kebab(message.name)}.ts`, emitDataFile([message], header, "../../"));

  const topics: { topic: string; pairs: RecordPair[] }[] = [];
  for (const { jar, topic } of COORDINATORS) {
    const loaded = await loadMessages(jarPath(folder, jar));
    schemas.push(...loaded.map(({ raw }) => schemaOf(raw)));
    const definitions = loaded.map(({ message }) => message);
    const pairs = pairUp(definitions, "coordinator-key", "coordinator-value").map(([key, value]) => ({ key, value }));
    for (const pair of pairs) put(`records/${kebab(recordName(pair))}.ts`, emitRecordFile(pair, header));
    topics.push({ topic, pairs });
  }
  put("records/index.ts", emitRecordIndex(topics, header));

  files.set(SCHEMAS, `[\n${schemas.map((schema) => JSON.stringify(schema)).join(",\n")}\n]\n`);
  for (const [name, text] of kafkaTables(folder, header)) files.set(`${PROTOCOL}/${name}`, text);
  return files;
}

function ofKind(messages: readonly MessageDefinition[], kind: MessageDefinition["kind"]): MessageDefinition[] {
  return messages.filter((message) => message.kind === kind);
}

/** Paths of committed files that are not what the generator makes, or that it no longer makes. */
async function staleFiles(files: ReadonlyMap<string, string>): Promise<string[]> {
  const stale: string[] = [];
  for (const [path, text] of files) {
    const file = Bun.file(join(ROOT, path));
    if (!(await file.exists()) || (await file.text()) !== text) stale.push(path);
  }
  if (existsSync(join(ROOT, MESSAGES))) {
    for (const entry of readdirSync(join(ROOT, MESSAGES), { recursive: true, encoding: "utf8" })) {
      const path = `${MESSAGES}/${entry}`;
      if (path.endsWith(".ts") && !files.has(path)) stale.push(path);
    }
  }
  return stale;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { jars: { type: "string" }, check: { type: "boolean", default: false } } });
  if (values.jars !== undefined && !existsSync(jarPath(values.jars, "kafka-clients"))) {
    throw new Error(`--jars must name a folder with kafka-clients-${KAFKA_VERSION}.jar`);
  }
  const folder = values.jars ?? fetchJars();
  let files: Map<string, string>;
  try {
    files = await generate(folder);
  } finally {
    if (values.jars === undefined) rmSync(folder, { recursive: true, force: true });
  }
  const stale = await staleFiles(files);
  if (values.check) {
    for (const path of stale) console.error(`${path} is not what the generator makes`);
    process.exitCode = stale.length === 0 ? 0 : 1;
    return;
  }
  for (const path of stale) {
    const text = files.get(path);
    if (text === undefined) rmSync(join(ROOT, path));
    else await Bun.write(join(ROOT, path), text);
  }
  console.log(`${files.size} files, ${stale.length} changed`);
}

await main();
