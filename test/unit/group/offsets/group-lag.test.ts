/** Lag is what a group could still read, from what is in memory; what cannot be known is absent, never 0. */
import { describe, expect, test } from "bun:test";
import { declareGroupMetrics, LAG_SERIES_MAX } from "../../../../src/group/group-metrics.ts";
import { type GroupLag, readLags } from "../../../../src/group/offsets/group-lag.ts";
import { OffsetStore } from "../../../../src/group/offsets/offset-store.ts";
import { ZERO_UUID } from "../../../../src/protocol/reader.ts";
import { PrometheusMetrics } from "../../../../src/telemetry/prometheus-metrics.ts";

type Arguments = Parameters<typeof readLags>;

const topicIds: Readonly<Record<string, string>> = { orders: "id-orders", quiet: "id-quiet" };
const metadata = {
  image: {
    getTopic: (name: string) => (topicIds[name] === undefined ? undefined : { topicId: topicIds[name] }),
    getPartition: (_topicId: string, partition: number) => (partition < 2 ? { committedEndOffset: 40 } : undefined),
  },
} as unknown as Arguments[1];
/** Partition 0 of orders is open; of the others only the metadata knows. */
const partitions = {
  find: (topicId: string, partition: number) => (topicId === "id-orders" && partition === 0 ? { highWatermark: 100 } : undefined),
} as unknown as Arguments[2];

function committed(offset: number, topicId = ZERO_UUID) {
  return { topicId, offset: BigInt(offset), leaderEpoch: -1, metadata: "", commitTimestampMs: 0, expireTimestampMs: undefined };
}

function lagsOf(...commits: readonly [string, string, number, ReturnType<typeof committed>][]): readonly GroupLag[] {
  const offsets = new OffsetStore();
  for (const [groupId, topic, partition, value] of commits) offsets.put(groupId, { topic, partition }, value);
  return [...readLags([{ offsets }], metadata, partitions)];
}

describe("readLags", () => {
  test("measures to the end of an open log, else to the committed end", () => {
    expect(
      lagsOf(["g", "orders", 0, committed(90)], ["g", "quiet", 1, committed(40)], ["h", "orders", 0, committed(0, "id-orders")]),
    ).toEqual([
      { groupId: "g", topic: "orders", partition: 0, lag: 10 },
      { groupId: "g", topic: "quiet", partition: 1, lag: 0 },
      { groupId: "h", topic: "orders", partition: 0, lag: 100 },
    ]);
  });

  test("an offset beyond the end is no negative lag", () => {
    expect(lagsOf(["g", "orders", 0, committed(101)])).toEqual([{ groupId: "g", topic: "orders", partition: 0, lag: 0 }]);
  });

  test("topics that are gone or made anew, and partitions that are not there, are left out", () => {
    expect(lagsOf(["g", "gone", 0, committed(1)], ["g", "orders", 0, committed(1, "id-before")], ["g", "orders", 7, committed(1)])).toEqual(
      [],
    );
  });
});

test("the exposed lags have a limit, vanish with their group, and escape what clients chose as names", async () => {
  const metrics = new PrometheusMetrics();
  let lags: readonly GroupLag[] = [{ groupId: 'a"\n', topic: "t", partition: 3, lag: 5 }];
  const count = (): number => 0;
  const unused = { countGroups: count, countMembers: count, countLoading: count, countPending: count };
  const counts = { ...unused, countOffsets: () => lags.length, readLags: () => lags };
  declareGroupMetrics(metrics, counts);
  expect(await metrics.render()).toContain('kafka_consumergroup_lag{consumergroup="a\\"\\n",topic="t",partition="3"} 5\n');
  lags = Array.from({ length: LAG_SERIES_MAX + 7 }, (_, partition) => ({ groupId: "g", topic: "t", partition, lag: 1 }));
  const text = await metrics.render();
  expect(text.match(/^kafka_consumergroup_lag\{/gm)?.length).toBe(LAG_SERIES_MAX);
  expect(text).toContain("weir_group_lags_omitted 7\n");
  expect(text).not.toContain('consumergroup="a');
});
