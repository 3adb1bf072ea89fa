/** Members of either protocol that send what the script says and tell the side what they were told. */
import {
  type ConsumerGroupHeartbeatRequest,
  consumerGroupHeartbeatApi,
  newConsumerGroupHeartbeatRequest,
} from "../../../src/protocol/messages/consumer-group-heartbeat.ts";
import { heartbeatApi, newHeartbeatRequest } from "../../../src/protocol/messages/heartbeat.ts";
import {
  type JoinGroupRequest,
  type JoinGroupResponse,
  joinGroupApi,
  newJoinGroupRequest,
  newJoinGroupRequestProtocol,
} from "../../../src/protocol/messages/join-group.ts";
import { leaveGroupApi, newLeaveGroupRequest, newMemberIdentity } from "../../../src/protocol/messages/leave-group.ts";
import {
  newOffsetCommitRequest,
  newOffsetCommitRequestPartition,
  newOffsetCommitRequestTopic,
  offsetCommitApi,
} from "../../../src/protocol/messages/offset-commit.ts";
import {
  newSyncGroupRequest,
  newSyncGroupRequestAssignment,
  type SyncGroupRequest,
  syncGroupApi,
} from "../../../src/protocol/messages/sync-group.ts";
import type { KafkaConnection } from "../../support/kafka-connection.ts";
import { assignmentBytes, subscriptionBytes, viewAssignment } from "../differential/embedded-view.ts";
import { type Side, showPartitions } from "./side.ts";

export type Owned = Readonly<Record<string, readonly number[]>>;

function toTopics(side: Side, owned: Owned): { name: string; partitions: readonly number[] }[] {
  return Object.entries(owned).map(([name, partitions]) => ({ name: name + side.topics.suffix, partitions }));
}

// --- the consumer protocol ---

export class ConsumerActor {
  readonly side: Side;
  readonly name: string;
  readonly memberId: string;
  readonly #connection: KafkaConnection;
  instanceId: string | null = null;
  topics: readonly string[] = ["t"];
  rebalanceTimeoutMs = 60_000;
  /** `range` gives what by the members' ids alone: both servers give the same. */
  assignor: string | null = "range";
  epoch = 0;
  intervalMs = 0;
  owned: Owned = {};

  private constructor(side: Side, name: string, connection: KafkaConnection) {
    this.side = side;
    this.name = name;
    this.memberId = `member-${name}`;
    this.#connection = connection;
  }

  static async make(
    side: Side,
    name: string,
    options: Partial<Pick<ConsumerActor, "instanceId" | "topics" | "rebalanceTimeoutMs" | "assignor">> = {},
  ) {
    return Object.assign(new ConsumerActor(side, name, await side.connect()), options);
  }

  /** One that has asked to join. */
  static async join(side: Side, name: string): Promise<ConsumerActor> {
    const actor = await ConsumerActor.make(side, name);
    await actor.beat();
    return actor;
  }

