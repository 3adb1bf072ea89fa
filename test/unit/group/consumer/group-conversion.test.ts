/** Groups that go from the classic protocol to the consumer protocol and back while they are in use. */
import { expect, test } from "bun:test";
import { ClassicGroup } from "../../../../src/group/classic/classic-group.ts";
import { readAssignment, readSubscription, writeAssignment } from "../../../../src/group/consumer/embedded-protocol.ts";
import { planUpgrade } from "../../../../src/group/consumer/group-conversion.ts";
import { countPartitions } from "../../../../src/group/consumer/topic-partitions.ts";
import type { JoinRequest } from "../../../../src/group/group-types.ts";
import { decodeRecordValue, recordTypeOf } from "../../../../src/protocol/coordinator-record.ts";
import { groupMetadataRecord } from "../../../../src/protocol/messages/records/group-metadata.ts";
import { joinRequest, Reply, subscription } from "../classic/group-harness.ts";
import { ConsumerClient, ConsumerHarness } from "./consumer-harness.ts";

/** ConsumerProtocolSubscription version 1: with what the member has. */
function cooperative(topicId: string, owned: readonly number[]): Uint8Array {
  const bytes = Buffer.concat([subscription("t"), writeAssignment(new Map([[topicId, owned]]), 0, () => "t").subarray(2, -4)]);
  bytes.writeInt16BE(1);
  return bytes;
}

/** A stable classic group "g" with one member that has these partitions; `owned`: what it says that it had when it joined. */
async function classicGroup(
  harness: ConsumerHarness,
  topicId: string,
  partitions: readonly number[],
  owned?: readonly number[],
): Promise<string> {
  const metadata = owned === undefined ? subscription("t") : cooperative(topicId, owned);
  const group = new ClassicGroup("g", harness.host);
  harness.groups.set("g", group);
  const asked = new Reply<{ memberId: string; generation: number }>();
  group.join(joinRequest({ protocols: [{ name: "range", metadata: subscription("t") }] }), asked.take);
  const { memberId } = asked.now;
  const joined = new Reply<{ generation: number }>();
  group.join(joinRequest({ memberId, protocols: [{ name: "range", metadata }] }), joined.take);
  await harness.host.clock.advance(harness.host.initialRebalanceDelayMs);
  const assignment = writeAssignment(new Map([[topicId, partitions]]), 0, () => "t");
  const { generation } = joined.now;
  const base = { groupId: "g", memberId, groupInstanceId: undefined, generation, protocolType: "consumer", protocolName: "range" };
  group.sync({ ...base, assignments: new Map([[memberId, assignment]]) }, () => {});
  expect(group.state).toBe("Stable");
  return memberId;
}

/** A client of the classic protocol in a consumer group: joins again whenever it is told to. */
class ClassicClient {
  readonly harness: ConsumerHarness;
  readonly memberId: string;
  generation: number;
  partitions: readonly number[] = [];

  constructor(harness: ConsumerHarness, memberId: string, generation: number) {
    this.harness = harness;
    this.memberId = memberId;
    this.generation = generation;
  }

  async beat(): Promise<string | undefined> {
    const { harness, memberId, generation } = this;
    const error = harness.served.beatClassic(harness.group, { memberId, groupInstanceId: undefined }, generation);
    if (error === "rebalance-in-progress" || error === "illegal-generation") await this.join();
    return error;
  }

  async join(change: Partial<JoinRequest> = {}): Promise<void> {
    const { harness, memberId } = this;
    const answer = await harness.served.join(harness.group, joinRequest({ memberId, ...change }));
    if (answer.error !== undefined) throw new Error(answer.error);
    this.generation = answer.generation;
    const { generation, protocolType, protocolName } = answer;
    const request = { groupId: "g", memberId, groupInstanceId: undefined, generation, protocolType, protocolName, assignments: new Map() };
    const synced = await harness.served.sync(harness.group, request);
    if (synced.error === undefined) this.partitions = readAssignment(synced.assignment)?.partitions.get("t") ?? [];
  }
}

test("the first member of the new protocol makes it a consumer group; the last one to leave makes it classic again", async () => {
  const harness = new ConsumerHarness();
  const topicId = harness.addTopic("t", 4);
  const memberId = await classicGroup(harness, topicId, [0, 1, 2, 3]);
  const consumer = new ConsumerClient(harness, "new", { topics: ["t"] });
  expect(await consumer.beat()).toMatchObject({ memberEpoch: 2, assignment: new Map() });
  expect(harness.group.classicCount).toBe(1);
  harness.expectLogSaysTheSame();

  const classic = new ClassicClient(harness, memberId, 1);
  for (let round = 0; round < 5; round++) {
    await classic.beat();
    await consumer.beat();
  }
  expect([...classic.partitions, ...(consumer.owned.get(topicId) ?? [])].sort()).toEqual([0, 1, 2, 3]);
  expect(countPartitions(consumer.owned)).toBe(2);
  expect(await classic.beat()).toBeUndefined();
  expect(harness.group.describe("uniform").members.map(({ isClassic }) => isClassic)).toEqual([true, false]);

  await consumer.leave();
  const group = harness.groups.get("g");
  expect(group).toBeInstanceOf(ClassicGroup);
  expect(group?.state).toBe("PreparingRebalance");
  expect((group as ClassicGroup).roster.has(memberId)).toBe(true);
  expect(harness.replay().get("g")?.kind).toBe("classic");
});

