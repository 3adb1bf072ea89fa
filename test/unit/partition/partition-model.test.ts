/**
 * M4, M5, R1, R2, R4, R5: one partition against a plain model that keeps every batch for ever: random appends, retries, gaps, transactions of both
 * versions, trims, clean reopenings and crashes that lose any part of what was not durable, at offsets beyond 2^40.
 *
 * The model knows one list of batches. Everything it expects (verdicts, offsets, the last stable offset, what read_committed sees) it works out anew from
 * that list, in the simplest way.
 */
import { expect, test } from "bun:test";
import { CONTROL_BIT, TRANSACTIONAL_BIT, viewOf } from "../../../src/partition/batch-layout.ts";
import type { CheckedBatch } from "../../../src/partition/batch-validation.ts";
import { decodeCheckpoint } from "../../../src/partition/checkpoint-format.ts";
import { readMarker } from "../../../src/partition/control-batch.ts";
import { forEachBatch, PartitionLog } from "../../../src/partition/partition-log.ts";
import type { RecordsSlice } from "../../../src/storage/types.ts";
import { type FakeBatch, FakeStorage, type FakeStream } from "../support/fake-storage.ts";
import { BASE_TIME, decompressForTest, makeBatch } from "../support/record-batches.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";
import { validateBatch } from "../support/validate-batch.ts";

const FIRST_OFFSET = 2 ** 40 + 3;
const PRODUCERS = [2 ** 33 + 1, 2 ** 33 + 2, 2 ** 33 + 3, 7];
const ID = { topicId: "t", partition: 0 };
const KEY = "t-0";
const RULES = {
  maxMessageBytes: 1 << 20,
  isLogAppendTime: false,
  timestampBeforeMaxMs: 2 ** 63,
  timestampAfterMaxMs: 2 ** 63,
  isCompacted: false,
  maxDecompressedRecordBytes: 2 ** 31 - 1,
};
const CONTEXT = {
  crc32c: tableCrc32c,
  decompress: decompressForTest,
  nowMs: BASE_TIME,
  topicName: "t",
  partition: 0,
  isZstdAllowed: true,
};

interface ModelBatch {
  readonly base: number;
  readonly last: number;
  readonly kind: "data" | "commit" | "abort";
  readonly producerId: number;
  readonly epoch: number;
  readonly sequence: number;
  readonly isTransactional: boolean;
}

interface ModelProducer {
  epoch: number;
  /** Of the present epoch, at most the last five. */
  batches: ModelBatch[];
  openSince: number | undefined;
}

/** What an owner knows of producers that has seen `batches`. */
function fold(batches: readonly ModelBatch[]): Map<number, ModelProducer> {
  const producers = new Map<number, ModelProducer>();
  for (const batch of batches) {
    if (batch.producerId < 0) continue;
    const known = producers.get(batch.producerId) ?? { epoch: batch.epoch, batches: [], openSince: undefined };
    producers.set(batch.producerId, known);
    if (known.epoch !== batch.epoch) known.batches = [];
    known.epoch = batch.epoch;
    if (batch.kind !== "data") known.openSince = undefined;
    else {
      known.batches = [...known.batches, batch].slice(-5);
      if (batch.isTransactional) known.openSince ??= batch.base;
    }
  }
  return producers;
}

/** Offsets of records whose transaction was aborted, by the whole history. */
function findAborted(batches: readonly ModelBatch[]): Set<number> {
  const aborted = new Set<number>();
  const open = new Map<number, number[]>();
  for (const batch of batches) {
    const offsets = open.get(batch.producerId) ?? [];
    if (batch.kind === "data" && batch.isTransactional) {
      for (let offset = batch.base; offset <= batch.last; offset++) offsets.push(offset);
      open.set(batch.producerId, offsets);
    } else if (batch.kind !== "data") {
      if (batch.kind === "abort") for (const offset of offsets) aborted.add(offset);
      open.delete(batch.producerId);
    }
  }
  return aborted;
}

