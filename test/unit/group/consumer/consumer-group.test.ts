/** Groups of the consumer protocol (KIP-848) as their members see them. */
import { expect, test } from "bun:test";
import { preferredAssignor } from "../../../../src/group/consumer/consumer-group.ts";
import { isRefusal } from "../../../../src/group/consumer/consumer-group-types.ts";
import { countPartitions } from "../../../../src/group/consumer/topic-partitions.ts";
import { findCommitError, findFetchError, findStaleOffset } from "../../../../src/group/offsets/consumer-offset-checks.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { ConsumerClient, ConsumerHarness, REBALANCE_MS } from "./consumer-harness.ts";

const SESSION_MS = 45_000;

async function settle(clients: readonly ConsumerClient[], rounds = 6): Promise<void> {
  for (let round = 0; round < rounds; round++) for (const client of clients) await client.beat();
}

test("the first member is given everything; a second takes its half when the first has let it go", async () => {
  const harness = new ConsumerHarness();
  const topicId = harness.addTopic("t", 4);
  const first = new ConsumerClient(harness, "a", { topics: ["t"] });
  expect(await first.beat()).toMatchObject({ memberEpoch: 2, heartbeatIntervalMs: 5000, assignment: new Map([[topicId, [0, 1, 2, 3]]]) });
  const second = new ConsumerClient(harness, "b", { topics: ["t"] });
  expect(await second.beat()).toMatchObject({ memberEpoch: 3, assignment: new Map() });
  expect(harness.group.state).toBe("Reconciling");
  expect(await first.beat()).toMatchObject({ memberEpoch: 2, assignment: new Map([[topicId, [0, 1]]]) });
  expect(await second.beat()).toMatchObject({ memberEpoch: 3, assignment: undefined });
  expect(await first.beat()).toMatchObject({ memberEpoch: 3 });
  expect(await second.beat()).toMatchObject({ assignment: new Map([[topicId, [2, 3]]]) });
  expect(harness.group.state).toBe("Stable");
  harness.expectLogSaysTheSame();
});

test("a first member without topics, or with a pattern that matches none, changes nothing: the group and its target are at epoch 1", async () => {
  const harness = new ConsumerHarness();
  harness.addTopic("t", 4);
  expect(await new ConsumerClient(harness, "a", { topics: [] }).beat()).toMatchObject({ memberEpoch: 1, assignment: new Map() });
  expect(await new ConsumerClient(harness, "b", { topics: [], pattern: "x.*" }).beat()).toMatchObject({ memberEpoch: 1 });
  expect(harness.group.state).toBe("Stable");
  expect(await new ConsumerClient(harness, "c", { topics: ["t"] }).beat()).toMatchObject({ memberEpoch: 2 });
  harness.expectLogSaysTheSame();
});

test("the epoch counts a member's topics and what its pattern matches as two changes, as in Kafka 4.4", async () => {
  const harness = new ConsumerHarness();
  harness.addTopic("t", 1);
  harness.addTopic("u", 1);
  expect(await new ConsumerClient(harness, "a", { topics: ["t"], pattern: "u.*" }).beat()).toMatchObject({ memberEpoch: 3 });
  expect(await new ConsumerClient(harness, "b", { topics: [], pattern: "u.*" }).beat()).toMatchObject({ memberEpoch: 4 });
  harness.expectLogSaysTheSame();
});

test("what a member has yet to give up is described as its own, as in Kafka 4.4", async () => {
  const harness = new ConsumerHarness();
  const topicId = harness.addTopic("t", 4);
  const first = new ConsumerClient(harness, "a", { topics: ["t"] });
  await first.beat();
  await new ConsumerClient(harness, "b", { topics: ["t"] }).beat();
  await first.beat();
  expect(harness.group.getMember("a")?.progress.state).toBe("unrevoked-partitions");
  const [member] = harness.group.describe("uniform").members;
  expect(member).toMatchObject({ assigned: new Map([[topicId, [0, 1, 2, 3]]]), target: new Map([[topicId, [0, 1]]]) });
});