  /** A join when it has no epoch. `isQuiet`: nothing is written down, as when it beats while something else is waited for. */
  async beat(change: Partial<ConsumerGroupHeartbeatRequest> = {}, isQuiet = false): Promise<number> {
    const { side, name, memberId, instanceId, epoch } = this;
    const suffix = side.topics.suffix;
    const everything = {
      instanceId,
      rebalanceTimeoutMs: this.rebalanceTimeoutMs,
      serverAssignor: this.assignor,
      subscribedTopicNames: this.topics.map((topic) => topic + suffix),
    };
    const topicPartitions = Object.entries(this.owned).map(([topic, partitions]) => ({
      topicId: side.topicId(topic),
      partitions: [...partitions],
    }));
    const answer = await this.#send({
      memberId,
      instanceId,
      memberEpoch: epoch,
      topicPartitions,
      ...(epoch === 0 ? everything : {}),
      ...change,
    });
    const assigned = answer.assignment?.topicPartitions.map((each) => ({
      name: side.topicName(each.topicId),
      partitions: each.partitions,
    }));
    const { errorCode, errorMessage, memberEpoch, heartbeatIntervalMs } = answer;
    const assignment = assigned === undefined ? null : showPartitions(assigned);
    if (!isQuiet)
      side.say(`${name} beats`, { errorCode, errorMessage, memberId: answer.memberId, memberEpoch, heartbeatIntervalMs, assignment });
    if (errorCode !== 0) return errorCode;
    this.intervalMs = heartbeatIntervalMs;
    this.epoch = memberEpoch;
    if (assigned !== undefined) this.owned = Object.fromEntries(assigned.map((each) => [each.name, each.partitions]));
    return 0;
  }

  /** Until the group's heartbeat interval is this one: settings reach the coordinator some time after they are set. */
  async untilInterval(intervalMs: number): Promise<void> {
    await this.side.until(`the interval is ${intervalMs}`, async () => {
      await this.beat({}, true);
      return this.intervalMs === intervalMs;
    });
  }

  /** After a wait in which it was beating at the server's own pace: it comes to where it would be without that. */
  async settleQuietly(): Promise<void> {
    for (let round = 0; round < 3; round++) await this.beat({}, true);
  }

  async leave(epoch: -1 | -2 = -1): Promise<void> {
    const answer = await this.#send({ memberId: this.memberId, memberEpoch: epoch, instanceId: this.instanceId });
    const { errorCode, errorMessage, memberEpoch } = answer;
    this.side.say(`${this.name} leaves with ${epoch}`, { errorCode, errorMessage, memberEpoch });
    this.epoch = 0;
    this.owned = {};
  }

  #send(change: Partial<ConsumerGroupHeartbeatRequest>) {
    const request = newConsumerGroupHeartbeatRequest({ groupId: this.side.groupId, ...change });
    return this.#connection.request(consumerGroupHeartbeatApi, 1, request);
  }
}

// --- the classic protocol ---

export interface ClassicOptions {
  readonly instanceId: string | null;
  readonly topics: readonly string[];
  readonly protocols: readonly string[];
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  /** Of its subscription. */
  readonly version: number;
}

export class ClassicActor {
  readonly side: Side;
  readonly name: string;
  readonly #connection: KafkaConnection;
  options: ClassicOptions = {
    instanceId: null,
    topics: ["t"],
    protocols: ["range"],
    sessionTimeoutMs: 60_000,
    rebalanceTimeoutMs: 60_000,
    version: 1,
  };
  memberId = "";
  generation = -1;
  protocolName: string | null = null;
  owned: Owned = {};
  members: readonly string[] = [];

  private constructor(side: Side, name: string, connection: KafkaConnection) {
    this.side = side;
    this.name = name;
    this.#connection = connection;
  }

  static async make(side: Side, name: string, options: Partial<ClassicOptions> = {}): Promise<ClassicActor> {
    const actor = new ClassicActor(side, name, await side.connect());
    actor.options = { ...actor.options, ...options };
    return actor;
  }

  /** Joins, coming again with its id when it is told to; resolves with what writes the answer down. */
  async join(change: Partial<JoinGroupRequest> = {}, version = 9): Promise<() => number> {
    const answer = await this.#join(change, version);
    if (answer.errorCode !== 79 || change.memberId !== undefined) return () => this.#take(answer);
    this.memberId = answer.memberId;
    const second = await this.#join(change, version);
    return () => this.#take(second);
  }

  async joinNow(change: Partial<JoinGroupRequest> = {}, version = 9): Promise<number> {
    return (await this.join(change, version))();
  }

