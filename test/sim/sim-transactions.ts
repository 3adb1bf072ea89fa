/**
 * The transactional clients of a run: for each transactional id a row of producers that consume, transform and produce, in either generation of the protocol, one after
 * the other and now and then two at once; and a reader in both isolation levels. Each id consumes one partition of the topic that all of them write to, so that what
 * one commits is what another reads.
 */
import { initProducerIdApi, newInitProducerIdRequest } from "../../src/protocol/messages/init-producer-id.ts";
import type { SeededRandom } from "../unit/support/seeded-random.ts";
import type { History } from "./history.ts";
import { type ClientPlace, createSimTopic } from "./sim-clients.ts";
import { TxnChannel } from "./txn-channel.ts";
import { type TxnLog, TxnModel, TxnSlot, type WholeLog } from "./txn-model.ts";
import { Ended, type Fate, LONG_TIMEOUT_MS, TxnProducer } from "./txn-producer.ts";
import { pollTransactional, readWholeLog, TxnReader } from "./txn-reader.ts";
import { findCoordinators, readOffset } from "./txn-requests.ts";

const LOOP = "loop";
const SINK = "sink";
const SINK_PARTITIONS = 2;
const SHORT_TIMEOUTS_MS = [1_500, 6_000];
const GENERATION_2_PERCENT = 70;
const SHORT_PERCENT = 35;
/** Of 10,000 steps of a producer, so many end it, give it a successor that runs beside it, or make it sleep. */
const PER_MYRIAD = { abandon: 50, fork: 50, sleep: 25 };
const LARGEST_PAUSE_MS = 4_000;
const KEEP_WRITING_MS = 3_000;
const LEFT_PERCENT = 50;
/** The longest short time-out, twice the largest skew (another broker's clock may judge), and what the coordinator takes to look and to write. */
const END_BOUND_MS = 6_000 + 2 * 120_000 + 30_000;

export interface TransactionsOptions {
  readonly workers: number;
  readonly random: SeededRandom;
  readonly history: History;
  lasting(name: string): ClientPlace;
  place(name: string): ClientPlace;
  begin(name: string, work: Promise<void>): void;
}

export class SimTransactions {
  private readonly options: TransactionsOptions;
  private readonly model: TxnModel;
  private readers: TxnReader[] = [];
  private isStopping = false;
  private isChecked = false;

  constructor(options: TransactionsOptions) {
    this.options = options;
    this.model = new TxnModel(options.history);
  }

  async prepare(driver: ClientPlace): Promise<void> {
    const { workers } = this.options;
    if (workers === 0) return;
    await createSimTopic(driver, LOOP, workers);
    await createSimTopic(driver, SINK, SINK_PARTITIONS);
    for (let index = 0; index < workers; index++) this.model.slots.push(new TxnSlot(`transform-${index}`, this.model.log(LOOP, index)));
    for (let index = 0; index < SINK_PARTITIONS; index++) this.model.log(SINK, index);
    const channel = new TxnChannel(driver);
    for (const { transactionalId } of this.model.slots) await findCoordinators(channel, transactionalId);
    channel.close();
  }

  start(): void {
    if (this.options.workers === 0) return;
    for (const slot of this.model.slots)
      this.options.begin(slot.transactionalId, this.runSlot(slot, this.options.lasting(slot.transactionalId)));
    const place = this.options.lasting("transactions-reader");
    const reader = new TxnReader(place, "the reader", this.model, new TxnChannel(place));
    this.readers = [reader];
    this.options.begin("transactions-reader", reader.run());
  }

  stop(): void {
    this.isStopping = true;
    for (const reader of this.readers) reader.stop();
  }

  /** One producer after the other; resolves when none runs and none has left something open that does not time out soon. */
  private async runSlot(slot: TxnSlot, place: ClientPlace): Promise<void> {
    const { random, clock } = place.process;
    const running = new Set<Promise<boolean>>();
    let isTidy = true;
    while (!this.isStopping) {
      const { promise: forked, resolve: fork } = Promise.withResolvers<boolean>();
      const producer = this.makeProducer(slot, place, () => fork(false));
      const run = this.runProducer(producer, random);
      running.add(run);
      void run.finally(() => running.delete(run));
      isTidy = await Promise.race([run, forked]);
      if (random.chance(30)) await clock.sleep(random.nextFloat() * 1000);
    }
    await Promise.all(running);
    while (!isTidy) {
      const last = this.makeProducer(slot, place, () => {});
      isTidy = await this.runProducer(last, random);
    }
  }

