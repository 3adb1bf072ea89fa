/**
 * One transactional id as the coordinator knows it: producer id, epoch, and the state of its transaction (KIP-98, KIP-360, KIP-890). No IO, no clock.
 *
 *     Empty ----add partitions----> Ongoing ----end---> PrepareCommit --markers written--> CompleteCommit
 *       ^                             ^   \---end, time up, fenced--> PrepareAbort --> CompleteAbort
 *       |                             |                                    ^                 |
 *       |                             +------------ add partitions --------|-----------------+ (also from CompleteCommit)
 *       +--- init producer id --------(from Empty and both Complete states)|
 *                     Empty, CompleteX --abort of nothing (version 2)------+
 *     Empty, CompleteX --not used for long--> Dead (gone)
 *
 * A change has two steps: `prepare...` says what the id will be and blocks other changes; `complete` makes it so, once the log has it. What is not
 * named in a preparation stays as it was, and `previousProducerId` becomes the producer id of before, as in Kafka's TransactionMetadata of 4.4.
 *
 * Invariants: at most one change is pending; an epoch of a producer id never falls; 32,767 is given to no client, so that one can always be fenced.
 */
import { assert } from "../base/assert.ts";
import type { TopicPartition } from "../coordinator/topic-partition.ts";
import type { TransactionVersion } from "./transaction-types.ts";

export const NO_PRODUCER_ID = -1;
export const NO_EPOCH = -1;
export const MAX_EPOCH = 32_767;
/** The timeout of a transaction that another coordinator ends (KIP-939): none. */
export const NO_TIMEOUT_MS = 0x7fff_ffff;

/** By id, as in __transaction_state. */
export const TRANSACTION_STATES = [
  "Empty",
  "Ongoing",
  "PrepareCommit",
  "PrepareAbort",
  "CompleteCommit",
  "CompleteAbort",
  "Dead",
  "PrepareEpochFence",
] as const;
export type TransactionState = (typeof TRANSACTION_STATES)[number];

const PREVIOUS: Readonly<Record<TransactionState, readonly TransactionState[]>> = {
  Empty: ["Empty", "CompleteCommit", "CompleteAbort"],
  Ongoing: ["Ongoing", "Empty", "CompleteCommit", "CompleteAbort"],
  PrepareCommit: ["Ongoing"],
  PrepareAbort: ["Ongoing", "Empty", "CompleteCommit", "CompleteAbort"],
  CompleteCommit: ["PrepareCommit"],
  CompleteAbort: ["PrepareAbort"],
  Dead: ["Empty", "CompleteCommit", "CompleteAbort"],
  // Only on the way to PrepareAbort, never on the log and never seen here.
  PrepareEpochFence: [],
};

export interface TransactionFields {
  readonly state: TransactionState;
  readonly producerId: number;
  readonly previousProducerId: number;
  /** The id after this one, chosen when the epochs ran out in the middle of an end; -1 otherwise. */
  readonly nextProducerId: number;
  readonly producerEpoch: number;
  /** Epoch of the last change, to know a repeated request by; -1 after a load: it is not stored. */
  readonly lastProducerEpoch: number;
  readonly timeoutMs: number;
  /** By `partitionKey`. While markers are written: those that still lack one. */
  readonly partitions: ReadonlyMap<string, TopicPartition>;
  /** Wall clock, ms; -1: no transaction since the id was initialised. */
  readonly startTimestampMs: number;
  readonly lastUpdateTimestampMs: number;
  /** What the client that made the last change speaks. */
  readonly clientVersion: TransactionVersion;
}

const NO_PARTITIONS: ReadonlyMap<string, TopicPartition> = new Map();

