/**
 * One instance of a transactional producer that consumes, produces and commits its offsets, as Java's Producer and TransactionManager do, in either generation of the
 * protocol: 1 says which partitions it is going to write to (AddPartitionsToTxn, AddOffsetsToTxn), 2 does not (KIP-890), and gets a new epoch with each end.
 *
 * What Java's does not do: an instance of generation 1 ends after a transaction in which an answer was lost. Its next transactions have the same epoch, so that what
 * arrives late would count in them, as it does in Kafka.
 */
import { addOffsetsToTxnApi, newAddOffsetsToTxnRequest } from "../../src/protocol/messages/add-offsets-to-txn.ts";
import { endTxnApi, newEndTxnRequest } from "../../src/protocol/messages/end-txn.ts";
import { initProducerIdApi, newInitProducerIdRequest } from "../../src/protocol/messages/init-producer-id.ts";
import { txnOffsetCommitApi } from "../../src/protocol/messages/txn-offset-commit.ts";
import type { SimProcess } from "./process.ts";
import { encodeSimBatch } from "./sim-batch.ts";
import type { ClientPlace } from "./sim-clients.ts";
import { TxnChannel } from "./txn-channel.ts";
import type { Attempt, TxnLog, TxnModel, TxnSlot } from "./txn-model.ts";
import { sendBatches, type UnsentBatch } from "./txn-produce.ts";
import { pollTransactional } from "./txn-reader.ts";
import { addPartitions, findCoordinators, GROUP, offsetCommitRequest, type ProducerName, readOffset } from "./txn-requests.ts";

const OUT_OF_ORDER_SEQUENCE = 45;
const INVALID_PRODUCER_EPOCH = 47;
const INVALID_TXN_STATE = 48;
const PRODUCER_FENCED = 90;
const TRANSACTION_ABORTABLE = 120;
/** An id is fenced, or its transaction has ended. */
const FENCED: ReadonlySet<number> = new Set([INVALID_PRODUCER_EPOCH, PRODUCER_FENCED]);
/** Time-outs that skewed clocks cannot reach. */
export const LONG_TIMEOUT_MS = 900_000;
const LATE_MS = 30_000;
const COMMIT_PERCENT = 80;

/** The instance is of no use any more. */
export class Ended extends Error {}
/** The transaction must be aborted. */
export class Abortable extends Error {}

/** What happens to an instance between two of its steps. */
export interface Fate {
  /** Throws Ended when the instance is abandoned here. */
  between(attempt: Attempt): Promise<void>;
}

export class TxnProducer {
  readonly number: number;
  readonly timeoutMs: number;
  /** Its successor runs beside it. */
  isZombie = false;
  private readonly place: ClientPlace;
  private readonly process: SimProcess;
  private readonly model: TxnModel;
  private readonly slot: TxnSlot;
  private readonly generation: 1 | 2;
  private readonly fate: Fate;
  private readonly channel: TxnChannel;
  private readonly sequences = new Map<TxnLog, number>();
  private readonly added = new Set<TxnLog>();
  private producerId = -1;
  private producerEpoch = -1;
  private mayBeFencedLate = false;
  /** What is committed, and where the next poll begins. */
  private committed = 0;
  private position = 0;

  constructor(options: {
    readonly place: ClientPlace;
    readonly model: TxnModel;
    readonly slot: TxnSlot;
    readonly generation: 1 | 2;
    readonly timeoutMs: number;
    readonly fate: Fate;
  }) {
    this.place = options.place;
    this.process = options.place.process;
    this.model = options.model;
    this.slot = options.slot;
    this.generation = options.generation;
    this.timeoutMs = options.timeoutMs;
    this.fate = options.fate;
    this.channel = new TxnChannel(options.place);
    this.number = ++this.slot.newestAsked;
  }

  close(): void {
    this.channel.close();
  }