  private makeProducer(slot: TxnSlot, place: ClientPlace, fork: () => void): TxnProducer {
    const { random } = place.process;
    const timeoutMs = random.chance(SHORT_PERCENT) ? random.pick(SHORT_TIMEOUTS_MS) : LONG_TIMEOUT_MS;
    const generation = random.chance(GENERATION_2_PERCENT) ? 2 : 1;
    const fate: Fate = { between: () => this.meetFate(producer, place, fork) };
    const producer: TxnProducer = new TxnProducer({ place, model: this.model, slot, generation, timeoutMs, fate });
    return producer;
  }

  /** True: it has left nothing open, or something that times out soon. */
  private async runProducer(producer: TxnProducer, random: SeededRandom): Promise<boolean> {
    const isShort = producer.timeoutMs < LONG_TIMEOUT_MS;
    try {
      await producer.begin();
      while (!this.isStopping && !producer.isZombie) await producer.transact();
      if (isShort && !producer.isZombie && random.chance(LEFT_PERCENT)) await producer.transact(true);
      return true;
    } catch (error) {
      if (!(error instanceof Ended)) throw error;
      return isShort && this.isStopping;
    } finally {
      producer.close();
    }
  }

  private async meetFate(producer: TxnProducer, place: ClientPlace, fork: () => void): Promise<void> {
    const { random, clock } = place.process;
    if (producer.isZombie) {
      if (random.chance(50)) await clock.sleep(random.nextFloat() * LARGEST_PAUSE_MS);
      return;
    }
    let lot = random.nextInt(10_000);
    if (this.isStopping || lot >= PER_MYRIAD.abandon + PER_MYRIAD.fork + PER_MYRIAD.sleep) return;
    if (lot < PER_MYRIAD.abandon) throw new Ended("its process ends");
    lot -= PER_MYRIAD.abandon;
    if (lot < PER_MYRIAD.fork) {
      producer.isZombie = true;
      fork();
      await clock.sleep(random.nextFloat() * LARGEST_PAUSE_MS);
    } else await clock.sleep(random.nextFloat() * 2 * Math.min(producer.timeoutMs, LARGEST_PAUSE_MS));
  }

  /**
   * A broker whose volume somebody else has opened learns it by writing: one that was paused while it started may open it long after, and then nobody else
   * writes any more.
   */
  private async keepWriting(): Promise<void> {
    const place = this.options.place("keeper");
    const channel = new TxnChannel(place);
    const request = newInitProducerIdRequest({
      transactionalId: "keeper",
      transactionTimeoutMs: 60_000,
      producerId: -1n,
      producerEpoch: -1,
    });
    while (!this.isChecked) {
      await place.process.clock.sleep(KEEP_WRITING_MS);
      await channel.ask("init-producer-id", initProducerIdApi, 4, request, ({ errorCode }) => [errorCode]);
    }
    channel.close();
  }

  /** Waits until every transaction has ended: last stable offset and end are one. */
  async whenEnded(driver: ClientPlace): Promise<void> {
    if (this.options.workers === 0) return;
    void this.keepWriting();
    const channel = new TxnChannel(driver);
    const endMs = driver.history.nowMs + END_BOUND_MS;
    let open: TxnLog[] = [...this.model.logs];
    for (;;) {
      const positions = new Map(open.map((log) => [log, log.stableEnd]));
      const plan = { positions, isCommitted: false, maxBytes: 1_000, maxWaitMs: 0 };
      const { ends, isCurrent } = await pollTransactional(channel, this.model, "the driver", plan);
      if (isCurrent) open = open.filter((log) => ends.get(log)?.stable !== ends.get(log)?.end);
      else channel.close();
      if (open.length === 0) break;
      if (driver.history.nowMs > endMs) {
        const detail = `open ${END_BOUND_MS} ms after the faults have healed: ${open.map((log) => log.name).join(", ")}`;
        this.model.find("hanging-transaction", detail);
        break;
      }
      await driver.process.clock.sleep(1_000);
    }
    channel.close();
  }

  /** Reads everything and compares. Nobody works any more. */
  async checkEnd(driver: ClientPlace): Promise<void> {
    if (this.options.workers === 0) return;
    const channel = new TxnChannel(driver);
    const wholes = new Map<TxnLog, WholeLog>();
    for (const log of this.model.logs) wholes.set(log, await readWholeLog(channel, this.model, log));
    const offsets = new Map<TxnSlot, number>();
    for (const slot of this.model.slots) {
      for (;;) {
        const { offset, isCurrent } = await readOffset(channel, slot, true);
        if (!isCurrent) {
          await channel.turnAway();
          continue;
        }
        offsets.set(slot, offset);
        this.model.seeOffset(slot, "the driver", offset, slot.committedTo);
        break;
      }
    }
    channel.close();
    this.isChecked = true;
    this.model.checkEnd(wholes, offsets);
  }
}