test("the assignor that most members ask for; of two that as many ask for, uniform", () => {
  expect(preferredAssignor(new Map())).toBeUndefined();
  expect(preferredAssignor(new Map([["range", 1]]))).toBe("range");
  expect(preferredAssignor(new Map(Object.entries({ range: 2, uniform: 1 })))).toBe("range");
  expect(preferredAssignor(new Map(Object.entries({ range: 1, uniform: 1 })))).toBe("uniform");
  expect(preferredAssignor(new Map(Object.entries({ uniform: 1, range: 1 })))).toBe("uniform");
});

test("between two targets lies the assignment interval", async () => {
  const harness = new ConsumerHarness({ "group.consumer.assignment.interval.ms": "1000" });
  harness.addTopic("t", 2);
  const first = new ConsumerClient(harness, "a", { topics: ["t"] });
  const second = new ConsumerClient(harness, "b", { topics: ["t"] });
  await first.beat();
  expect(await second.beat()).toMatchObject({ memberEpoch: 2, assignment: new Map() });
  expect(harness.group.state).toBe("Assigning");
  await harness.host.clock.advance(1000);
  await settle([first, second]);
  expect([first, second].map(({ owned }) => countPartitions(owned))).toEqual([1, 1]);
});

test("a clock that is set back, or is another broker's, delays neither a target nor a look at patterns", async () => {
  const harness = new ConsumerHarness({ "group.consumer.assignment.interval.ms": "1000" });
  harness.addTopic("logs-1", 1);
  const first = new ConsumerClient(harness, "a", { pattern: "logs-.*" });
  await first.beat();
  harness.host.clock.wallOffsetMs = -3_600_000;
  harness.addTopic("logs-2", 2);
  const second = new ConsumerClient(harness, "b", { pattern: "logs-.*" });
  await second.beat();
  await settle([first, second]);
  expect(harness.group.state).toBe("Stable");
  expect(countPartitions(first.owned) + countPartitions(second.owned)).toBe(3);
});

test("a member that does not give its partitions up in time is fenced, and one that sends nothing too", async () => {
  const harness = new ConsumerHarness({ "group.consumer.session.timeout.ms": String(SESSION_MS) });
  harness.addTopic("t", 2);
  const first = new ConsumerClient(harness, "a", { topics: ["t"] });
  const second = new ConsumerClient(harness, "b", { topics: ["t"] });
  await first.beat();
  await second.beat();
  await harness.send({ memberId: "a", memberEpoch: 2 });
  expect(harness.group.getMember("a")?.progress.state).toBe("unrevoked-partitions");
  await harness.host.clock.advance(REBALANCE_MS - 1);
  await harness.send({ memberId: "a", memberEpoch: 2 });
  await second.beat();
  await harness.host.clock.advance(2);
  expect(harness.group.getMember("a")).toBeUndefined();
  await harness.host.clock.advance(SESSION_MS);
  expect(harness.group.size).toBe(0);
  expect(harness.group.state).toBe("Empty");
  harness.expectLogSaysTheSame();
});

test("epochs: another than the member's is fenced, the one before is taken when its answer was lost", async () => {
  const harness = new ConsumerHarness();
  harness.addTopic("t", 2);
  const first = new ConsumerClient(harness, "a", { topics: ["t"] });
  await first.beat();
  expect(await harness.send({ memberId: "a", memberEpoch: 8 })).toMatchObject({ error: "fenced-member-epoch" });
  expect(await harness.send({ memberId: "x", memberEpoch: 2 })).toMatchObject({ error: "unknown-member" });
  expect(await harness.send({ groupId: "none", memberId: "x", memberEpoch: 2 })).toMatchObject({ error: "group-not-found" });
  const second = new ConsumerClient(harness, "b", { topics: ["t"] });
  await second.beat();
  await first.beat();
  await first.beat(true);
  expect(harness.group.getMember("a")?.progress.epoch).toBe(3);
  expect(await first.beat()).toMatchObject({ memberEpoch: 3 });
  expect(await harness.send({ memberId: "a", memberEpoch: 2 })).toMatchObject({ error: "fenced-member-epoch" });
});

