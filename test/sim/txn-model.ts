/**
 * What transactional clients did and were shown, checked as it happens and once more at the end. A record is known by its attempt (one try to consume, produce and
 * commit) and its place in it. What became of an attempt is told by its producer, or, where the answer to its EndTxn was lost, by reading: all of it or nothing.
 *
 * Anomalies, with Jepsen's names for Kafka-like logs where there is one:
 *
 *   aborted-read          a read_committed reader is given a record of what was aborted, or of what nobody has asked to commit (G1a)
 *   lost-write            a committed attempt lacks a record, or read_committed leaves one out
 *   torn-transaction      of one attempt some records count and others do not
 *   duplicate             one record at two offsets
 *   inconsistent-offsets  two values for one offset, or an offset with none
 *   aborted-offset        a group is told an offset that no transaction has committed
 *   nonmonotonic-offset   a group's committed offset goes back
 *   consumed-twice        two committed attempts have read the same input
 *   skipped-input         an attempt was committed and some of what lies in its range was read by nobody
 *   unstable-read         the last stable offset passes a transaction that is open
 *   nonmonotonic-lso      the last stable offset goes back
 *   zombie-write          a producer that was fenced has something accepted that it sent after its successor was told so
 *   hanging-transaction   open although everything has healed and its time is up
 */
import type { History } from "./history.ts";
import type { SimBatch } from "./sim-batch.ts";

/** Records of an attempt are fewer. */
const RECORDS_MAX = 1024;

type Outcome = "open" | "committed" | "aborted" | "unknown";

export interface SentRecord {
  readonly log: TxnLog;
  readonly index: number;
}

export interface Input {
  /** What was committed before. */
  readonly from: number;
  /** What is to be committed. */
  readonly to: number;
  /** The records between, as they were read. */
  readonly keys: readonly number[];
}

export class Attempt {
  readonly number: number;
  readonly slot: TxnSlot;
  readonly records: SentRecord[] = [];
  input: Input | undefined;
  outcome: Outcome = "open";
  /** A request to commit is on its way, or was. */
  isCommitSent = false;
  isEndSent = false;
  /** A read_committed reader was given something of it. */
  isSeenCommitted = false;
  /** Offsets that were acknowledged before its end was asked for: the last stable offset stays at or below them until then. */
  readonly acknowledged = new Map<TxnLog, number>();
  private readonly model: TxnModel;

  constructor(number: number, slot: TxnSlot, model: TxnModel) {
    this.number = number;
    this.slot = slot;
    this.model = model;
  }

  acknowledge(log: TxnLog, firstIndex: number, count: number, baseOffset: number): void {
    if (baseOffset < 0) return;
    const known = this.acknowledged.get(log);
    if (known === undefined || baseOffset < known) this.acknowledged.set(log, baseOffset);
    for (let index = 0; index < count; index++) log.see(baseOffset + index, keyOf(this.number, firstIndex + index), "was acknowledged at");
  }

  /** Its end is asked for, the first time. Answers logs whose last stable offset has passed it: somebody else must have ended it. */
  sendEnd(isCommit: boolean): readonly string[] {
    if (isCommit) this.isCommitSent = true;
    if (this.isEndSent) return [];
    this.isEndSent = true;
    return [...this.acknowledged].filter(([log, offset]) => log.stableEnd > offset).map(([log, offset]) => `${log.name} (${offset})`);
  }

  settle(outcome: "committed" | "aborted" | "unknown"): void {
    this.outcome = outcome;
    this.model.count(`transaction ${outcome}`);
    if (outcome === "aborted" && this.isSeenCommitted)
      this.model.find("aborted-read", `attempt ${this.number} was aborted, and a read_committed reader had seen it`);
    if (outcome === "committed" && this.input !== undefined) this.slot.committedTo = Math.max(this.slot.committedTo, this.input.to);
  }
}

/** One transactional id and the partition whose records it consumes. */
export class TxnSlot {
  readonly transactionalId: string;
  readonly input: TxnLog;
  readonly attempts: Attempt[] = [];
  /** Highest offset of which the producer knows that it is committed. */
  committedTo = 0;
  /** The highest number of an instance that has asked for a producer id, and of one that was told it. */
  newestAsked = 0;
  newestAnswered = 0;
  /** An InitProducerId whose answer was lost may fence whoever was answered until then. */
  lateInitUntilMs = 0;

  constructor(transactionalId: string, input: TxnLog) {
    this.transactionalId = transactionalId;
    this.input = input;
  }
}

export function keyOf(attempt: number, index: number): number {
  return attempt * RECORDS_MAX + index;
}

function describeKey(key: number): string {
  return key < 0 ? "a marker" : `record ${Math.floor(key / RECORDS_MAX)}:${key % RECORDS_MAX}`;
}