class World {
  readonly storage = new FakeStorage();
  readonly random: SeededRandom;
  history: ModelBatch[] = [];
  /** Index in the history from which on the present owner knows of producers. */
  knownFrom = 0;
  logStart = FIRST_OFFSET;
  durableEnd = FIRST_OFFSET;
  term = 0;
  checkpoint: { readonly bytes: Uint8Array; readonly endOffset: number; readonly knownFrom: number } | undefined;
  log: PartitionLog;
  readonly seen = { appended: 0, duplicates: 0, refused: 0, aborted: 0, crashes: 0, forgotten: 0 };

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    this.log = this.open();
  }

  get end(): number {
    return (this.history.at(-1)?.last ?? FIRST_OFFSET - 1) + 1;
  }

  get stream(): FakeStream {
    return this.storage.stream("t", 0);
  }

  // --- life ---

  open(): PartitionLog {
    const { term, logStart, checkpoint } = this;
    const log = new PartitionLog({ ...ID, term, logStartOffset: logStart, crc32c: tableCrc32c });
    const stream = this.storage.openStream(ID, {
      term,
      committedEndOffset: FIRST_OFFSET,
      logStartOffset: logStart,
      checkpointSource: log,
    }) as FakeStream;
    log.attachStream(stream);
    const replayStart = Math.max(checkpoint?.endOffset ?? 0, logStart);
    if (checkpoint !== undefined) log.restoreCheckpoint(decodeCheckpoint(checkpoint.bytes, tableCrc32c), replayStart);
    const slice = stream.tryRead(replayStart, { endOffset: this.end, maxBytes: Number.MAX_SAFE_INTEGER, atLeastOneBatch: true });
    const bytes = slice === undefined ? new Uint8Array(0) : copyNow(slice);
    forEachBatch(bytes, viewOf(bytes), (batch) => log.replayBatch(batch, bytes, 0));
    log.startServing();
    this.durableEnd = this.end;
    if (checkpoint !== undefined && checkpoint.endOffset >= logStart) this.knownFrom = checkpoint.knownFrom;
    else this.knownFrom = this.indexFrom(logStart);
    if (this.knownFrom > 0) this.seen.forgotten += 1;
    return log;
  }

  /** Index of the batch that contains `offset`, else of the next. */
  indexFrom(offset: number): number {
    const index = this.history.findIndex((batch) => batch.last >= offset);
    return index < 0 ? this.history.length : index;
  }

  release(): void {
    this.storage.release();
    this.log.onReleased();
    this.durableEnd = this.end;
  }

  /** The device has come up to some batch. */
  releaseSome(): void {
    const pending = this.history.filter((batch) => batch.base >= this.durableEnd);
    if (pending.length === 0) return;
    this.durableEnd = this.random.pick(pending).last + 1;
    this.stream.durableEndOffset = this.durableEnd;
    this.log.onReleased();
  }

  saveCheckpoint(): void {
    this.release();
    const bytes = this.log.takeCheckpoint(true);
    if (bytes !== undefined) this.checkpoint = { bytes, endOffset: this.end, knownFrom: this.knownFrom };
  }

  /** The process ends; of what was not durable any first part may have reached the device. */
  crash(): void {
    const firstLost = this.indexFrom(this.durableEnd);
    const kept = firstLost + this.random.nextInt(this.history.length - firstLost + 1);
    const batches: FakeBatch[] = this.stream.batches.slice(0, kept);
    this.history = this.history.slice(0, kept);
    this.storage.stored.set(KEY, batches);
    this.storage.streams.delete(KEY);
    this.log.close();
    this.term += 1 + this.random.nextInt(2);
    this.log = this.open();
    this.seen.crashes += 1;
  }

  trim(): void {
    this.logStart += this.random.nextInt(this.durableEnd - this.logStart + 1);
    this.log.advanceLogStart(this.logStart);
  }

  // --- appends ---

  verdict(batch: Omit<ModelBatch, "base" | "last" | "kind">, last: number, isVerified: boolean): string {
    const known = fold(this.history.slice(this.knownFrom)).get(batch.producerId);
    if (batch.producerId < 0) return "appended";
    if (known === undefined) return batch.isTransactional && !isVerified ? "invalid-transaction-state" : "appended";
    const sameEpoch = known.epoch === batch.epoch;
    const duplicate = known.batches.find(
      (one) => sameEpoch && one.sequence === batch.sequence && one.sequence + one.last - one.base === last,
    );
    if (duplicate !== undefined) return `duplicate of ${duplicate.base}`;
    if (batch.epoch < known.epoch) return "stale-epoch";
    const isOpen = known.openSince !== undefined && sameEpoch;
    if (batch.isTransactional && !isOpen && !isVerified) return "invalid-transaction-state";
    const newest = sameEpoch ? known.batches.at(-1) : undefined;
    const expected = newest === undefined ? 0 : newest.sequence + newest.last - newest.base + 1;
    if (batch.sequence !== expected) return "out-of-order";
    if (known.openSince !== undefined && !batch.isTransactional) return "invalid-transaction-state";
    return "appended";
  }

  append(batch: Omit<ModelBatch, "base" | "last" | "kind">, count: number, verify: boolean): void {
    const { producerId, epoch: producerEpoch, sequence: baseSequence } = batch;
    const checked = check(batch, count);
    const lastSequence = baseSequence + count - 1;
    // A question that is not followed by an append would hold back higher sequences: that is for the tests of the verification.
    const asks = verify && this.verdict(batch, lastSequence, true) === "appended";
    const expected = this.verdict(batch, lastSequence, asks);
    const start = asks ? this.log.startVerification({ producerId, producerEpoch, baseSequence, supportsEpochBump: false }, 0) : 0;
    const guard = typeof start === "number" ? start : 0;
    const outcome = this.log.append(checked, { bytes: 1 << 20, release: () => undefined }, 0, guard);
    const told = outcome.kind === "duplicate" ? `duplicate of ${outcome.baseOffset}` : outcome.kind;
    expect(told).toBe(expected);
    if (outcome.kind === "duplicate") this.seen.duplicates += 1;
    else if (outcome.kind !== "appended") this.seen.refused += 1;
    else {
      expect(outcome.baseOffset).toBe(this.end);
      this.history.push({ ...batch, kind: "data", base: this.end, last: this.end + count - 1 });
      this.seen.appended += 1;
    }
  }

  appendSomething(): void {
    const { random } = this;
    const producerId = random.chance(15) ? -1 : random.pick(PRODUCERS);
    const count = 1 + random.nextInt(4);
    if (producerId < 0) {
      this.append({ producerId, epoch: -1, sequence: -1, isTransactional: false }, count, false);
      return;
    }
    const client = fold(this.history).get(producerId) ?? { epoch: 0, batches: [], openSince: undefined };
    const newest = client.batches.at(-1);
    const next = newest === undefined ? 0 : newest.sequence + newest.last - newest.base + 1;
    const isOpen = client.openSince !== undefined;
    const isTransactional = isOpen ? !random.chance(5) : random.chance(60);
    const again = random.chance(20) && client.batches.length > 0 ? random.pick(client.batches) : undefined;
    if (again !== undefined) {
      this.append({ ...again }, again.last - again.base + 1, again.isTransactional && !isOpen);
      return;
    }
    const epoch = random.chance(5) ? client.epoch - 1 : client.epoch;
    const sequence = random.chance(5) ? next + 1 + random.nextInt(5) : next;
    if (epoch < 0) return;
    this.append({ producerId, epoch, sequence, isTransactional }, count, isTransactional && !isOpen && !random.chance(10));
  }

  endTransaction(): void {
    const { random } = this;
    const producerId = random.pick(PRODUCERS);
    const known = fold(this.history.slice(this.knownFrom)).get(producerId);
    const transactionVersion = random.pick([1, 2] as const);
    const epoch = (known?.epoch ?? 0) + (transactionVersion === 2 ? 1 : 0) - (random.chance(5) ? 2 : 0);
    if (epoch < 0) return;
    const isCommit = random.chance(50);
    const marker = { producerId, producerEpoch: epoch, isCommit, coordinatorEpoch: this.term, transactionVersion };
    const outcome = this.log.appendMarker(marker, { bytes: 96, release: () => undefined }, BASE_TIME);
    if (known !== undefined && epoch < known.epoch) {
      expect(outcome.kind).toBe("stale-epoch");
      return;
    }
    expect(outcome).toEqual({ kind: "appended", offset: this.end });
    const kind = isCommit ? "commit" : "abort";
    this.history.push({ producerId, epoch, sequence: -1, isTransactional: true, kind, base: this.end, last: this.end });
    if (!isCommit) this.seen.aborted += 1;
  }

  // --- what readers see ---

  get lastStableOffset(): number {
    const known = this.history.slice(this.knownFrom);
    let first = this.durableEnd;
    // Undecided: open after all that is durable, whatever was appended since.
    for (const { openSince } of fold(known.filter((batch) => batch.last < this.durableEnd)).values()) {
      if (openSince !== undefined && openSince < first) first = openSince;
    }
    return Math.max(first, this.logStart);
  }

  check(): void {
    const { log } = this;
    expect([log.logEndOffset, log.highWatermark, log.logStartOffset]).toEqual([this.end, this.durableEnd, this.logStart]);
    const stable = this.lastStableOffset;
    expect(log.lastStableOffset).toBe(stable);
    const from = this.logStart + this.random.nextInt(stable - this.logStart + 1);
    const maxBytes = this.random.pick([1, 300, 1 << 20]);
    const slice = log.tryRead(from, maxBytes, true, stable) as RecordsSlice;
    const end = slice.nextOffset;
    expect(readCommitted(log, from, slice)).toEqual(this.visible(from, end));
  }

  visible(from: number, end: number): number[] {
    const aborted = findAborted(this.history);
    const offsets: number[] = [];
    for (const batch of this.history) {
      if (batch.kind !== "data") continue;
      for (let offset = Math.max(batch.base, from); offset <= batch.last && offset < end; offset++)
        if (!aborted.has(offset)) offsets.push(offset);
    }
    return offsets;
  }
}