test("static members: the instance id is its owner's until that leaves, and comes back to what it had", async () => {
  const harness = new ConsumerHarness();
  harness.addTopic("t", 4);
  const first = new ConsumerClient(harness, "a", { topics: ["t"] }, "i1");
  const second = new ConsumerClient(harness, "b", { topics: ["t"] }, "i2");
  await settle([first, second]);
  const { owned } = first;
  const { epoch } = harness.group;
  const impostor = new ConsumerClient(harness, "c", { topics: ["t"] }, "i1");
  expect(await impostor.beat()).toMatchObject({ error: "unreleased-instance" });
  expect(await harness.send({ memberId: "c", memberEpoch: 2, instanceId: "i1" })).toMatchObject({ error: "fenced-instance" });
  const anew = { memberId: "a", memberEpoch: 0, instanceId: "i1", rebalanceTimeoutMs: REBALANCE_MS, topics: ["t"], owned: new Map() };
  expect(await harness.send(anew)).toMatchObject({ error: "unreleased-instance" });
  expect(await first.leave(-2)).toMatchObject({ memberEpoch: -2 });
  expect(harness.group.size).toBe(2);
  const again = new ConsumerClient(harness, "d", { topics: ["t"] }, "i1");
  expect(await again.beat()).toMatchObject({ memberEpoch: epoch, assignment: owned });
  expect(harness.group.epoch).toBe(epoch);
  expect(harness.group.getMember("a")).toBeUndefined();
  harness.expectLogSaysTheSame();
  expect(await again.leave()).toMatchObject({ memberEpoch: -1 });
  await settle([second]);
  expect(countPartitions(second.owned)).toBe(4);
});

test("an empty group's target is at its epoch, since nobody is left to make one", async () => {
  const harness = new ConsumerHarness();
  harness.addTopic("t", 1);
  const client = new ConsumerClient(harness, "a", { topics: ["t"] });
  await client.beat();
  await client.leave();
  expect(harness.group.describe("uniform")).toMatchObject({ groupEpoch: 3, assignmentEpoch: 3, state: "Empty" });
  harness.expectLogSaysTheSame();
});

test("a member that has given up what it had to, but then has more to give up, stays at its epoch", async () => {
  const harness = new ConsumerHarness();
  const topicId = harness.addTopic("t", 3);
  harness.addTopic("u", 1);
  await harness.send({ memberId: "a", memberEpoch: 0, rebalanceTimeoutMs: REBALANCE_MS, topics: ["t"], owned: new Map() });
  await new ConsumerClient(harness, "b", { topics: ["t"] }).beat();
  expect(await harness.send({ memberId: "a", memberEpoch: 2 })).toMatchObject({ memberEpoch: 2 });
  expect(harness.group.getMember("a")?.progress.state).toBe("unrevoked-partitions");
  const owned = new Map([[topicId, [0]]]);
  expect(await harness.send({ memberId: "a", memberEpoch: 2, topics: ["u"], owned })).toMatchObject({ memberEpoch: 2 });
  expect(await harness.send({ memberId: "a", memberEpoch: 2, owned: new Map() })).toMatchObject({ memberEpoch: 4 });
});

test("the epoch before is not taken from a member that has been heard under its epoch, also while it waits for partitions", async () => {
  const harness = new ConsumerHarness();
  harness.addTopic("t", 2);
  await new ConsumerClient(harness, "a", { topics: ["t"] }).beat();
  const waiting = new ConsumerClient(harness, "b", { topics: ["t"] });
  await waiting.beat();
  waiting.subscribe({ topics: ["t", "later"] });
  expect(await waiting.beat()).toMatchObject({ memberEpoch: 4 });
  const before = { memberId: "b", memberEpoch: 3, owned: new Map() };
  expect(await harness.send(before)).toMatchObject({ memberEpoch: 4 });
  await waiting.beat();
  expect(harness.group.getMember("b")?.progress.state).toBe("unreleased-partitions");
  expect(await harness.send(before)).toMatchObject({ error: "fenced-member-epoch" });
});