  /** Takes the transactional id over. */
  async begin(): Promise<void> {
    const { slot, channel } = this;
    await findCoordinators(channel, slot.transactionalId);
    const { losses } = channel;
    await this.initialise(-1, -1);
    if (channel.losses > losses) slot.lateInitUntilMs = this.process.scheduler.nowMs + LATE_MS;
    this.mayBeFencedLate = slot.lateInitUntilMs > this.process.scheduler.nowMs;
    slot.newestAnswered = Math.max(slot.newestAnswered, this.number);
    const due = slot.committedTo;
    const { offset, isCurrent } = await readOffset(channel, slot, true);
    this.model.seeOffset(slot, `instance ${this.number}`, offset, isCurrent ? due : undefined);
    if (!isCurrent) throw new Ended("it asked a coordinator that had been replaced");
    this.committed = Math.max(0, offset);
    this.position = this.committed;
  }

  private async initialise(producerId: number, producerEpoch: number): Promise<void> {
    const request = newInitProducerIdRequest({
      transactionalId: this.slot.transactionalId,
      transactionTimeoutMs: this.timeoutMs,
      producerId: BigInt(producerId),
      producerEpoch,
    });
    await this.pace();
    const wasNewest = this.isNewest;
    const { answer } = await this.channel.ask("init-producer-id", initProducerIdApi, 4, request, (one) => [one.errorCode]);
    this.settle("InitProducerId", answer.errorCode, wasNewest, "fatal");
    this.take(Number(answer.producerId), answer.producerEpoch);
  }

  /** One transaction, or a poll that finds nothing. */
  async transact(isLeft = false): Promise<void> {
    const { random } = this.process;
    const input = await this.poll();
    if (input === undefined && !isLeft && random.chance(50)) return;
    const attempt = this.model.begin(this.slot);
    attempt.input = input;
    this.added.clear();
    this.channel.sawStale = false;
    const { losses } = this.channel;
    try {
      await this.fill(attempt);
      if (isLeft) throw new Ended("it is left open");
      const isCommit = random.chance(COMMIT_PERCENT);
      await this.end(attempt, isCommit);
      this.settleAttempt(attempt, isCommit ? "committed" : "aborted");
    } catch (error) {
      if (error instanceof Abortable) {
        await this.abort(attempt);
      } else {
        this.settleAttempt(attempt, attempt.isCommitSent && attempt.outcome === "open" ? "unknown" : "aborted");
        throw error;
      }
    }
    if (this.generation === 1 && this.channel.losses > losses) throw new Ended("what it has asked for may still arrive");
  }

  private settleAttempt(attempt: Attempt, outcome: "committed" | "aborted" | "unknown"): void {
    if (attempt.outcome !== "open") return;
    attempt.settle(outcome);
    if (outcome === "committed" && attempt.input !== undefined) this.committed = attempt.input.to;
    if (outcome !== "committed" || attempt.input !== undefined) this.position = this.committed;
  }

  private async poll() {
    const { slot, position, model } = this;
    await this.pace();
    const maxWaitMs = this.place.pace.isBehind ? 0 : this.process.random.nextInt(60);
    const plan = { positions: new Map([[slot.input, position]]), isCommitted: true, maxBytes: 4_096, maxWaitMs };
    const { moved, taken } = await pollTransactional(this.channel, model, `instance ${this.number} of ${slot.transactionalId}`, plan);
    const to = moved.get(slot.input);
    if (to === undefined) return undefined;
    this.position = to;
    const keys = [...(taken.get(slot.input)?.values() ?? [])];
    return keys.length === 0 ? undefined : { from: this.committed, to, keys };
  }