/** A partition as its readers know it. Markers are negative keys. */
export class TxnLog {
  readonly topic: string;
  readonly partition: number;
  readonly name: string;
  /** The highest last stable offset that anybody was told. */
  stableEnd = 0;
  private readonly model: TxnModel;
  private readonly keys: (number | undefined)[] = [];
  private readonly offsets = new Map<number, number>();

  constructor(topic: string, partition: number, model: TxnModel) {
    this.topic = topic;
    this.partition = partition;
    this.name = `${topic}-${partition}`;
    this.model = model;
  }

  see(offset: number, key: number, how: string): void {
    const before = this.keys[offset];
    if (before === key) return;
    if (before !== undefined) {
      this.find("inconsistent-offsets", `${describeKey(key)} ${how} ${offset}, where ${describeKey(before)} was seen before`);
      return;
    }
    this.keys[offset] = key;
    if (key < 0) return;
    const other = this.offsets.get(key);
    if (other !== undefined) this.find("duplicate", `${describeKey(key)} ${how} ${offset} and was seen at ${other} before`);
    this.offsets.set(key, offset);
  }

  /** A reader at `position` was given these batches. Answers its next position; `take` gets the records, in order. */
  poll(
    reader: string,
    position: number,
    batches: readonly SimBatch[],
    take: (batch: SimBatch, key: number, offset: number) => void,
  ): number {
    let next = position;
    for (const batch of batches) {
      if (batch.lastOffset < position) continue;
      if (batch.baseOffset > next)
        this.find("inconsistent-offsets", `${reader} was given offset ${batch.baseOffset} where ${next} was due`);
      if (batch.marker !== undefined)
        this.see(batch.baseOffset, -(batch.producerId * 2 + (batch.marker === "commit" ? 1 : 0)) - 1, `was read by ${reader} at`);
      for (const { offset, producer, counter } of batch.records) {
        if (offset < next) continue;
        const key = keyOf(producer, counter);
        this.see(offset, key, `was read by ${reader} at`);
        take(batch, key, offset);
      }
      next = batch.lastOffset + 1;
    }
    return next;
  }

  find(anomaly: string, detail: string): void {
    this.model.find(anomaly, `${this.name}: ${detail}`);
  }
}

/** A log from its beginning to its end, as read at the end of a run. */
export interface WholeLog {
  /** Every batch, as a read_uncommitted reader gets them. */
  readonly batches: readonly SimBatch[];
  /** Offset and key of what a read_committed reader gets. */
  readonly committed: ReadonlyMap<number, number>;
}

export class TxnModel {
  readonly attempts = new Map<number, Attempt>();
  readonly slots: TxnSlot[] = [];
  readonly logs: TxnLog[] = [];
  private readonly history: History;

  constructor(history: History) {
    this.history = history;
  }

  get nowMs(): number {
    return this.history.nowMs;
  }

  log(topic: string, partition: number): TxnLog {
    const known = this.logs.find((log) => log.topic === topic && log.partition === partition);
    if (known !== undefined) return known;
    const log = new TxnLog(topic, partition, this);
    this.logs.push(log);
    return log;
  }

  begin(slot: TxnSlot): Attempt {
    const attempt = new Attempt(this.attempts.size + 1, slot, this);
    this.attempts.set(attempt.number, attempt);
    slot.attempts.push(attempt);
    return attempt;
  }

  /** A read_committed reader was given a record. */
  seeCommitted(log: TxnLog, reader: string, key: number, offset: number): void {
    const attempt = this.attempts.get(Math.floor(key / RECORDS_MAX));
    if (attempt === undefined) {
      log.find("corrupt-value", `${reader} was given ${describeKey(key)}, which nobody wrote, at ${offset}`);
      return;
    }
    if (attempt.isSeenCommitted && attempt.outcome !== "aborted") return;
    attempt.isSeenCommitted = true;
    if (attempt.outcome === "aborted") log.find("aborted-read", `${reader} was given ${describeKey(key)}, which was aborted, at ${offset}`);
    else if (!attempt.isCommitSent)
      log.find("aborted-read", `${reader} was given ${describeKey(key)} at ${offset}, and nobody has asked to commit it`);
  }

  /** The group was told what is committed for a slot's input; `due` was known to be committed when it was asked. */
  seeOffset(slot: TxnSlot, reader: string, offset: number, due: number | undefined): void {
    const told = `${slot.input.name}: ${reader} is told offset ${offset}`;
    if (due !== undefined && Math.max(0, offset) < due) this.find("nonmonotonic-offset", `${told}, and ${due} was committed before`);
    if (offset <= 0) return;
    const holders = slot.attempts.filter(({ input }) => input?.to === offset);
    if (!holders.some(({ isCommitSent, outcome }) => isCommitSent && outcome !== "aborted"))
      this.find(
        "aborted-offset",
        `${told}, which no transaction has committed (${holders.map(({ number, outcome }) => `${number} ${outcome}`)})`,
      );
  }