test("a pattern follows topics that come; one that is not RE2 is refused", async () => {
  const harness = new ConsumerHarness();
  harness.addTopic("logs-1", 1);
  harness.addTopic("other", 1);
  const client = new ConsumerClient(harness, "a", { pattern: "logs-.*" });
  await client.beat();
  expect(countPartitions(client.owned)).toBe(1);
  harness.addTopic("logs-2", 3);
  await client.beat();
  expect(countPartitions(client.owned)).toBe(1);
  await harness.host.clock.advance(11_000);
  await client.beat();
  expect(countPartitions(client.owned)).toBe(4);
  expect(harness.group.isSubscribedTo("logs-2")).toBe(true);
  harness.expectLogSaysTheSame();
  client.subscribe({ topics: ["other"], pattern: "" });
  await settle([client]);
  expect(harness.group.patterns().size).toBe(0);
  client.subscribe({ pattern: "(?<=a)b" });
  expect(await client.beat()).toMatchObject({ error: "invalid-regular-expression" });
});

test("topics that grow, go and come again change the target", async () => {
  const harness = new ConsumerHarness();
  const topicId = harness.addTopic("t", 1);
  const client = new ConsumerClient(harness, "a", { topics: ["t", "later"] });
  await client.beat();
  await harness.metadata.createPartitions([{ topicId, totalCount: 3 }]);
  await client.beat();
  expect(countPartitions(client.owned)).toBe(3);
  const later = harness.addTopic("later", 2);
  await client.beat();
  expect(client.owned.get(later)).toEqual([0, 1]);
  await harness.metadata.deleteTopics([topicId]);
  await settle([client]);
  expect([...client.owned.keys()]).toEqual([later]);
  harness.expectLogSaysTheSame();
});

test("commits: under the member's epoch, or an older one for what it has had since; one that is too old refuses all, as in Kafka 4.4", async () => {
  const harness = new ConsumerHarness();
  const topicId = harness.addTopic("t", 2);
  const first = new ConsumerClient(harness, "a", { topics: ["t"] });
  await first.beat();
  const second = new ConsumerClient(harness, "b", { topics: ["t"] });
  await settle([first, second]);
  const of = (memberId: string, generation: number) => ({ memberId, groupInstanceId: undefined, generation });
  const kind = { isTransactional: false, isNewClient: true };
  expect(findCommitError(harness.group, of("a", 3), kind)).toBeUndefined();
  expect(findCommitError(harness.group, of("a", 4), kind)).toBe("stale-member-epoch");
  expect(findCommitError(harness.group, of("a", 3), { ...kind, isNewClient: false })).toBe("unsupported-version");
  expect(findCommitError(harness.group, of("", -1), kind)).toBe("unknown-member");
  expect(findCommitError(harness.group, of("", -1), { ...kind, isTransactional: true })).toBeUndefined();
  const [kept = -1] = first.owned.get(topicId) ?? [];
  const at = (partition: number) => ({ topicId, partition });
  expect(findStaleOffset(harness.group, of("a", 2), [at(kept)])).toBeUndefined();
  expect(findStaleOffset(harness.group, of("a", 2), [at(kept), at(1 - kept)])).toBe("stale-member-epoch");
  expect(findStaleOffset(harness.group, of("b", 2), [at(1 - kept)])).toBe("stale-member-epoch");
  expect(findFetchError(harness.group, { memberId: "a", memberEpoch: 2 })).toBe("stale-member-epoch");
  expect(findFetchError(harness.group, { memberId: "z", memberEpoch: 2 })).toBe("unknown-member");
});

test("a static member that has left and is back may commit what it had under any epoch, as in Kafka 4.4", async () => {
  const harness = new ConsumerHarness();
  const topicId = harness.addTopic("t", 1);
  const client = new ConsumerClient(harness, "a", { topics: ["t"] }, "i");
  await client.beat();
  const commit = { memberId: "a", groupInstanceId: "i", generation: 1 };
  expect(findStaleOffset(harness.group, commit, [{ topicId, partition: 0 }])).toBe("stale-member-epoch");
  await client.leave(-2);
  expect(await client.beat()).toMatchObject({ memberEpoch: 2 });
  expect(findStaleOffset(harness.group, commit, [{ topicId, partition: 0 }])).toBeUndefined();
  harness.expectLogSaysTheSame();
});