  private async fill(attempt: Attempt): Promise<void> {
    const { slot } = this;
    await this.fate.between(attempt);
    const batches = this.makeBatches(attempt);
    if (this.generation === 1) {
      const logs = [...new Set(batches.map(({ log }) => log))];
      await this.pace();
      const wasNewest = this.isNewest;
      for (const code of await addPartitions(this.channel, this.name, logs)) this.settle("AddPartitionsToTxn", code, wasNewest, "fatal");
    }
    await this.fate.between(attempt);
    await this.produce(attempt, batches);
    await this.fate.between(attempt);
    if (attempt.input === undefined) return;
    if (this.generation === 1) await this.addOffsets();
    await this.pace();
    const wasNewest = this.isNewest;
    const request = offsetCommitRequest(this.name, slot, attempt.input.to);
    const codesOf = (answer: ReturnType<typeof txnOffsetCommitApi.readResponse>): number[] =>
      answer.topics.flatMap(({ partitions }) => partitions.map(({ errorCode }) => errorCode));
    const version = this.generation === 1 ? 4 : 5;
    const { answer } = await this.channel.ask("txn-offset-commit", txnOffsetCommitApi, version, request, codesOf);
    for (const code of codesOf(answer)) this.settle("TxnOffsetCommit", code, wasNewest, "fatal");
    await this.fate.between(attempt);
  }

  private async addOffsets(): Promise<void> {
    await this.pace();
    const wasNewest = this.isNewest;
    const { transactionalId, producerId, producerEpoch } = this.name;
    const request = newAddOffsetsToTxnRequest({ transactionalId, producerId: BigInt(producerId), producerEpoch, groupId: GROUP });
    const { answer } = await this.channel.ask("add-offsets", addOffsetsToTxnApi, 3, request, (one) => [one.errorCode]);
    this.settle("AddOffsetsToTxn", answer.errorCode, wasNewest, "fatal");
  }

  private makeBatches(attempt: Attempt): UnsentBatch[] {
    const { random, clock } = this.process;
    const batches: UnsentBatch[] = [];
    const count = 1 + random.nextInt(3);
    for (let made = 0; made < count; made++) {
      const log = random.pick(this.model.logs);
      const records = 1 + random.nextInt(3);
      const firstIndex = attempt.records.length;
      for (let index = 0; index < records; index++) attempt.records.push({ log, index: firstIndex + index });
      const baseSequence = this.sequences.get(log) ?? 0;
      this.sequences.set(log, baseSequence + records);
      const { producerId, producerEpoch } = this;
      const identity = { producerId, producerEpoch, baseSequence, timestampMs: clock.wallMs(), isTransactional: true };
      const fillers = Array.from({ length: records }, () => random.nextInt(random.chance(3) ? 8_000 : 200));
      batches.push({ log, firstIndex, count: records, bytes: encodeSimBatch(attempt.number, firstIndex, fillers, identity) });
    }
    return batches;
  }

  private async produce(attempt: Attempt, batches: readonly UnsentBatch[]): Promise<void> {
    await sendBatches({
      place: this.place,
      channel: this.channel,
      transactionalId: this.slot.transactionalId,
      version: this.generation === 1 ? 11 : 12,
      batches,
      pace: () => this.pace(),
      isNewest: () => this.isNewest,
      settle: (batch, code, baseOffset, wasNewest) => {
        this.settle(`Produce to ${batch.log.name}`, code, wasNewest, "abortable");
        attempt.acknowledge(batch.log, batch.firstIndex, batch.count, baseOffset);
      },
    });
  }

