/** What a rewrite reads of groups that change under it. */
import { expect, test } from "bun:test";
import type { AnyGroup } from "../../../src/group/any-group.ts";
import { StoredGroups } from "../../../src/group/classic/stored-groups.ts";
import { ConsumerGroup } from "../../../src/group/consumer/consumer-group.ts";
import { NO_PROGRESS } from "../../../src/group/consumer/consumer-group-types.ts";
import { GroupStateRecords } from "../../../src/group/group-state-records.ts";
import type { CommittedOffset } from "../../../src/group/group-types.ts";
import { OffsetStore } from "../../../src/group/offsets/offset-store.ts";
import { PendingOffsets } from "../../../src/group/offsets/pending-offsets.ts";
import { recordTypeOf } from "../../../src/protocol/coordinator-record.ts";

const SUBSCRIPTION = {
  instanceId: undefined,
  rackId: undefined,
  clientId: "c",
  clientHost: "/127.0.0.1",
  rebalanceTimeoutMs: 1,
  topics: [],
  pattern: "",
  serverAssignor: undefined,
  classic: undefined,
};
const AT = { topic: "t", partition: 0 };
const COMMITTED: CommittedOffset = {
  topicId: "AAAAAAAAAAAAAAAAAAAAAA",
  offset: 1n,
  leaderEpoch: -1,
  metadata: "",
  commitTimestampMs: 5,
  expireTimestampMs: undefined,
};
const OFFSET = 1;
const GROUP_EPOCH = 3;
const MEMBER = 5;
const TARGET_EPOCH = 6;

function start() {
  const groups = new Map<string, AnyGroup>();
  const offsets = new OffsetStore();
  const pending = new PendingOffsets();
  const records = new GroupStateRecords({ groups, stored: new StoredGroups(), offsets, pending }, () => undefined);
  const group = new ConsumerGroup("g");
  for (const memberId of ["a", "b"]) {
    group.apply({ kind: "member", memberId, value: SUBSCRIPTION });
    group.apply({ kind: "progress", memberId, value: { ...NO_PROGRESS, epoch: 1 } });
  }
  groups.set("g", group);
  offsets.put("g", AT, COMMITTED);
  const source = records.records();
  const take = (count: number): (number | undefined)[] =>
    Array.from({ length: count }, () => {
      const next = source.next();
      return next.done === true ? undefined : recordTypeOf(next.value.key);
    });
  return { groups, group, offsets, pending, records, take };
}

test("a group that is deleted in the middle is not written on: its tombstones are in the log", () => {
  const { groups, take } = start();
  expect(take(2)).toEqual([GROUP_EPOCH, MEMBER]);
  groups.delete("g");
  expect(take(2)).toEqual([OFFSET, undefined]);
});

test("a member that leaves in the middle is not written any further", () => {
  const { group, take } = start();
  expect(take(3)).toEqual([GROUP_EPOCH, MEMBER, MEMBER]);
  group.apply({ kind: "member", memberId: "a", value: undefined });
  group.apply({ kind: "member", memberId: "b", value: undefined });
  expect(take(3)).toEqual([TARGET_EPOCH, OFFSET, undefined]);
});

test("an offset that a transaction is about to replace is restated, another one is simply committed", () => {
  const { records, pending } = start();
  const restated = () => [...records.records()].map(({ isRestated }) => isRestated === true).at(-1);
  expect(restated()).toBe(false);
  pending.put(1, "g", AT, COMMITTED);
  expect(restated()).toBe(true);
});