test("of assignors that as many ask for, one that is new is taken, and told of is uniform, as in Kafka 4.4", () => {
  const counts = new Map([
    ["range", 1],
    ["uniform", 1],
  ]);
  expect(preferredAssignor(counts)).toBe("uniform");
  expect(preferredAssignor(counts, (name) => name === "range")).toBe("range");
  expect(preferredAssignor(new Map([...counts, ["range", 2]]))).toBe("range");
  expect(preferredAssignor(new Map())).toBeUndefined();
});

test("a full group takes no more members", async () => {
  const harness = new ConsumerHarness({ "group.consumer.max.size": "1" });
  harness.addTopic("t", 1);
  await new ConsumerClient(harness, "a", { topics: ["t"] }).beat();
  const message = "The consumer group has reached its maximum capacity of 1 members.";
  expect(await new ConsumerClient(harness, "b", { topics: ["t"] }).beat()).toEqual({ error: "group-full", message });
});

/** No partition is ever two clients' at once, whatever is lost, and in the end everything has an owner. */
function expectNoTwoOwners(clients: readonly ConsumerClient[]): void {
  const seen = new Set<string>();
  for (const { owned } of clients) {
    for (const [topicId, partitions] of owned) {
      for (const partition of partitions) {
        expect(seen.has(`${topicId}-${partition}`)).toBe(false);
        seen.add(`${topicId}-${partition}`);
      }
    }
  }
}

test.each(Array.from({ length: 40 }, (_, seed) => seed))("members at random, seed %i", async (seed) => {
  const random = new SeededRandom(seed);
  const harness = new ConsumerHarness({ "group.consumer.assignors": seed % 3 === 0 ? "range" : "uniform" });
  const names = ["t0", "t1", "t2"];
  let partitions = 0;
  for (const name of names) {
    const count = 1 + random.nextInt(6);
    partitions += count;
    harness.addTopic(name, count);
  }
  const clients: ConsumerClient[] = [];
  let born = 0;
  const bear = (): void => {
    const subscription = random.chance(30) ? { pattern: "t.*" } : { topics: random.chance(70) ? names : [random.pick(names)] };
    clients.push(new ConsumerClient(harness, `m${born++}`, subscription, random.chance(30) ? `i${born}` : undefined));
  };
  bear();
  for (let step = 0; step < 150; step++) {
    const client = clients[random.nextInt(clients.length)];
    const what = random.nextInt(100);
    if (what < 6 && clients.length < 6) bear();
    else if (client === undefined) continue;
    else if (what < 10 && clients.length > 1) {
      await client.leave();
      clients.splice(clients.indexOf(client), 1);
    } else if (what < 14 && client.instanceId !== undefined) {
      await client.leave(-2);
      clients[clients.indexOf(client)] = new ConsumerClient(harness, `m${born++}`, client.subscription, client.instanceId);
    } else if (what < 18) harness.restart();
    else if (what < 22) client.subscribe({ topics: random.chance(50) ? names : [random.pick(names)], pattern: "" });
    else await client.beat(random.chance(10));
    expectNoTwoOwners(clients);
  }
  for (const client of clients) client.subscribe({ topics: names, pattern: "" });
  // Who left for a while and did not come back is dropped when its session ends.
  await settle(clients, 12);
  await harness.host.clock.advance(SESSION_MS / 2);
  await settle(clients, 1);
  await harness.host.clock.advance(SESSION_MS / 2);
  await settle(clients, 12);
  expectNoTwoOwners(clients);
  expect(harness.group.state).toBe("Stable");
  expect(clients.reduce((sum, { owned }) => sum + countPartitions(owned), 0)).toBe(partitions);
  expect(isRefusal((await clients[0]?.beat()) ?? {})).toBe(false);
  harness.expectLogSaysTheSame();
});
