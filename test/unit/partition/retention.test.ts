/** Which committed ranges outlive retention: oldest first, whole ranges, nothing that is not in an object. */
import { describe, expect, test } from "bun:test";
import { Trouble } from "../../../src/base/trouble.ts";
import { findRetainedStart, Retention } from "../../../src/partition/retention.ts";
import { TopicRulesCache } from "../../../src/partition/topic-rules.ts";
import type { CommittedRange, CommittedRangesPort } from "../../../src/storage/ports.ts";
import { fakeConfig } from "../support/fake-config.ts";
import { FakeMetadata } from "../support/fake-metadata.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { RecordingLogger } from "../support/recording-telemetry.ts";

/** Ranges of ten offsets and 100 bytes each, with these newest times. */
function rangesOf(...times: number[]): CommittedRange[] {
  return times.map((maxTimestampMs, index) => ({
    objectKey: `o${index}`,
    baseOffset: index * 10,
    endOffset: index * 10 + 10,
    maxTimestampMs,
    sizeBytes: 100,
  }));
}

const NO_LIMIT = { retentionMs: -1, retentionBytes: -1 };

describe("the retained start", () => {
  test("by time: ranges older than the limit, up to the first that stays", () => {
    const ranges = rangesOf(1_000, 2_000, 9_000, 3_000);
    const at = (retentionMs: number, nowMs: number, start = 0) => findRetainedStart(ranges, start, { ...NO_LIMIT, retentionMs }, nowMs);
    expect(at(5_000, 6_000)).toBe(0);
    expect(at(5_000, 6_001)).toBe(10);
    expect(at(5_000, 8_000)).toBe(20);
    expect(at(5_000, 14_001)).toBe(40);
    expect(at(-1, 1e15)).toBe(0);
    expect(at(0, 1e15)).toBe(40);
    // A start inside a range: the range counts until it goes.
    expect(at(5_000, 7_001, 15)).toBe(20);
  });

  test("by size: while the rest is at least as large as the limit", () => {
    const ranges = rangesOf(1, 1, 1, 1);
    const at = (retentionBytes: number, start = 0) => findRetainedStart(ranges, start, { ...NO_LIMIT, retentionBytes }, 2);
    expect(at(-1)).toBe(0);
    expect(at(400)).toBe(0);
    expect(at(300)).toBe(10);
    expect(at(299)).toBe(10);
    expect(at(150)).toBe(20);
    expect(at(0)).toBe(40);
    expect(at(300, 10)).toBe(10);
  });
});

class Ranges implements CommittedRangesPort {
  readonly byPartition = new Map<number, readonly CommittedRange[]>();
  findRange = () => undefined;
  getCommittedEnd = () => 0;
  getCheckpoint = () => undefined;
  getRanges = ({ partition }: { partition: number }) => this.byPartition.get(partition) ?? [];
}

function setUp(configs: Record<string, string>) {
  const clock = new ManualClock();
  const metadata = new FakeMetadata();
  const config = fakeConfig({ "log.retention.check.interval.ms": "60000", "producer.id.expiration.ms": "86400000" });
  const ranges = new Ranges();
  const logger = new RecordingLogger();
  const topic = metadata.addTopic("t", 2, configs);
  const now = clock.wallMs();
  ranges.byPartition.set(0, rangesOf(now - 100_000, now - 50_000, now));
  ranges.byPartition.set(1, rangesOf(now - 200_000_000, now));
  const retention = new Retention({ metadata, ranges, topicRules: new TopicRulesCache(config), config, clock, logger });
  const startOf = (partition: number) => metadata.image.getPartition(topic.topicId, partition)?.logStartOffset;
  return { clock, metadata, logger, retention, topic, startOf };
}

describe("the pass", () => {
  test("runs at its interval and moves the logs of owned partitions", async () => {
    const { clock, startOf, retention, logger } = setUp({ "retention.ms": "70000" });
    await clock.advance(59_000);
    expect([startOf(0), startOf(1)]).toEqual([0, 0]);
    await clock.advance(2_000);
    await clock.endTurn();
    expect([startOf(0), startOf(1)]).toEqual([20, 10]);
    expect(logger.names().filter((name) => name === "retention.applied")).toHaveLength(1);
    await clock.advance(60_000);
    await clock.endTurn();
    expect(startOf(0)).toBe(30);
    retention.close();
  });

  test("leaves alone what is compacted only, and what another broker owns", async () => {
    const compacted = setUp({ "cleanup.policy": "compact", "retention.ms": "1" });
    await compacted.retention.run();
    expect([compacted.startOf(0), compacted.startOf(1)]).toEqual([0, 0]);
    const foreign = setUp({ "retention.ms": "1" });
    foreign.metadata.setPartition(foreign.topic.topicId, 0, { ownerNodeId: 2 });
    await foreign.retention.run();
    expect([foreign.startOf(0), foreign.startOf(1)]).toEqual([0, 10]);
  });

  test("goes on after the metadata log could not be reached", async () => {
    const { metadata, retention, startOf, logger } = setUp({ "cleanup.policy": "compact,delete", "retention.ms": "70000" });
    metadata.failure = new Trouble({ code: "metadata-timeout", message: "not now", retryable: true });
    await retention.run();
    expect(startOf(0)).toBe(0);
    expect(logger.names()).toContain("retention.failed");
    metadata.failure = undefined;
    await retention.run();
    expect(startOf(0)).toBe(10);
  });
});
