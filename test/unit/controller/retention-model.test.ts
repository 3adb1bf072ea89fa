/**
 * Log starts and the objects below them against a plain model: a broker commits objects, lets logs begin later, releases what expired, deletes topics and
 * collects garbage, and dies before or after every write to the bucket in turn. Whoever comes next finds every record at or above the log starts, no start
 * that fell, and in the end exactly the objects that the model keeps: what should be freed is, and nothing else.
 */
import { expect, test } from "bun:test";
import type { BrokerMetadata } from "../../../src/controller/broker-metadata.ts";
import { MemoryStore } from "../../../src/objectstore/memory-store.ts";
import type { ObjectStore } from "../../../src/objectstore/object-store.ts";
import { ScopedStore } from "../../../src/objectstore/scoped-store.ts";
import type { CommitRange } from "../../../src/storage/ports.ts";
import { type MakeObjectKey, makeObjectKeys } from "../../../src/storage/upload/object-keys.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { commitRange, createTopic, DEADLINE_MS, objectCommit, startBroker } from "./cluster-harness.ts";

const PARTITIONS = [0, 1, 2];
const GRACE_MS = 50;
const DATA = "data/";

interface Range {
  readonly key: string;
  readonly end: number;
}

interface PartitionModel {
  start: number;
  end: number;
  ranges: Range[];
  checkpoint: Range | undefined;
}

interface TopicModel {
  readonly topicId: string;
  readonly name: string;
  readonly partitions: PartitionModel[];
}

/** What dies with a process: from the write at which it crashes on, no call comes back. */
class Life {
  readonly died: Promise<"died">;
  writes = 0;
  #isDead = false;
  readonly #die: (verdict: "died") => void;
  readonly #crashAt: number;
  readonly #isAfter: boolean;

  constructor(crashAt: number, isAfter: boolean) {
    const { promise, resolve } = Promise.withResolvers<"died">();
    this.died = promise;
    this.#die = resolve;
    this.#crashAt = crashAt;
    this.#isAfter = isAfter;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  async write<T>(call: () => Promise<T>): Promise<T> {
    if (this.#isDead) return never();
    const crashesNow = ++this.writes === this.#crashAt;
    if (crashesNow && !this.#isAfter) return this.#end();
    const result = await call();
    return crashesNow || this.#isDead ? this.#end() : result;
  }

  async read<T>(call: () => Promise<T>): Promise<T> {
    const result = await call();
    return this.#isDead ? never() : result;
  }

  #end(): Promise<never> {
    this.#isDead = true;
    this.#die("died");
    return never();
  }
}

const never = (): Promise<never> => new Promise(() => {});

/** The bucket as one life sees it. */
function through(life: Life, store: ObjectStore): ObjectStore {
  return {
    description: store.description,
    clockSkewMs: undefined,
    createOnce: (key, bytes) => life.write(() => store.createOnce(key, bytes)),
    put: (key, bytes) => life.write(() => store.put(key, bytes)),
    delete: (keys) => life.write(() => store.delete(keys)),
    get: (key, range) => life.read(() => store.get(key, range)),
    getTail: (key, length) => life.read(() => store.getTail(key, length)),
    head: (key) => life.read(() => store.head(key)),
    list: (prefix, after) => life.read(() => store.list(prefix, after)),
    close: () => Promise.resolve(),
  };
}

class Run {
  readonly #store = new MemoryStore(new ManualClock());
  readonly #random: SeededRandom;
  #topics: TopicModel[] = [];
  #life: Life;
  #clock = new ManualClock();
  #broker!: BrokerMetadata;
  #nextKey!: MakeObjectKey;
  #lives = 0;
  #lsn = 0;
  #topicCount = 0;

  constructor(seed: number, crashAt: number, isAfter: boolean) {
    this.#random = new SeededRandom(seed);
    this.#life = new Life(crashAt, isAfter);
  }

  /** How many writes a life without a crash makes. */
  get writes(): number {
    return this.#life.writes;
  }

  async play(steps: number): Promise<void> {
    await this.#begin();
    for (let step = 0; step < steps; step++) await this.#step();
    await this.#settle();
    await this.#expectExactObjects();
  }

  #below(limit: number): number {
    return Math.floor(this.#random.nextFloat() * limit);
  }