  private async end(attempt: Attempt, isCommit: boolean): Promise<void> {
    const { transactionalId, producerId, producerEpoch } = this.name;
    await this.pace();
    const wasNewest = this.isNewest;
    const passed = attempt.sendEnd(isCommit);
    const request = newEndTxnRequest({ transactionalId, producerId: BigInt(producerId), producerEpoch, committed: isCommit });
    const version = this.generation === 1 ? 3 : 5;
    const { answer, isRepeated } = await this.channel.ask("end-txn", endTxnApi, version, request, (one) => [one.errorCode]);
    const { errorCode } = answer;
    // Refused at once: nobody has committed it.
    if (errorCode !== 0 && isCommit && !isRepeated) attempt.settle("aborted");
    // A fenced abort may be taken for a repeated one, as in Kafka: its epoch is one below that of a successor of generation 1 that has aborted. Nothing is written.
    this.settle(
      `EndTxn of attempt ${attempt.number}`,
      errorCode,
      wasNewest || !isCommit,
      errorCode === TRANSACTION_ABORTABLE ? "abortable" : "fatal",
    );
    if (passed.length > 0 && (isCommit || !this.mayBeEnded))
      this.model.find(
        "unstable-read",
        `attempt ${attempt.number} was open, and the last stable offset had passed it in ${passed.join(", ")}`,
      );
    if (!wasNewest) throw new Ended("it has a successor");
    if (this.generation === 2) this.take(Number(answer.producerId), answer.producerEpoch);
  }

  /** As Java's does after an error that can be aborted: generation 1 asks for another epoch, in generation 2 the end gives one. */
  private async abort(attempt: Attempt): Promise<void> {
    // What is not known to be aborted may have been committed.
    this.settleAttempt(attempt, attempt.isCommitSent ? "unknown" : "aborted");
    const { producerId, producerEpoch } = this;
    try {
      await this.end(attempt, false);
    } catch (error) {
      if (error instanceof Abortable) throw new Ended("its abort is refused");
      throw error;
    }
    if (this.generation === 1) await this.initialise(producerId, producerEpoch);
    if (attempt.outcome === "unknown") throw new Ended("it does not know what is committed");
  }

  private take(producerId: number, producerEpoch: number): void {
    if (producerId === this.producerId && producerEpoch === this.producerEpoch) return;
    this.producerId = producerId;
    this.producerEpoch = producerEpoch;
    this.sequences.clear();
  }

  private get name(): ProducerName {
    const { producerId, producerEpoch } = this;
    return { transactionalId: this.slot.transactionalId, producerId, producerEpoch };
  }

  /** Nobody was told yet to have taken its transactional id over. */
  private get isNewest(): boolean {
    return this.slot.newestAnswered <= this.number;
  }

  private async pace(): Promise<void> {
    if (!this.isZombie) await this.place.pace.next();
  }

  /** Throws Ended or Abortable unless the code is 0. `wasNewest`: when it was sent. */
  private settle(what: string, code: number, wasNewest: boolean, otherwise: "fatal" | "abortable"): void {
    const { slot } = this;
    const who = `instance ${this.number} of ${slot.transactionalId} (generation ${this.generation}, id ${this.producerId}, epoch ${this.producerEpoch})`;
    if (code === 0) {
      if (!wasNewest)
        this.model.find("zombie-write", `${who}: ${what} was accepted, sent when instance ${slot.newestAnswered} had its producer id`);
      return;
    }
    this.model.count(`transaction refused ${code}`);
    this.checkExpected(`${who}: ${what} was answered with error ${code}`, code);
    if (code === PRODUCER_FENCED || (code !== TRANSACTION_ABORTABLE && otherwise === "fatal")) throw new Ended(`error ${code}`);
    throw new Abortable(`error ${code}`);
  }

  /** Somebody may have ended the transaction: its time may be up, its successor may be there, or an InitProducerId of before may have come late. */
  private get mayBeEnded(): boolean {
    return this.slot.newestAsked > this.number || this.timeoutMs < LONG_TIMEOUT_MS || this.mayBeFencedLate;
  }

  private checkExpected(detail: string, code: number): void {
    const mayBeUnknown = this.mayBeEnded || this.channel.sawStale;
    const isExcused =
      ((FENCED.has(code) || code === OUT_OF_ORDER_SEQUENCE) && this.mayBeEnded) ||
      ((code === INVALID_TXN_STATE || code === TRANSACTION_ABORTABLE) && mayBeUnknown);
    if (!isExcused) this.model.find("unexpected-error", `${detail}, and nobody else has ended its transaction`);
  }
}
