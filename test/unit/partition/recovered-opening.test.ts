/** What recovery found is opened in the background: bounded, internal first, and never given up while its topic is there. */
import { describe, expect, test } from "bun:test";
import { Trouble } from "../../../src/base/trouble.ts";
import type { Lookup } from "../../../src/partition/partition-registry.ts";
import { RecoveredOpening } from "../../../src/partition/recovered-opening.ts";
import type { StreamId } from "../../../src/storage/types.ts";
import { FakeMetadata } from "../support/fake-metadata.ts";
import { ManualClock, settle } from "../support/manual-clock.ts";
import { RecordingLogger } from "../support/recording-telemetry.ts";
import { SeededRandom } from "../support/seeded-random.ts";

const OPEN = "not-owner" satisfies Lookup;
const away = new Trouble({ code: "store-unavailable", message: "the store is away", retryable: true });

class Fixture {
  readonly clock = new ManualClock();
  readonly logger = new RecordingLogger();
  readonly metadata = new FakeMetadata();
  /** Openings under way, by "topic-partition", in order of their beginning. */
  readonly running = new Map<string, { resolve: (found: Lookup) => void; reject: (error: unknown) => void }>();
  readonly begun: string[] = [];
  readonly dropped: StreamId[] = [];
  ended: unknown;
  readonly opening = new RecoveredOpening({
    open: (topicId, partition) => {
      const key = `${topicId}-${partition}`;
      this.begun.push(key);
      return new Promise<Lookup>((resolve, reject) => this.running.set(key, { resolve, reject }));
    },
    drop: (id) => this.dropped.push(id),
    metadata: this.metadata,
    clock: this.clock,
    random: new SeededRandom(1),
    logger: this.logger,
  });

  start(streams: readonly StreamId[]): void {
    this.opening.run(streams).then(
      () => {
        this.ended = "all";
      },
      (error: unknown) => {
        this.ended = error;
      },
    );
  }

  async end(key: string, outcome: Lookup | Error): Promise<void> {
    const one = this.running.get(key);
    this.running.delete(key);
    if (outcome instanceof Error) one?.reject(outcome);
    else one?.resolve(outcome);
    await settle();
  }
}

const streams = (topicId: string, count: number): StreamId[] => Array.from({ length: count }, (_, partition) => ({ topicId, partition }));

describe("opening what was recovered", () => {
  test("eight at a time, internal topics first; ready when the last is open", async () => {
    const fixture = new Fixture();
    const plain = fixture.metadata.addTopic("plain").topicId;
    const offsets = fixture.metadata.addTopic("__consumer_offsets", 2);
    const internal = offsets.topicId;
    fixture.metadata.topics.set(offsets.name, { ...offsets, isInternal: true });
    fixture.start([...streams(plain, 20), ...streams(internal, 2)]);
    expect(fixture.begun.slice(0, 2)).toEqual([`${internal}-0`, `${internal}-1`]);
    expect(fixture.running.size).toBe(8);
    expect(fixture.opening.left.count).toBe(22);
    for (let done = 1; done <= 22; done++) {
      await fixture.end([...fixture.running.keys()][0] as string, OPEN);
      expect(fixture.running.size).toBeLessThanOrEqual(8);
      expect(fixture.opening.left.count).toBe(22 - done);
      expect(fixture.ended).toBe(done === 22 ? "all" : undefined);
    }
    expect(fixture.logger.names()).toEqual([]);
  });

  test("one that fails holds no place, is tried again for ever, shows its trouble, and is logged once", async () => {
    const fixture = new Fixture();
    const topicId = fixture.metadata.addTopic("t").topicId;
    fixture.start(streams(topicId, 9));
    for (let partition = 0; partition < 8; partition++) await fixture.end(`${topicId}-${partition}`, away);
    expect(fixture.running.has(`${topicId}-8`)).toBe(true);
    await fixture.end(`${topicId}-8`, OPEN);
    for (let round = 0; round < 30; round++) {
      await fixture.clock.advance(15_000);
      for (const key of [...fixture.running.keys()]) await fixture.end(key, away);
    }
    expect(fixture.opening.left).toEqual({ count: 8, trouble: away });
    expect(fixture.logger.names().filter((name) => name === "partition.open-failed")).toHaveLength(8);
    await fixture.clock.advance(15_000);
    for (const key of [...fixture.running.keys()]) await fixture.end(key, OPEN);
    expect([fixture.ended, fixture.opening.left]).toEqual(["all", { count: 0, trouble: undefined }]);
  });

  test("a slow one is told of every two seconds, and when it is over", async () => {
    const fixture = new Fixture();
    const topicId = fixture.metadata.addTopic("t").topicId;
    fixture.start(streams(topicId, 2));
    await fixture.end(`${topicId}-0`, OPEN);
    await fixture.clock.advance(4_000);
    await fixture.end(`${topicId}-1`, OPEN);
    await fixture.clock.advance(10_000);
    const told = fixture.logger.events.map(({ event, fields }) => [event, fields.open, fields.total]);
    expect(told).toEqual([
      ["partition.opening-recovered", 1, 2],
      ["partition.opening-recovered", 1, 2],
      ["partition.opening-recovered", 2, 2],
    ]);
  });

  test("of a topic that is gone the WAL need keep nothing", async () => {
    const fixture = new Fixture();
    fixture.start(streams("gone", 1));
    await fixture.end("gone-0", "unknown-partition");
    expect([fixture.dropped, fixture.ended]).toEqual([streams("gone", 1), "all"]);
  });

  test("a bug is not repeated; after close nothing begins", async () => {
    const fixture = new Fixture();
    fixture.start(streams("t", 1));
    const bug = new Error("a bug");
    await fixture.end("t-0", bug);
    expect(fixture.ended).toBe(bug);
    const closing = new Fixture();
    closing.start(streams("t", 9));
    await closing.end("t-0", away);
    closing.opening.close();
    await closing.end("t-1", new Error("closed under it"));
    await closing.clock.advance(60_000);
    expect([closing.begun.length, closing.ended]).toEqual([9, undefined]);
  });
});