  /** "died": the life ended within it. */
  async #live<T>(work: Promise<T>): Promise<T | "died"> {
    let outcome: { readonly value: T } | undefined;
    const settled = work.then((value) => {
      outcome = { value };
    });
    while (outcome === undefined && !this.#life.isDead) {
      await this.#clock.endTurn();
      if (outcome === undefined && !this.#life.isDead) await this.#clock.advance(5);
    }
    if (outcome === undefined) return "died";
    await settled;
    return (outcome as { readonly value: T }).value;
  }

  /** A start may die as well; the next one does not. */
  async #begin(): Promise<void> {
    if (await this.#start()) return;
    this.#life = new Life(0, false);
    expect(await this.#start()).toBe(true);
  }

  /** False: the life ended in its start. */
  async #start(): Promise<boolean> {
    this.#lives += 1;
    this.#clock = new ManualClock();
    const store = through(this.#life, this.#store);
    const options = { store, clock: this.#clock, seed: this.#lives, garbageGraceMs: GRACE_MS, snapshotEverySlots: 4 };
    const broker = await this.#live(startBroker(options));
    if (broker === "died") return false;
    this.#broker = broker;
    this.#nextKey = makeObjectKeys(broker.brokerEpoch, "wal-1", this.#random);
    return true;
  }

  /** Does `work`; when the life ends in it, the next life says whether it was done. */
  async #attempt(work: () => Promise<unknown>, wasDone: () => boolean, apply: () => void): Promise<void> {
    if ((await this.#live(work())) === "died") {
      this.#life = new Life(0, false);
      await this.#begin();
      if (wasDone()) apply();
      await this.#expectNothingLost();
      return;
    }
    apply();
  }

  async #step(): Promise<void> {
    const choice = this.#below(10);
    if (this.#topics.length === 0 || choice === 0) return this.#createTopic();
    if (choice <= 4) return this.#commit();
    if (choice <= 7) return this.#advance();
    if (choice === 8 && this.#topics.length > 1) return this.#deleteTopic();
    await this.#wait(GRACE_MS);
  }

  async #createTopic(): Promise<void> {
    const name = `t${this.#topicCount++}`;
    const create = () => createTopic(this.#broker, name, PARTITIONS.length);
    const wasDone = () => this.#broker.image.getTopic(name) !== undefined;
    await this.#attempt(create, wasDone, () => {
      const topicId = this.#broker.image.getTopic(name)?.topicId ?? "";
      const partitions = PARTITIONS.map(() => ({ start: 0, end: 0, ranges: [], checkpoint: undefined }));
      this.#topics.push({ topicId, name, partitions });
    });
  }

  async #deleteTopic(): Promise<void> {
    const topic = this.#pickTopic();
    const remove = () => this.#broker.deleteTopics([topic.topicId], DEADLINE_MS);
    const wasDone = () => this.#broker.image.getTopic(topic.name) === undefined;
    await this.#attempt(remove, wasDone, () => {
      this.#topics = this.#topics.filter((other) => other !== topic);
    });
  }

  /** One object with the next records of a few partitions. A life that ends before the commit leaves an orphan. */
  async #commit(): Promise<void> {
    const key = this.#nextKey();
    const lsn = ++this.#lsn;
    const parts = this.#topics.flatMap((topic) =>
      PARTITIONS.filter(() => this.#below(2) === 0).map((partition) => ({
        topic,
        partition,
        count: 1 + this.#below(9),
        hasCheckpoint: this.#below(3) === 0,
      })),
    );
    if (parts.length === 0) return;
    const ranges: CommitRange[] = parts.map(({ topic, partition, count, hasCheckpoint }) => {
      const { end } = this.#partition(topic, partition);
      return commitRange(topic.topicId, partition, end, end + count, { hasCheckpoint });
    });
    const commit = async () => {
      await this.#clusterStore(through(this.#life, this.#store)).createOnce(key, new Uint8Array(8));
      await this.#broker.commitObject(objectCommit(key, lsn, ranges));
    };
    const wasDone = () => this.#broker.image.parts.objects.get(key) !== undefined;
    await this.#attempt(commit, wasDone, () => {
      for (const { topic, partition, count, hasCheckpoint } of parts) {
        const model = this.#partition(topic, partition);
        model.end += count;
        const range = { key, end: model.end };
        model.ranges.push(range);
        if (hasCheckpoint) model.checkpoint = range;
        drop(model);
      }
    });
  }

  async #advance(): Promise<void> {
    const topic = this.#pickTopic();
    const partition = this.#below(PARTITIONS.length);
    const model = this.#partition(topic, partition);
    if (model.start === model.end) return;
    const offset = model.start + 1 + this.#below(model.end - model.start);
    const releaseBelow = this.#below(3) === 0 ? this.#below(offset + 1) : 0;
    const advance = () =>
      this.#broker.advanceLogStarts([{ topicId: topic.topicId, partition, term: 0, offset, releaseBelow }], DEADLINE_MS);
    const wasDone = () => this.#broker.image.getPartition(topic.topicId, partition)?.logStartOffset === offset;
    await this.#attempt(advance, wasDone, () => {
      model.start = offset;
      drop(model, Math.min(releaseBelow, offset));
    });
  }

  /** Time for the garbage collector; it may be what dies. */
  async #wait(forMs: number): Promise<void> {
    await this.#attempt(
      () => this.#clock.advance(forMs),
      () => true,
      () => {},
    );
  }

  async #settle(): Promise<void> {
    for (let round = 0; round < 12; round++) await this.#wait(GRACE_MS);
  }

  /** The cluster's part of the bucket. */
  #clusterStore(store: ObjectStore = this.#store): ObjectStore {
    return new ScopedStore(store, this.#broker.image.clusterId);
  }

  #pickTopic(): TopicModel {
    return this.#topics[this.#below(this.#topics.length)]!;
  }

  #partition(topic: TopicModel, partition: number): PartitionModel {
    return topic.partitions[partition]!;
  }

  /** Every start is the model's, and every record from there on lies in an object that exists. */
  async #expectNothingLost(): Promise<void> {
    for (const { topicId, partitions } of this.#topics) {
      for (const [partition, model] of partitions.entries()) {
        const view = this.#broker.image.getPartition(topicId, partition);
        expect([view?.logStartOffset, view?.committedEndOffset]).toEqual([model.start, model.end]);
        const id = { topicId, partition };
        for (let offset = model.start; offset < model.end; ) {
          const range = this.#broker.committedRanges.findRange(id, offset);
          expect(range?.baseOffset).toBeLessThanOrEqual(offset);
          expect(await this.#clusterStore().head(range?.objectKey ?? "")).toBeDefined();
          offset = range?.endOffset ?? model.end;
        }
        const checkpoint = this.#broker.committedRanges.getCheckpoint(id);
        expect(checkpoint?.endOffset).toBe(model.checkpoint?.end);
        if (checkpoint !== undefined) expect(await this.#clusterStore().head(checkpoint.objectKey)).toBeDefined();
      }
    }
  }

  async #expectExactObjects(): Promise<void> {
    await this.#expectNothingLost();
    const kept = new Set<string>();
    for (const { partitions } of this.#topics) {
      for (const { ranges, checkpoint } of partitions) {
        for (const { key } of ranges) kept.add(key);
        if (checkpoint !== undefined) kept.add(checkpoint.key);
      }
    }
    const { objects } = await this.#clusterStore().list(DATA);
    expect(objects.map(({ key }) => key)).toEqual([...kept].sort());
  }
}

/** What lies below the start goes once a checkpoint covers it, or now that it is released. */
function drop(model: PartitionModel, released = 0): void {
  const covered = Math.max(model.checkpoint?.end ?? 0, released);
  model.ranges = model.ranges.filter(({ end }) => end > model.start || end > covered);
}

const STEPS = 24;

for (const seed of [1, 2, 3]) {
  test(`seed ${seed}: a broker that dies at any of its writes leaves what should stay, and frees the rest`, async () => {
    const calm = new Run(seed, 0, false);
    await calm.play(STEPS);
    expect(calm.writes).toBeGreaterThan(STEPS);
    for (let at = 1; at <= calm.writes; at++) {
      for (const isAfter of [false, true]) await new Run(seed, at, isAfter).play(STEPS);
    }
  }, 60_000);
}