function copyNow(slice: RecordsSlice): Uint8Array {
  const bytes = new Uint8Array(slice.sizeBytes);
  slice.tryCopy(0, bytes.length, bytes, 0);
  slice.release();
  return bytes;
}

/** What a client makes of a read_committed answer (Fetcher of the Java client): offsets of the records that it gives out. */
function readCommitted(log: PartitionLog, from: number, slice: RecordsSlice): number[] {
  const aborted = [...log.listAborted(from, slice.nextOffset)].sort((a, b) => a.firstOffset - b.firstOffset);
  const ignored = new Set<number>();
  const offsets: number[] = [];
  const bytes = copyNow(slice);
  forEachBatch(bytes, viewOf(bytes), (batch) => {
    while (aborted[0] !== undefined && aborted[0].firstOffset <= batch.lastOffset)
      ignored.add((aborted.shift() as { producerId: number }).producerId);
    if ((batch.attributes & CONTROL_BIT) !== 0) {
      if (readMarker(bytes, viewOf(bytes), batch)?.isCommit === false) ignored.delete(batch.producerId);
      return;
    }
    if ((batch.attributes & TRANSACTIONAL_BIT) !== 0 && ignored.has(batch.producerId)) return;
    for (let offset = Math.max(batch.baseOffset, from); offset <= batch.lastOffset; offset++) offsets.push(offset);
  });
  return offsets;
}