test("what a classic member has is its own while its group turns classic and back before it has joined again", async () => {
  const harness = new ConsumerHarness();
  const topicId = harness.addTopic("t", 4);
  await classicGroup(harness, topicId, [0, 1, 2, 3]);
  const consumer = new ConsumerClient(harness, "new", { topics: ["t"] });
  await consumer.beat();
  expect(countPartitions(harness.group.getTarget("new"))).toBe(2);
  await consumer.leave();
  expect(harness.groups.get("g")?.kind).toBe("classic");
  const next = new ConsumerClient(harness, "next", { topics: ["t"] });
  expect(await next.beat()).toMatchObject({ assignment: new Map() });
  expect(harness.group.state).toBe("Reconciling");
  harness.expectLogSaysTheSame();
});

test("what a cooperative member was told to give up is its own until it has joined once more, also when the group is converted meanwhile", async () => {
  const harness = new ConsumerHarness();
  const topicId = harness.addTopic("t", 4);
  const memberId = await classicGroup(harness, topicId, [0, 1], [0, 1, 2, 3]);
  const consumer = new ConsumerClient(harness, "new", { topics: ["t"] });
  expect(await consumer.beat()).toMatchObject({ assignment: new Map() });
  expect(harness.group.getMember(memberId)?.progress.state).toBe("unrevoked-partitions");
  harness.expectLogSaysTheSame();
  const classic = new ClassicClient(harness, memberId, 1);
  expect(await classic.beat()).toBe("rebalance-in-progress");
  for (let round = 0; round < 4; round++) {
    await consumer.beat();
    await classic.beat();
  }
  expect(countPartitions(consumer.owned)).toBe(2);
  expect(classic.partitions).toHaveLength(2);
});

test("a group that turns classic and has to rebalance is written without a leader, for the next coordinator to see", async () => {
  const harness = new ConsumerHarness();
  const topicId = harness.addTopic("t", 4);
  const memberId = await classicGroup(harness, topicId, [0, 1, 2, 3]);
  const consumer = new ConsumerClient(harness, "new", { topics: ["t"] });
  await consumer.beat();
  await consumer.leave();
  const { value } = harness.log.findLast(({ key }) => recordTypeOf(key) === groupMetadataRecord.type) ?? {};
  if (value === undefined || value === null) throw new Error("the classic group is not written");
  const stored = decodeRecordValue(groupMetadataRecord, value);
  expect(stored.leader).toBeNull();
  expect(stored.members.map((member) => member.memberId)).toEqual([memberId]);
});

test("a member of a consumer group may come by the classic protocol, and shares by it", async () => {
  const harness = new ConsumerHarness();
  const topicId = harness.addTopic("t", 2);
  const consumer = new ConsumerClient(harness, "new", { topics: ["t"] });
  await consumer.beat();
  expect(await harness.served.join(harness.group, joinRequest())).toMatchObject({ error: "member-id-required", memberId: "uuid1" });
  const classic = new ClassicClient(harness, "uuid1", -1);
  await classic.join();
  for (let round = 0; round < 4; round++) {
    await consumer.beat();
    await classic.beat();
  }
  expect([...classic.partitions, ...(consumer.owned.get(topicId) ?? [])].sort()).toEqual([0, 1]);
  await expect(classic.join({ protocolType: "connect" })).rejects.toThrow("inconsistent-protocol");
  // Kafka names no member in a refusal.
  const refused = harness.served.join(harness.group, joinRequest({ memberId: "uuid1", protocolType: "connect" }));
  expect(await refused).toMatchObject({ error: "inconsistent-protocol", memberId: "" });
  await expect(classic.join({ protocols: [{ name: "range", metadata: Buffer.from("x") }] })).rejects.toThrow("inconsistent-protocol");
  harness.expectLogSaysTheSame();
});

test("a classic member joins again for a target that is there; to make one is left to members of the new protocol, as in Kafka 4.4", async () => {
  const harness = new ConsumerHarness();
  harness.addTopic("t", 3);
  const consumers = ["a", "b"].map((memberId) => new ConsumerClient(harness, memberId, { topics: ["t"] }));
  for (const consumer of consumers) await consumer.beat();
  await harness.served.join(harness.group, joinRequest());
  const classic = new ClassicClient(harness, "uuid1", -1);
  await classic.join();
  for (let round = 0; round < 4; round++) {
    for (const consumer of consumers) await consumer.beat();
    await classic.beat();
  }
  await consumers[1]?.leave();
  expect(harness.group.state).toBe("Assigning");
  expect(await classic.beat()).toBeUndefined();
  await consumers[0]?.beat();
  expect(await classic.beat()).toBe("rebalance-in-progress");
});