  async #join(change: Partial<JoinGroupRequest>, version: number): Promise<JoinGroupResponse> {
    const { side, memberId, options } = this;
    const topics = options.topics.map((topic) => topic + side.topics.suffix);
    const metadata = subscriptionBytes(options.version, topics, toTopics(side, this.owned), this.generation);
    const request = newJoinGroupRequest({
      groupId: side.groupId,
      memberId,
      groupInstanceId: options.instanceId,
      protocolType: "consumer",
      protocols: options.protocols.map((name) => newJoinGroupRequestProtocol({ name, metadata })),
      sessionTimeoutMs: options.sessionTimeoutMs,
      rebalanceTimeoutMs: options.rebalanceTimeoutMs,
      ...change,
    });
    const answer = await this.#connection.request(joinGroupApi, version, request);
    side.name(answer.memberId, this.name);
    return answer;
  }

  #take(answer: JoinGroupResponse): number {
    const { side, name } = this;
    const { errorCode, generationId, protocolType, protocolName, leader, skipAssignment, memberId, members } = answer;
    const others = members.map((each) => `${side.nameOf(each.memberId)}/${each.groupInstanceId}`).sort();
    side.say(`${name} joins`, { errorCode, generationId, protocolType, protocolName, leader, skipAssignment, memberId, members: others });
    if (errorCode !== 0) return errorCode;
    this.memberId = memberId;
    this.generation = generationId;
    this.protocolName = protocolName;
    return 0;
  }

  /** `assignments`: by actor, of a leader. */
  async sync(assignments: readonly (readonly [ClassicActor, Owned])[] = [], change: Partial<SyncGroupRequest> = {}): Promise<() => number> {
    const { side, name, memberId, generation, protocolName, options } = this;
    const request = newSyncGroupRequest({
      groupId: side.groupId,
      generationId: generation,
      memberId,
      groupInstanceId: options.instanceId,
      protocolType: "consumer",
      protocolName,
      assignments: assignments.map(([actor, owned]) => {
        const assignment = assignmentBytes(1, toTopics(side, owned), false);
        return newSyncGroupRequestAssignment({ memberId: actor.memberId, assignment });
      }),
      ...change,
    });
    const answer = await this.#connection.request(syncGroupApi, 5, request);
    return () => {
      const { errorCode, protocolType } = answer;
      const view = viewAssignment(answer.assignment);
      const topics = view?.topics ?? [];
      const assignment = view === undefined ? answer.assignment.length : `v${view.version} ${showPartitions(topics)}`;
      side.say(`${name} syncs`, { errorCode, protocolType, protocolName: answer.protocolName, assignment });
      const suffix = side.topics.suffix.length;
      if (errorCode === 0) this.owned = Object.fromEntries(topics.map((each) => [each.name.slice(0, -suffix), each.partitions]));
      return errorCode;
    };
  }

  async syncNow(assignments: readonly (readonly [ClassicActor, Owned])[] = [], change: Partial<SyncGroupRequest> = {}): Promise<number> {
    return (await this.sync(assignments, change))();
  }

  async beat(isQuiet = false, generation = this.generation): Promise<number> {
    const { side, name, memberId, options } = this;
    const request = newHeartbeatRequest({
      groupId: side.groupId,
      generationId: generation,
      memberId,
      groupInstanceId: options.instanceId,
    });
    const { errorCode } = await this.#connection.request(heartbeatApi, 4, request);
    if (!isQuiet) side.say(`${name} beats`, errorCode);
    return errorCode;
  }

  /** Beats until it is told that things are no longer as they were. */
  async untilRebalance(): Promise<void> {
    let told = 0;
    await this.side.until(`${this.name} is told something`, async () => {
      told = await this.beat(true);
      return told !== 0;
    });
    this.side.say(`${this.name} is told`, told);
  }

  async leave(): Promise<void> {
    await leaveAll(this.side, this.#connection, `${this.name} leaves`, [[this.memberId, this.options.instanceId]]);
  }

  /** Joins without a word about who leads: which of several is each server's choice. */
  async joinQuietly(): Promise<JoinGroupResponse> {
    const answer = await this.#join({}, 9);
    if (answer.errorCode === 0) {
      this.generation = answer.generationId;
      this.protocolName = answer.protocolName;
    }
    return answer;
  }

  /** Joins again and asks for its partitions when its heartbeat says so. */
  async follow(): Promise<void> {
    if ((await this.beat()) !== 27) return;
    if ((await this.joinNow()) === 0) await this.syncNow();
  }

  async followQuietly(): Promise<void> {
    const before = this.side.lines.length;
    if ((await this.joinNow()) === 0) await this.syncNow();
    this.side.lines.length = before;
  }

  async commit(offset: bigint, version = 9): Promise<void> {
    const { side, name, memberId, generation, options } = this;
    const partitions = [newOffsetCommitRequestPartition({ partitionIndex: 0, committedOffset: offset })];
    const request = newOffsetCommitRequest({
      groupId: side.groupId,
      generationIdOrMemberEpoch: generation,
      memberId,
      groupInstanceId: options.instanceId,
      topics: [newOffsetCommitRequestTopic({ name: `t${side.topics.suffix}`, partitions })],
    });
    const answer = await this.#connection.request(offsetCommitApi, version, request);
    side.say(`${name} commits v${version}`, answer.topics[0]?.partitions[0]?.errorCode);
  }
}