export function partitionKey({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`;
}

export function isEpochExhausted(epoch: number): boolean {
  return epoch >= MAX_EPOCH - 1;
}

/** An id that was never seen before. */
export function newTransactionFields(producerId: number, timeoutMs: number, nowMs: number): TransactionFields {
  return {
    state: "Empty",
    producerId,
    previousProducerId: NO_PRODUCER_ID,
    nextProducerId: NO_PRODUCER_ID,
    producerEpoch: NO_EPOCH,
    lastProducerEpoch: NO_EPOCH,
    timeoutMs,
    partitions: NO_PARTITIONS,
    startTimestampMs: -1,
    lastUpdateTimestampMs: nowMs,
    clientVersion: 0,
  };
}

export interface EndOptions {
  readonly isCommit: boolean;
  readonly clientVersion: TransactionVersion;
  /** Chosen when the epochs are used up; NO_PRODUCER_ID otherwise. */
  readonly nextProducerId: number;
  readonly nowMs: number;
  /** Version 2 aborts what has no partitions too, to get a new epoch. */
  readonly hasNoPartitions: boolean;
  /** The coordinator ends it, and the client that has it is to be fenced. Version 2 raises the epoch anyway. */
  readonly isFence: boolean;
}

export class TransactionEntry {
  readonly transactionalId: string;
  #fields: TransactionFields;
  #pending: TransactionState | undefined;

  constructor(transactionalId: string, fields: TransactionFields) {
    this.transactionalId = transactionalId;
    this.#fields = fields;
  }

  get fields(): TransactionFields {
    return this.#fields;
  }

  get isPending(): boolean {
    return this.#pending !== undefined;
  }

  get isEpochExhausted(): boolean {
    return isEpochExhausted(this.#fields.producerEpoch);
  }

  /** A producer takes the id over, or goes on: the next epoch. `repeats`: it did so before, and was not told. */
  prepareInit(timeoutMs: number, expectedEpoch: number | undefined, repeats: boolean, nowMs: number): TransactionFields {
    const { producerEpoch, lastProducerEpoch } = this.#fields;
    assert(!this.isEpochExhausted, "a producer id whose epochs are used up gets no further one");
    const epochs = repeats
      ? { producerEpoch, lastProducerEpoch }
      : { producerEpoch: producerEpoch + 1, lastProducerEpoch: expectedEpoch === undefined ? NO_EPOCH : producerEpoch };
    return this.#prepare({ ...epochs, state: "Empty", timeoutMs, ...this.#nothingBegun(nowMs) });
  }

  /** Another producer id, because the epochs of this one are used up. */
  prepareRotation(producerId: number, timeoutMs: number, remembersEpoch: boolean, nowMs: number): TransactionFields {
    const lastProducerEpoch = remembersEpoch ? this.#fields.producerEpoch : NO_EPOCH;
    return this.#prepare({ state: "Empty", producerId, producerEpoch: 0, lastProducerEpoch, timeoutMs, ...this.#nothingBegun(nowMs) });
  }

  #nothingBegun(nowMs: number) {
    return { partitions: NO_PARTITIONS, startTimestampMs: -1, lastUpdateTimestampMs: nowMs };
  }

  prepareAdd(added: readonly TopicPartition[], clientVersion: TransactionVersion, nowMs: number): TransactionFields {
    const { state, startTimestampMs } = this.#fields;
    const partitions = new Map(this.#fields.partitions);
    for (const partition of added) partitions.set(partitionKey(partition), partition);
    return this.#prepare({
      state: "Ongoing",
      partitions,
      startTimestampMs: state === "Ongoing" ? startTimestampMs : nowMs,
      lastUpdateTimestampMs: nowMs,
      clientVersion,
    });
  }

  prepareEnd(options: EndOptions): TransactionFields {
    const { isCommit, clientVersion, nextProducerId, nowMs, hasNoPartitions, isFence } = options;
    const { producerEpoch, lastProducerEpoch, startTimestampMs } = this.#fields;
    const raised = Math.min(producerEpoch + 1, MAX_EPOCH);
    let epochs = { producerEpoch, lastProducerEpoch };
    if (clientVersion === 2) epochs = { producerEpoch: raised, lastProducerEpoch: producerEpoch };
    else if (isFence) epochs = { producerEpoch: raised, lastProducerEpoch: NO_EPOCH };
    return this.#prepare({
      ...epochs,
      state: isCommit ? "PrepareCommit" : "PrepareAbort",
      nextProducerId,
      startTimestampMs: hasNoPartitions ? nowMs : startTimestampMs,
      lastUpdateTimestampMs: nowMs,
      clientVersion,
    });
  }

  /** What the id will be when every partition has its marker. */
  prepareComplete(nowMs: number): TransactionFields {
    const { state, clientVersion, nextProducerId, producerId, producerEpoch } = this.#fields;
    const isRenewed = clientVersion === 2 && nextProducerId !== NO_PRODUCER_ID;
    return this.#prepare({
      state: state === "PrepareCommit" ? "CompleteCommit" : "CompleteAbort",
      producerId: isRenewed ? nextProducerId : producerId,
      producerEpoch: isRenewed ? 0 : producerEpoch,
      nextProducerId: NO_PRODUCER_ID,
      partitions: NO_PARTITIONS,
      lastUpdateTimestampMs: nowMs,
    });
  }

  /** The id is forgotten; its tombstone is on the way. */
  prepareDead(): void {
    this.#prepare({ state: "Dead", partitions: NO_PARTITIONS });
  }

  #prepare(changes: Partial<TransactionFields> & { readonly state: TransactionState }): TransactionFields {
    const now = this.#fields;
    assert(this.#pending === undefined, "one change at a time");
    assert(PREVIOUS[changes.state].includes(now.state), `a transaction does not go from ${now.state} to ${changes.state}`);
    const next = { ...now, previousProducerId: now.producerId, ...changes };
    assert(next.producerId >= 0, "a producer id is not negative");
    if (next.producerId !== now.producerId) assert(next.producerEpoch === 0, "a new producer id begins at epoch 0");
    else assert(next.producerEpoch >= now.producerEpoch && next.producerEpoch <= now.producerEpoch + 1, "an epoch stays, or rises by one");
    this.#pending = changes.state;
    return next;
  }

  /** The log has what was prepared. */
  complete(next: TransactionFields): void {
    assert(this.#pending === next.state && next.state !== "Dead", "what completes is what was prepared");
    this.#fields = next;
    this.#pending = undefined;
  }

  /** What was prepared cannot be stored: as if nobody had asked. */
  giveUp(): void {
    assert(this.#pending !== undefined, "something was prepared");
    this.#pending = undefined;
  }

  /** These have their markers. */
  removePartitions(done: readonly TopicPartition[]): void {
    const { state } = this.#fields;
    assert(state === "PrepareCommit" || state === "PrepareAbort", "markers are written while a transaction ends");
    const partitions = new Map(this.#fields.partitions);
    for (const partition of done) partitions.delete(partitionKey(partition));
    this.#fields = { ...this.#fields, partitions };
  }
}
