/** One classic group with a host whose stores the test completes, and members who speak as clients do. */

import { TimerQueue } from "../../../../src/coordinator/timer-queue.ts";
import { ClassicGroup } from "../../../../src/group/classic/classic-group.ts";
import type { GroupHost, GroupView } from "../../../../src/group/classic/group-host.ts";
import type { GroupError, JoinAnswer, JoinRequest, SyncAnswer } from "../../../../src/group/group-types.ts";
import { ManualClock } from "../../support/manual-clock.ts";

export interface HeldStore {
  readonly generation: number;
  readonly assignments: ReadonlyMap<string, Uint8Array>;
  readonly done: (failure: GroupError | undefined) => void;
}

export class FakeHost implements GroupHost {
  readonly clock = new ManualClock();
  readonly timers = new TimerQueue(this.clock);
  initialRebalanceDelayMs = 3000;
  maxSize = 1000;
  /** False: stores wait in `held`. */
  isDurableAtOnce = true;
  /** What the next store is refused with. */
  refusal: GroupError | undefined;
  readonly held: HeldStore[] = [];
  readonly expired: string[] = [];
  stores = 0;
  started = 0;
  completed = 0;
  #uuids = 0;

  wallMs(): number {
    return this.clock.wallMs();
  }

  newUuid(): string {
    this.#uuids += 1;
    return `uuid${this.#uuids}`;
  }

  store(group: GroupView, assignments: ReadonlyMap<string, Uint8Array>, done: (failure: GroupError | undefined) => void): void {
    this.stores += 1;
    if (this.refusal !== undefined) done(this.refusal);
    else if (this.isDurableAtOnce) done(undefined);
    else this.held.push({ generation: group.generation, assignments, done });
  }

  onRebalanceStarted(): void {
    this.started += 1;
  }

  onRebalanceJoined(): void {}

  onRebalanceCompleted(): void {
    this.completed += 1;
  }

  onMembersExpired(_group: GroupView, memberIds: readonly string[]): void {
    this.expired.push(...memberIds);
  }
}

export const SESSION_MS = 10_000;
export const REBALANCE_MS = 30_000;

export function joinRequest(change: Partial<JoinRequest> = {}): JoinRequest {
  return {
    groupId: "g",
    memberId: "",
    groupInstanceId: undefined,
    clientId: "c",
    clientHost: "/127.0.0.1",
    protocolType: "consumer",
    protocols: [{ name: "range", metadata: subscription("t") }],
    sessionTimeoutMs: SESSION_MS,
    rebalanceTimeoutMs: REBALANCE_MS,
    requiresKnownMemberId: true,
    supportsSkippingAssignment: true,
    ...change,
  };
}

/** ConsumerProtocolSubscription version 0 with these topics. */
export function subscription(...topics: string[]): Uint8Array {
  const parts: Buffer[] = [Buffer.from([0, 0, 0, 0, 0, topics.length])];
  for (const topic of topics) parts.push(Buffer.from([0, topic.length]), Buffer.from(topic));
  return Buffer.concat([...parts, Buffer.from([0xff, 0xff, 0xff, 0xff])]);
}

/** An answer that may still be awaited. */
export class Reply<T> {
  value: T | undefined;
  count = 0;

  readonly take = (value: T): void => {
    this.value = value;
    this.count += 1;
  };

  get now(): T {
    if (this.value === undefined) throw new Error("there is no answer yet");
    return this.value;
  }
}

export class GroupHarness {
  readonly host = new FakeHost();
  group: ClassicGroup;

  constructor(change: Partial<Pick<FakeHost, "initialRebalanceDelayMs" | "maxSize" | "isDurableAtOnce">> = {}) {
    Object.assign(this.host, change);
    this.group = new ClassicGroup("g", this.host);
  }

  join(change: Partial<JoinRequest> = {}): Reply<JoinAnswer> {
    const reply = new Reply<JoinAnswer>();
    this.group.join(joinRequest(change), reply.take);
    return reply;
  }

  /** A first join as clients from JoinGroup v4 make it: asks for an id, then comes with it. */
  joinDynamic(change: Partial<JoinRequest> = {}): { readonly memberId: string; readonly reply: Reply<JoinAnswer> } {
    const { memberId } = this.join(change).now;
    return { memberId, reply: this.join({ ...change, memberId }) };
  }

  sync(memberId: string, generation: number, assignments: Record<string, string> = {}, groupInstanceId?: string): Reply<SyncAnswer> {
    const reply = new Reply<SyncAnswer>();
    this.group.sync(
      {
        groupId: "g",
        memberId,
        groupInstanceId,
        generation,
        protocolType: "consumer",
        protocolName: "range",
        assignments: new Map(Object.entries(assignments).map(([id, text]) => [id, Buffer.from(text)])),
      },
      reply.take,
    );
    return reply;
  }

  heartbeat(memberId: string, generation = this.group.generation, groupInstanceId?: string): GroupError | undefined {
    return this.group.heartbeat({ memberId, groupInstanceId }, generation);
  }

  /** A stable group of `count` dynamic members; the first leads. */
  async makeStable(count: number, change: Partial<JoinRequest> = {}): Promise<string[]> {
    const joined = Array.from({ length: count }, (_, index) => this.joinDynamic({ ...change, clientId: `c${index}` }));
    while (this.group.state === "PreparingRebalance") await this.host.clock.advance(this.host.initialRebalanceDelayMs || 1);
    const memberIds = joined.map((one) => one.memberId);
    const assignments = Object.fromEntries(memberIds.map((id) => [id, `for ${id}`]));
    const leader = joined[0]?.reply.now.leaderId;
    for (const id of memberIds) this.sync(id, this.group.generation, id === leader ? assignments : {});
    return memberIds;
  }
}