/** The classic members that are left make a generation, whichever of them leads it; the leader gives each the same. */
export async function rejoin(members: readonly ClassicActor[], owned: readonly Owned[]): Promise<void> {
  const [first] = members;
  if (first === undefined) return;
  const { side } = first;
  for (const each of members) await each.beat();
  const answers = await Promise.all(members.map((each) => each.joinQuietly()));
  const leader = members.find(({ memberId }) => memberId === answers[0]?.leader);
  const told = answers.map(
    ({ errorCode, generationId, protocolType, protocolName, skipAssignment, leader: id, memberId, members: list }) => {
      const seen = list.map((each) => `${side.nameOf(each.memberId)}/${each.groupInstanceId}`).sort();
      const isAsExpected = (memberId === id) === list.length > 0 && (list.length === 0 || seen.length === members.length);
      return { errorCode, generationId, protocolType, protocolName, skipAssignment, isLeaderOneOfThem: leader !== undefined, isAsExpected };
    },
  );
  side.say("they join again", told);
  const given = members.map((each, index) => [each, owned[index] ?? {}] as const);
  const syncing = members.map((each) => each.sync(each === leader ? given : []));
  for (const each of syncing) (await each)();
  for (const each of members) await each.beat();
  await side.describe();
}

/** LeaveGroup of any members. */
export async function leaveAll(
  side: Side,
  connection: KafkaConnection,
  what: string,
  identities: readonly (readonly [memberId: string, instanceId: string | null])[],
): Promise<void> {
  const members = identities.map(([memberId, groupInstanceId]) => newMemberIdentity({ memberId, groupInstanceId }));
  const answer = await connection.request(leaveGroupApi, 5, newLeaveGroupRequest({ groupId: side.groupId, members }));
  const told = answer.members.map(({ memberId, groupInstanceId, errorCode }) => ({ memberId, groupInstanceId, errorCode }));
  side.say(what, { errorCode: answer.errorCode, members: told });
}

/** A stable classic group of these members, the first of which leads; each given what is said. */
export async function classicGroup(members: readonly (readonly [ClassicActor, Owned])[]): Promise<void> {
  for (const [index, [actor]] of members.entries()) {
    const before = members.slice(0, index).map(([each]) => each);
    const joining = actor.join();
    for (const each of before) await each.untilRebalance();
    const others = before.map((each) => each.join());
    for (const take of await Promise.all([...others, joining])) take();
    const present = members.slice(0, index + 1);
    const waiting = present.slice(1).map(([each]) => each.sync());
    const leader = present[0]?.[0].sync(present);
    for (const each of [...(leader === undefined ? [] : [leader]), ...waiting]) (await each)();
  }
}
