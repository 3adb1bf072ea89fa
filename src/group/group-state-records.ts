/**
 * The state of a shard's groups as records again, for a rewrite of its log: every group of both protocols, and every committed offset with the times that it was
 * committed with.
 *
 * Read from memory record by record, while the groups go on: what changes after its record was made is said by a later record of its own, and what is gone
 * by then had its tombstone. So each record is made from what is there in that moment, never from what was kept since an earlier one.
 *
 * An offset that a transaction is about to replace is restated: it was committed before what is pending, though it comes later in the log, and a replay must not take it
 * for a newer one.
 */
import type { StateRecords } from "../coordinator/log-rewrite.ts";
import type { AnyGroup } from "./any-group.ts";
import type { StoredGroups } from "./classic/stored-groups.ts";
import type { ConsumerGroup } from "./consumer/consumer-group.ts";
import { encodeChange } from "./consumer/consumer-group-records.ts";
import { encodeNewGroup, encodeOffset, encodeStoredGroup } from "./group-records.ts";
import type { GroupRecord } from "./group-types.ts";
import type { OffsetStore } from "./offsets/offset-store.ts";
import type { PendingOffsets } from "./offsets/pending-offsets.ts";

export interface GroupState {
  readonly groups: ReadonlyMap<string, AnyGroup>;
  /** What the log says of classic groups. */
  readonly stored: StoredGroups;
  readonly offsets: OffsetStore;
  readonly pending: PendingOffsets;
}

/** For estimates: records that are made to see how large they are. */
const SAMPLES = 64;
/** Of a classic group's record besides its value. */
const GROUP_OVERHEAD_BYTES = 48;
/** Of any record besides key and value. */
const RECORD_OVERHEAD_BYTES = 10;

export class GroupStateRecords implements StateRecords<GroupRecord> {
  readonly build: StateRecords<GroupRecord>["build"];
  readonly #state: GroupState;

  constructor(state: GroupState, build: StateRecords<GroupRecord>["build"]) {
    this.build = build;
    this.#state = state;
  }

  *records(): Generator<GroupRecord, void> {
    const { groups, offsets } = this.#state;
    for (const groupId of new Set([...groups.keys(), ...offsets.groupIds()])) {
      yield* this.#ofGroup(groupId);
      yield* this.#offsetsOf(groupId);
    }
  }

  *#ofGroup(groupId: string): Generator<GroupRecord, void> {
    const { groups, stored } = this.#state;
    const group = groups.get(groupId);
    if (group === undefined) return;
    if (group.kind === "classic") {
      const value = stored.get(groupId);
      yield value === undefined ? encodeNewGroup(group) : encodeStoredGroup(groupId, value);
      return;
    }
    for (const change of group.changes()) {
      // Deleted or converted since: its tombstones are in the log.
      if (groups.get(groupId) !== group) return;
      yield encodeChange(groupId, change);
    }
  }

  *#offsetsOf(groupId: string): Generator<GroupRecord, void> {
    const { offsets, pending } = this.#state;
    for (const [at, committed] of offsets.entries(groupId)) {
      yield { ...encodeOffset(groupId, at, committed), isRestated: pending.has(groupId, at) };
    }
  }

  estimateBytes(): number {
    const { groups, stored, offsets } = this.#state;
    let members = 0;
    let classicGroups = 0;
    const sampled: ConsumerGroup[] = [];
    for (const group of groups.values()) {
      if (group.kind === "classic") classicGroups += 1;
      else {
        members += group.size;
        if (sampled.length < SAMPLES) sampled.push(group);
      }
    }
    const offsetBytes = offsets.count * averageBytes(this.#sampleOffsets());
    const memberBytes = members * averageBytes(sampleMembers(sampled));
    return stored.totalBytes + classicGroups * GROUP_OVERHEAD_BYTES + offsetBytes + memberBytes;
  }

  *#sampleOffsets(): Generator<number, void> {
    const { offsets } = this.#state;
    let left = SAMPLES;
    for (const groupId of offsets.groupIds()) {
      for (const [at, committed] of offsets.entries(groupId)) {
        yield sizeOf(encodeOffset(groupId, at, committed));
        if (--left === 0) return;
      }
    }
  }
}

/** Of a member: what all its group's records come to, shared out. */
function* sampleMembers(groups: readonly ConsumerGroup[]): Generator<number, void> {
  let left = SAMPLES;
  for (const group of groups) {
    if (group.size === 0) continue;
    for (const { memberId, subscription, progress } of group.members()) {
      const target = encodeChange(group.groupId, { kind: "target", memberId, value: group.getTarget(memberId) });
      const member = encodeChange(group.groupId, { kind: "member", memberId, value: subscription });
      const way = encodeChange(group.groupId, { kind: "progress", memberId, value: progress });
      yield sizeOf(target) + sizeOf(member) + sizeOf(way);
      if (--left === 0) return;
    }
  }
}

function sizeOf({ key, value }: GroupRecord): number {
  return key.length + (value?.length ?? 0) + RECORD_OVERHEAD_BYTES;
}

function averageBytes(sizes: Iterable<number>): number {
  let count = 0;
  let total = 0;
  for (const size of sizes) {
    count += 1;
    total += size;
  }
  return count === 0 ? 0 : total / count;
}