  /** Everything has ended; `wholes` are the logs, `offsets` what the group has committed. */
  checkEnd(wholes: ReadonlyMap<TxnLog, WholeLog>, offsets: ReadonlyMap<TxnSlot, number>): void {
    const counting = new Set<number>();
    for (const [log, whole] of wholes) checkIsolation(log, whole, counting);
    for (const attempt of this.attempts.values()) this.checkAttempt(attempt, counting);
    for (const slot of this.slots) this.checkInputs(slot, wholes.get(slot.input), offsets.get(slot) ?? -1);
  }

  /** All or nothing. What became of an attempt whose end was not answered is what the logs say. */
  private checkAttempt(attempt: Attempt, counting: ReadonlySet<number>): void {
    const { number, records, outcome } = attempt;
    const there = records.filter(({ index }) => counting.has(keyOf(number, index)));
    const lacks = (): string => {
      const missing = records.filter((record) => !there.includes(record)).map(({ log, index }) => `${index} (${log.name})`);
      return `of ${records.length} records of attempt ${number} (${outcome}) these do not count: ${missing.join(", ")}`;
    };
    if (outcome === "committed" && there.length < records.length) this.find("lost-write", lacks());
    if (outcome === "aborted" && there.length > 0)
      this.find("aborted-read", `attempt ${number} was aborted, and ${there.length} records count`);
    if (outcome !== "unknown" && outcome !== "open") return;
    if (there.length > 0 && there.length < records.length) this.find("torn-transaction", lacks());
    if (there.length > 0 && !attempt.isCommitSent) this.find("aborted-read", `attempt ${number} counts, and nobody has asked to commit it`);
    attempt.outcome = there.length > 0 ? "committed" : "aborted";
  }

  /** Each input record was read by exactly one committed attempt, and the group's offset is where the last one ended. */
  private checkInputs(slot: TxnSlot, whole: WholeLog | undefined, offset: number): void {
    const committed = slot.attempts.filter(({ outcome, input }) => outcome === "committed" && input !== undefined);
    committed.sort((a, b) => (a.input?.from ?? 0) - (b.input?.from ?? 0));
    const place = `${slot.transactionalId} of ${slot.input.name}`;
    let at = 0;
    for (const { number, input } of committed) {
      if (input === undefined) continue;
      const range = `attempt ${number} of ${place} has read [${input.from}, ${input.to}), and the one before ends at ${at}`;
      if (input.from < at) this.find("consumed-twice", range);
      if (input.from > at) this.find("skipped-input", range);
      at = input.to;
      const due: number[] = [];
      for (let position = input.from; position < input.to; position++) {
        const key = whole?.committed.get(position);
        if (key !== undefined) due.push(key);
      }
      const same = due.length === input.keys.length && due.every((key, index) => key === input.keys[index]);
      const what = `attempt ${number} of ${place} has read ${input.keys.length} records of [${input.from}, ${input.to}), and ${due.length} are there`;
      if (!same) this.find(due.length > input.keys.length ? "skipped-input" : "aborted-read", what);
    }
    if (Math.max(0, offset) !== at)
      this.find("torn-transaction", `the committed offset of ${place} is ${offset}, and the last committed attempt has read to ${at}`);
  }

  find(anomaly: string, detail: string): void {
    this.history.find(anomaly, detail);
  }

  /** For the run's list of operations. */
  count(what: string): void {
    this.history.done(what);
  }
}

/** read_committed = read_uncommitted without what was aborted and without markers. Adds the keys of what counts to `counting`. */
function checkIsolation(log: TxnLog, { batches, committed }: WholeLog, counting: Set<number>): void {
  const open = new Map<number, [offset: number, key: number][]>();
  const due = new Map<number, number>();
  for (const { producerId, marker, records } of batches) {
    const pending = open.get(producerId) ?? [];
    for (const { offset, producer, counter } of records) pending.push([offset, keyOf(producer, counter)]);
    open.set(producerId, pending);
    if (marker === undefined) continue;
    open.delete(producerId);
    if (marker === "commit") for (const [offset, key] of pending) due.set(offset, key);
  }
  for (const [producerId, pending] of open)
    if (pending.length > 0) log.find("hanging-transaction", `${pending.length} records of producer id ${producerId} have no marker`);
  for (const [offset, key] of due) {
    counting.add(key);
    if (committed.get(offset) !== key) log.find("lost-write", `read_committed leaves out ${describeKey(key)} at ${offset}`);
  }
  for (const [offset, key] of committed)
    if (!due.has(offset)) log.find("aborted-read", `read_committed has ${describeKey(key)} at ${offset}, whose marker says abort`);
}