test("of a member with an assignment of its own making and a subscription that nobody reads, the assignor is told first, as in Kafka", () => {
  const assignment = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7]);
  const member = { memberId: "m", protocols: [{ name: "range", metadata: Buffer.from("nonsense") }], assignment };
  const group = {
    groupId: "g",
    usesConsumerProtocol: true,
    protocolName: "range",
    generation: 1,
    roster: { size: 1, all: () => [member] },
  };
  const policy = { canUpgrade: true, canDowngrade: true };
  const planned = planUpgrade(group as unknown as ClassicGroup, { policy, maxSize: 9, getTopic: () => undefined });
  expect(planned).toMatchObject({ message: expect.stringContaining("an unsupported custom assignor is in use") });
});

test("in the classic group that is left, a member's other protocols are known too", async () => {
  const harness = new ConsumerHarness();
  const topicId = harness.addTopic("t", 2);
  const memberId = await classicGroup(harness, topicId, [0, 1]);
  const consumer = new ConsumerClient(harness, "new", { topics: ["t"] });
  await consumer.beat();
  const both = ["sticky", "range"].map((name) => ({ name, metadata: subscription("t") }));
  await harness.served.join(harness.group, joinRequest({ memberId, protocols: both }));
  await consumer.leave();
  const joined = new Reply<{ error?: string }>();
  (harness.groups.get("g") as ClassicGroup).join(joinRequest({ memberId, protocols: both.slice(1) }), joined.take);
  expect(joined.now.error).toBeUndefined();
});

test("a policy that forbids it leaves the group as it is", async () => {
  const harness = new ConsumerHarness({ "group.consumer.migration.policy": "disabled" });
  const topicId = harness.addTopic("t", 1);
  await classicGroup(harness, topicId, [0]);
  const message = "Cannot upgrade classic group g to consumer group because online upgrade is disabled.";
  expect(await new ConsumerClient(harness, "new", { topics: ["t"] }).beat()).toEqual({ error: "group-not-found", message });
  expect(harness.groups.get("g")?.kind).toBe("classic");
});

test("what consumers tell each other is read and written in its versions", () => {
  const written = writeAssignment(new Map([["id", [3, 4]]]), 1, () => "topic");
  expect(readAssignment(written)).toEqual({ partitions: new Map([["topic", [3, 4]]]), hasUserData: false });
  expect(Buffer.from(written).toString("hex")).toBe("00010000000100" + "05746f706963" + "000000020000000300000004ffffffff");
  expect(readSubscription(subscription("a", "b"))).toEqual({ version: 0, topics: ["a", "b"], owned: new Map(), rackId: undefined });
  expect(readSubscription(Buffer.from([0]))).toBeUndefined();
});

/** A classic member with 0 and 1, and a static consumer "new" of instance "i" with 2 and 3. */
async function classicAndStatic(harness: ConsumerHarness): Promise<ClassicClient> {
  const topicId = harness.addTopic("t", 4);
  const classic = new ClassicClient(harness, await classicGroup(harness, topicId, [0, 1, 2, 3]), 1);
  const consumer = new ConsumerClient(harness, "new", { topics: ["t"] }, "i");
  for (let round = 0; round < 4; round++) {
    await consumer.beat();
    await classic.beat();
  }
  expect(classic.partitions).toEqual([0, 1]);
  return classic;
}

test("a classic member with other topics in the last consumer's place: the group keeps its generation, so that others are told to join again", async () => {
  const harness = new ConsumerHarness();
  const classic = await classicAndStatic(harness);
  harness.addTopic("u", 1);
  const request = joinRequest({ groupInstanceId: "i", protocols: [{ name: "range", metadata: subscription("u") }] });
  const answer = await harness.served.join(harness.group, request);
  expect(answer).toMatchObject({ generation: 0, leaderId: "" });
  const group = harness.groups.get("g") as ClassicGroup;
  expect(group.state).toBe("PreparingRebalance");
  expect(group.generation).toBe(classic.generation);
  expect(group.heartbeat({ memberId: classic.memberId, groupInstanceId: undefined }, classic.generation)).toBe("rebalance-in-progress");
  expect(group.heartbeat({ memberId: answer.memberId, groupInstanceId: "i" }, 0)).toBe("illegal-generation");
  const held = readAssignment(group.roster.get(answer.memberId)?.assignment ?? new Uint8Array());
  expect(held?.partitions).toEqual(new Map([["t", [2, 3]]]));
});

test("the last consumer's place taken by its instance id makes the group classic, its id alone does not", async () => {
  for (const groupInstanceId of ["i", undefined]) {
    const harness = new ConsumerHarness();
    await classicAndStatic(harness);
    const answer = await harness.served.join(harness.group, joinRequest({ memberId: "new", groupInstanceId }));
    expect(answer).toMatchObject({ generation: 2, memberId: "new" });
    expect(harness.groups.get("g")?.kind).toBe(groupInstanceId === undefined ? "consumer" : "classic");
    expect(harness.groups.get("g")?.state).toBe("Stable");
  }
});
