/** Several members of the classic protocol beside members of the consumer protocol: join, sync, heartbeat and leave in all orders. */
import { ClassicActor, ConsumerActor, leaveAll } from "./actors.ts";
import type { Script } from "./script.ts";
import type { Side } from "./side.ts";

/** A consumer, and classic members with ids of their own choice (the coordinator of a consumer group takes any). */
async function mixed(side: Side, names: readonly string[]): Promise<{ consumer: ConsumerActor; classics: ClassicActor[] }> {
  const consumer = await ConsumerActor.make(side, "m");
  await consumer.beat();
  const classics: ClassicActor[] = [];
  for (const name of names) {
    const actor = await ClassicActor.make(side, name);
    await actor.joinNow({ memberId: `${name}-id` });
    await actor.syncNow();
    classics.push(actor);
  }
  await settle(consumer, classics);
  return { consumer, classics };
}

async function settle(consumer: ConsumerActor, classics: readonly ClassicActor[], rounds = 3): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    await consumer.beat();
    for (const each of classics) await each.follow();
  }
  await consumer.side.describe();
}

export const memberScripts: readonly Script[] = [
  {
    name: "two classic members join a consumer group one after the other",
    async run(side) {
      await mixed(side, ["c1", "c2"]);
    },
  },
  {
    name: "a classic member joins without an id, by old and new versions",
    async run(side) {
      const consumer = await ConsumerActor.make(side, "m", { assignor: null });
      await consumer.beat();
      const [fresh, old] = [await ClassicActor.make(side, "fresh"), await ClassicActor.make(side, "old")];
      await fresh.joinNow();
      await side.describe();
      await fresh.syncNow();
      await fresh.beat();
      await fresh.leave();
      await old.joinNow({}, 3);
      await old.syncNow([], { protocolType: null, protocolName: null });
      await old.beat();
      await side.describe();
    },
  },
  {
    name: "syncs in the other order, twice, and with what is not the member's",
    async run(side) {
      const consumer = await ConsumerActor.join(side, "m");
      const [first, second] = [
        await ClassicActor.make(side, "c1"),
        await ClassicActor.make(side, "c2", { protocols: ["range", "roundrobin"] }),
      ];
      await first.syncNow([], { memberId: "c1-id", generationId: 1 });
      await first.joinNow({ memberId: "c1-id" });
      await second.joinNow({ memberId: "c2-id" });
      await second.syncNow();
      await second.syncNow();
      await first.syncNow();
      await first.beat();
      await second.beat();
      await consumer.beat();
      await first.syncNow([], { generationId: 77 });
      await second.syncNow([], { protocolName: "roundrobin" });
      await second.syncNow([], { protocolType: "other" });
      await second.syncNow([], { protocolType: null, protocolName: null });
      await second.syncNow([], { groupInstanceId: "nobody" });
      await second.syncNow([], { memberId: "nobody" });
      await second.syncNow([], { memberId: "member-m" });
      await second.syncNow([
        [first, { t: [0, 1, 2, 3, 4, 5] }],
        [second, {}],
      ]);
      await second.beat(false, 1);
      await second.beat(false, 99);
      await side.describe();
    },
  },
  {
    name: "joins again and again without anything new",
    async run(side) {
      const { consumer, classics } = await mixed(side, ["c1", "c2"]);
      for (const each of classics) {
        await each.joinNow();
        await each.beat();
        await each.syncNow();
        await each.beat();
      }
      await settle(consumer, classics, 1);
    },
  },
  {
    name: "a classic member that keeps what it was told to give up",
    async run(side) {
      const { consumer, classics } = await mixed(side, ["c1"]);
      const [first] = classics as [ClassicActor];
      const newcomer = await ClassicActor.make(side, "c2");
      await newcomer.joinNow({ memberId: "c2-id" });
      await newcomer.syncNow();
      await first.beat();
      const before = first.owned;
      await first.joinNow();
      await first.syncNow();
      first.owned = before;
      await first.beat();
      await first.joinNow();
      await first.syncNow();
      await side.describe();
      await first.joinNow();
      await first.syncNow();
      await first.beat();
      await newcomer.beat();
      await settle(consumer, [first, newcomer]);
    },
  },
  {
    name: "classic members leave one by one",
    async run(side) {
      const { consumer, classics } = await mixed(side, ["c1", "c2"]);
      const [first, second] = classics as [ClassicActor, ClassicActor];
      await first.leave();
      await first.leave();
      await second.beat();
      await consumer.beat();
      await settle(consumer, [second]);
      await second.leave();
      await settle(consumer, []);
      await consumer.leave();
      await side.describe();
    },
  },
  {
    name: "leaves of several members in one request",
    async run(side) {
      const { consumer, classics } = await mixed(side, ["c1", "c2"]);
      const fixed = await ClassicActor.make(side, "fixed", { instanceId: "i" });
      await fixed.joinNow();
      await fixed.syncNow();
      const fixedConsumer = await ConsumerActor.make(side, "n", { instanceId: "j" });
      await fixedConsumer.beat();
      await settle(consumer, [...classics, fixed], 1);
      const connection = await side.connect();
      await leaveAll(side, connection, "some leave", [
        ["nobody", null],
        ["c1-id", null],
        ["c1-id", null],
        ["c2-id", "i"],
        ["", "i"],
        ["", "nobody"],
        ["", null],
      ]);
      await side.describe();
      await leaveAll(side, connection, "consumers leave", [
        ["", "j"],
        ["member-m", null],
      ]);
      await side.describe("group", false);
      await consumer.beat();
      await fixedConsumer.beat();
      for (const each of classics) await each.beat();
    },
  },
  {
    name: "all leave in one request",
    async run(side) {
      const { classics } = await mixed(side, ["c1", "c2"]);
      const connection = await side.connect();
      await leaveAll(side, connection, "all leave", [
        ["c1-id", null],
        ["c2-id", null],
        ["member-m", null],
      ]);
      await side.describe();
      for (const each of classics) await each.beat();
    },
  },
  {
    name: "classic members of other topics, and one that changes its topics",
    async run(side) {
      const { consumer, classics } = await mixed(side, ["c1"]);
      const [first] = classics as [ClassicActor];
      const other = await ClassicActor.make(side, "c2", { topics: ["u"] });
      await other.joinNow({ memberId: "c2-id" });
      await other.syncNow();
      await settle(consumer, [first, other]);
      first.options = { ...first.options, topics: ["u"] };
      await first.joinNow();
      await first.syncNow();
      await first.beat();
      await settle(consumer, [first, other]);
      first.options = { ...first.options, topics: ["missing", "u", "t"] };
      await first.joinNow();
      await first.syncNow();
      await settle(consumer, [first, other]);
      first.options = { ...first.options, topics: [] };
      await first.joinNow();
      await first.syncNow();
      await settle(consumer, [first, other]);
    },
  },
  {
    name: "protocols that fit and that do not",
    async run(side) {
      const { consumer, classics } = await mixed(side, ["c1"]);
      const [first] = classics as [ClassicActor];
      const other = await ClassicActor.make(side, "c2", { protocols: ["roundrobin"] });
      await other.joinNow({ memberId: "c2-id" });
      other.options = { ...other.options, protocols: ["roundrobin", "range"] };
      await other.joinNow({ memberId: "c2-id", protocolType: "connect" });
      await other.joinNow({ memberId: "c2-id" });
      await other.syncNow();
      first.options = { ...first.options, protocols: ["roundrobin"] };
      await first.joinNow();
      first.options = { ...first.options, protocols: ["cooperative-sticky", "range"] };
      await first.joinNow();
      await first.syncNow();
      await other.follow();
      await other.joinNow({ protocols: [] });
      await other.joinNow({ protocols: [{ name: "range", metadata: Buffer.from([]) }] });
      await other.joinNow({ protocols: [{ name: "range", metadata: Buffer.from([0, 1, 0, 0, 0]) }] });
      await settle(consumer, [first, other]);
    },
  },
  {
    name: "subscriptions of versions 0 to 3",
    async run(side) {
      const { consumer, classics } = await mixed(side, []);
      for (const version of [0, 2, 3]) {
        const actor = await ClassicActor.make(side, `v${version}`, { version });
        await actor.joinNow({ memberId: `v${version}-id` });
        await actor.syncNow();
        classics.push(actor);
      }
      await settle(consumer, classics);
    },
  },
  {
    name: "a member goes on by the other protocol under the same id",
    async run(side) {
      const { consumer, classics } = await mixed(side, ["c1"]);
      const [first] = classics as [ClassicActor];
      const turned = await ConsumerActor.make(side, "turned");
      Object.assign(turned, { memberId: "c1-id" });
      turned.epoch = first.generation;
      await turned.beat();
      turned.epoch = 0;
      await turned.beat();
      await first.beat();
      await first.syncNow();
      await side.describe();
      const back = await ClassicActor.make(side, "back");
      await back.joinNow({ memberId: "member-m" });
      await back.syncNow();
      await consumer.beat();
      await side.describe();
    },
  },
  {
    name: "static members of the classic protocol come back in a mixed group",
    async run(side) {
      const { consumer } = await mixed(side, []);
      const [first, second] = [
        await ClassicActor.make(side, "s1", { instanceId: "i" }),
        await ClassicActor.make(side, "s2", { instanceId: "i" }),
      ];
      await first.joinNow();
      await first.syncNow();
      await settle(consumer, [first]);
      await second.joinNow();
      await second.syncNow();
      await first.beat();
      await first.syncNow();
      await first.joinNow();
      await first.leave();
      await side.describe();
      await settle(consumer, [second], 2);
      const third = await ClassicActor.make(side, "s3", { instanceId: "other" });
      await third.joinNow({ memberId: "unknown-id" });
      await second.joinNow({ groupInstanceId: null });
      await second.beat();
      await side.describe();
    },
  },
  {
    name: "the group is full",
    async run(side) {
      const { consumer, classics } = await mixed(side, ["c1", "c2", "c3", "c4"]);
      const late = await ClassicActor.make(side, "late");
      await late.joinNow();
      await late.joinNow({ memberId: "late-id" });
      const lateConsumer = await ConsumerActor.make(side, "n");
      await lateConsumer.beat();
      await classics[0]?.joinNow();
      // Four classic members stay, one more than a classic group may have.
      await consumer.leave();
      await side.describe();
      // Nothing is said here of a heartbeat of theirs: Kafka's tells nobody to join again, and what the member that left had is read by nobody.
      await classics[0]?.leave();
      await side.describe("group", false);
    },
  },
  {
    name: "commits of classic members",
    async run(side) {
      const { consumer, classics } = await mixed(side, ["c1", "c2"]);
      const [first, second] = classics as [ClassicActor, ClassicActor];
      for (const version of [2, 8, 9]) await first.commit(1n, version);
      const generation = first.generation;
      first.generation = generation + 1;
      await first.commit(2n);
      first.generation = generation - 1;
      await first.commit(2n, 8);
      first.generation = -1;
      await first.commit(2n);
      first.generation = generation;
      await second.leave();
      await first.commit(3n);
      await second.commit(3n);
      await consumer.beat();
      await first.commit(4n);
    },
  },
  {
    name: "settings of the group change while members are there",
    async run(side) {
      const { consumer, classics } = await mixed(side, ["c1"]);
      await side.configure({ "consumer.heartbeat.interval.ms": "700" });
      await consumer.untilInterval(700);
      await side.configure({ "consumer.session.timeout.ms": "600" });
      await side.configure({ "consumer.heartbeat.interval.ms": "200", "consumer.session.timeout.ms": "700" });
      await consumer.untilInterval(200);
      side.startTime();
      await consumer.beat({}, true);
      await classics[0]?.beat();
      // The classic member's session is the one of its join.
      await side.untilGone("member-m", 700);
      await side.describe();
      await classics[0]?.beat();
    },
  },
  {
    name: "static members come back to a group that is full",
    async run(side) {
      const { consumer } = await mixed(side, ["c1", "c2"]);
      const fixed = await ConsumerActor.make(side, "f", { instanceId: "i" });
      await fixed.beat();
      const fixedClassic = await ClassicActor.make(side, "g", { instanceId: "j" });
      await fixedClassic.joinNow();
      await fixedClassic.syncNow();
      await fixed.leave(-2);
      const next = await ConsumerActor.make(side, "next", { instanceId: "i" });
      await next.beat();
      const nextClassic = await ClassicActor.make(side, "h", { instanceId: "j" });
      await nextClassic.joinNow();
      await nextClassic.syncNow();
      const turned = await ConsumerActor.make(side, "turned", { instanceId: "j" });
      await turned.beat();
      const back = await ClassicActor.make(side, "back", { instanceId: "i" });
      await back.joinNow();
      const late = await ClassicActor.make(side, "late", { protocols: ["roundrobin"] });
      await late.joinNow({}, 3);
      await late.joinNow({ protocolType: "connect" }, 3);
      await consumer.beat();
      await side.describe();
    },
  },
  {
    name: "leaves by the other protocol",
    async run(side) {
      const { consumer, classics } = await mixed(side, ["c1", "c2"]);
      const connection = await side.connect();
      const twin = await ConsumerActor.make(side, "twin");
      Object.assign(twin, { memberId: "c1-id" });
      await twin.leave(-2);
      await twin.leave(-1);
      await side.describe();
      const fixed = await ClassicActor.make(side, "fixed", { instanceId: "i" });
      await fixed.joinNow();
      await fixed.syncNow();
      const fixedTwin = await ConsumerActor.make(side, "fixedTwin", { instanceId: "i" });
      await fixedTwin.leave(-1);
      Object.assign(fixedTwin, { memberId: fixed.memberId });
      await fixedTwin.leave(-2);
      await side.describe();
      await fixed.beat();
      await fixed.syncNow();
      await fixed.joinNow();
      await side.describe();
      await consumer.leave(-2);
      await consumer.beat();
      await leaveAll(side, connection, "the wrong ones leave", [
        ["member-m", "i"],
        ["c2-id", null],
      ]);
      await classics[1]?.beat();
      await settle(consumer, [], 2);
    },
  },
  {
    name: "requests that are not for this group, and time-outs out of bounds",
    async run(side) {
      const { consumer } = await mixed(side, ["c1"]);
      const odd = await ClassicActor.make(side, "odd");
      await odd.joinNow({ memberId: "odd-id", sessionTimeoutMs: 100 });
      await odd.joinNow({ memberId: "odd-id", sessionTimeoutMs: 4_000_000 });
      await odd.joinNow({ memberId: "odd-id" });
      await odd.syncNow([], { memberId: "" });
      await odd.beat(false, -1);
      odd.memberId = "";
      await odd.beat(false, 3);
      await odd.leave();
      await odd.syncNow([], { memberId: "odd-id", generationId: -1 });
      await consumer.beat();
      await side.describe();
    },
  },
  {
    name: "a static member comes back under its own id, and is left for good while it is away",
    async run(side) {
      const [fixed, other] = [await ConsumerActor.make(side, "f", { instanceId: "i" }), await ConsumerActor.make(side, "other")];
      for (const each of [fixed, other, fixed, other, fixed]) await each.beat();
      const epoch = fixed.epoch;
      await fixed.leave(-2);
      fixed.epoch = epoch;
      await fixed.beat();
      fixed.epoch = 0;
      await fixed.beat();
      await side.describe();
      await fixed.leave(-2);
      await fixed.leave(-2);
      await fixed.leave(-1);
      await side.describe();
      await fixed.leave(-1);
      await other.beat();
      await side.describe();
    },
  },
];