function check(batch: Omit<ModelBatch, "base" | "last" | "kind">, count: number): CheckedBatch {
  const records = Array.from({ length: count }, () => ({ value: "v" }));
  const bytes = makeBatch({
    records,
    producerId: BigInt(batch.producerId),
    producerEpoch: batch.epoch,
    baseSequence: batch.sequence,
    attributes: batch.isTransactional ? TRANSACTIONAL_BIT : 0,
  });
  const checked = validateBatch(bytes, RULES, CONTEXT);
  if (checked.kind !== "checked") throw new Error(checked.message);
  return checked;
}

for (let seed = 1; seed <= 40; seed++) {
  test(`M4, M5, R1, R2, R4, R5: a partition agrees with the model over appends, transactions, trims and crashes, seed ${seed}`, () => {
    const world = new World(seed);
    for (let step = 0; step < 250; step++) {
      const dice = world.random.nextInt(100);
      if (dice < 55) world.appendSomething();
      else if (dice < 70) world.endTransaction();
      else if (dice < 75) world.release();
      else if (dice < 87) world.releaseSome();
      else if (dice < 91) world.saveCheckpoint();
      else if (dice < 94) world.trim();
      else if (dice < 97) world.crash();
      else world.check();
      if (step % 5 === 0) world.check();
    }
    expect(world.seen.appended).toBeGreaterThan(40);
    expect(world.seen.aborted).toBeGreaterThan(3);
    expect(world.seen.crashes).toBeGreaterThan(0);
  });
}
