/**
 * Records made from real text: the documentation and licence files that come with the pinned dependencies, so the same lines on every
 * machine. A record is a run of consecutive words of it; lengths vary from a few bytes to some kilobytes as text does. The text is repeated with
 * shifting cuts until there are enough records, so that no two stretches are alike. Everything follows from the seed.
 *
 * A corpus is a folder with one file per partition, `<partition>.txt`, one record a line. Clients in any language read it without a parser, and the
 * SHA-256 of a file is the SHA-256 of what must come out of the partition: every value followed by a line feed.
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { repositoryRoot } from "./tools.ts";

export interface CorpusPartition {
  readonly file: string;
  readonly records: number;
  readonly sha256: string;
}

export interface Corpus {
  readonly folder: string;
  readonly records: number;
  readonly bytes: number;
  readonly partitions: readonly CorpusPartition[];
}

const textFile = /^(?:readme|license|licence|changelog|history|notice|contributing|third)[^/]*$|\.md$/i;
const corpusVersion = 1;

function* textFilesUnder(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && !entry.name.startsWith(".")) yield* textFilesUnder(path);
    else if (entry.isFile() && textFile.test(entry.name) && !/\.(?:js|ts|json|map)$/.test(entry.name)) yield path;
  }
}

/** Words of the text, without control characters: a record must be one line, and Java and C must read the same one. */
export function readWords(): string[] {
  const words: string[] = [];
  for (const file of textFilesUnder(join(repositoryRoot, "node_modules"))) {
    if (statSync(file).size > 4_000_000) continue;
    const text = readFileSync(file, "utf8").replace(/[\p{Cc}\p{Zl}\p{Zp}\ufeff\ufffd]/gu, " ");
    for (const word of text.split(" ")) if (word !== "") words.push(word);
  }
  if (words.length < 100_000) throw new Error(`only ${words.length} words of text in node_modules; run \`npm test\` once to install them`);
  return words;
}

/** mulberry32: a small seeded generator, the same in every run. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Records in order, endlessly. Mostly 5 to 40 words; one in a hundred is long. */
export function* generateRecords(words: readonly string[], seed: number): Generator<string> {
  const random = seededRandom(seed);
  let position = Math.floor(random() * words.length);
  for (;;) {
    const length = random() < 0.01 ? 200 + Math.floor(random() * 600) : 1 + Math.floor(random() * 40);
    if (position + length > words.length) position = Math.floor(random() * 1000);
    yield words.slice(position, position + length).join(" ");
    position += length;
  }
}

class PartitionWriter {
  readonly file: string;
  records = 0;
  bytes = 0;
  private readonly hash = createHash("sha256");
  private readonly descriptor: number;
  private pending: string[] = [];
  private pendingLength = 0;

  constructor(file: string) {
    this.file = file;
    this.descriptor = openSync(file, "w");
  }

  add(record: string): void {
    this.pending.push(record);
    this.pendingLength += record.length;
    this.records++;
    if (this.pendingLength > 1 << 20) this.flush();
  }

  private flush(): void {
    if (this.pending.length === 0) return;
    const bytes = Buffer.from(`${this.pending.join("\n")}\n`);
    this.hash.update(bytes);
    this.bytes += bytes.length;
    for (let written = 0; written < bytes.length; ) written += writeSync(this.descriptor, bytes, written);
    this.pending = [];
    this.pendingLength = 0;
  }

  finish(): string {
    this.flush();
    closeSync(this.descriptor);
    return this.hash.digest("hex");
  }
}

/** Builds (or finds, under build/corpus) the corpus of `records` records over `partitions` partitions, round robin. */
export function getCorpus(records: number, partitions: number, seed = 1): Corpus {
  const folder = join(repositoryRoot, "build", "corpus", `v${corpusVersion}-${records}-${partitions}-${seed}`);
  const manifest = join(folder, "corpus.json");
  if (existsSync(manifest)) {
    return getCorpusFrom(folder, JSON.parse(readFileSync(manifest, "utf8")) as Omit<Corpus, "folder">);
  }
  const building = `${folder}.${process.pid}`;
  rmSync(building, { recursive: true, force: true });
  mkdirSync(building, { recursive: true });
  const writers = Array.from({ length: partitions }, (_, index) => new PartitionWriter(join(building, `${index}.txt`)));
  let count = 0;
  for (const record of generateRecords(readWords(), seed)) {
    if (count === records) break;
    writers[count % partitions]?.add(record);
    count++;
  }
  const made: CorpusPartition[] = writers.map((writer) => ({ file: writer.file, records: writer.records, sha256: writer.finish() }));
  const corpus: Omit<Corpus, "folder"> = { records, bytes: writers.reduce((sum, writer) => sum + writer.bytes, 0), partitions: made };
  writeFileSync(join(building, "corpus.json"), JSON.stringify(corpus));
  rmSync(folder, { recursive: true, force: true });
  renameSync(building, folder);
  return getCorpusFrom(folder, corpus);
}

function getCorpusFrom(folder: string, corpus: Omit<Corpus, "folder">): Corpus {
  return { ...corpus, folder, partitions: corpus.partitions.map((entry, index) => ({ ...entry, file: join(folder, `${index}.txt`) })) };
}
