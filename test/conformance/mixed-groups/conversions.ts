/** Groups that go from one protocol to the other with several members of the classic one, or that may not. */
import { ClassicActor, ConsumerActor, classicGroup, rejoin } from "./actors.ts";
import type { Script } from "./script.ts";
import type { Side } from "./side.ts";

/** With instance ids `range` gives what by these, and not by ids that each server made. */
async function pair(side: Side, isStatic = false): Promise<[ClassicActor, ClassicActor]> {
  const make = (name: string) => ClassicActor.make(side, name, { instanceId: isStatic ? `instance-${name}` : null });
  const [first, second] = [await make("c1"), await make("c2")];
  await classicGroup([
    [first, { t: [0, 1, 2] }],
    [second, { t: [3, 4, 5] }],
  ]);
  return [first, second];
}

/** A classic group of one, which has all of "t". */
async function alone(side: Side): Promise<ClassicActor> {
  const classic = await ClassicActor.make(side, "c1");
  await classicGroup([[classic, { t: [0, 1, 2, 3, 4, 5] }]]);
  return classic;
}

async function settle(consumers: readonly ConsumerActor[], classics: readonly ClassicActor[], rounds = 3): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (const each of classics) await each.follow();
    for (const each of consumers) await each.beat();
  }
  await (consumers[0] ?? classics[0])?.side.describe();
}

export const conversionScripts: readonly Script[] = [
  {
    name: "upgrade with two classic members, and downgrade",
    async run(side) {
      const [first, second] = await pair(side);
      await side.describe();
      const consumer = await ConsumerActor.make(side, "m", { assignor: null });
      await consumer.beat();
      await side.describe();
      await first.syncNow();
      await second.beat();
      await settle([consumer], [first, second]);
      await consumer.leave();
      await side.describe();
      await rejoin([first, second], [{ t: [0, 1, 2] }, { t: [3, 4, 5] }]);
    },
  },
  {
    name: "upgrade while the classic group prepares a rebalance",
    async run(side) {
      const [first, second] = await pair(side, true);
      const third = await ClassicActor.make(side, "c3", { instanceId: "instance-c3" });
      const waiting = third.join();
      await first.untilRebalance();
      const again = first.join();
      await second.untilRebalance();
      const consumer = await ConsumerActor.make(side, "m", { instanceId: "instance-m" });
      await consumer.beat();
      if ((await Promise.race([waiting, Bun.sleep(1500)])) === undefined) {
        side.say("they still wait", true);
        for (const each of [waiting, again]) each.catch(() => {});
        return;
      }
      (await waiting)();
      (await again)();
      await side.describe();
      await second.beat();
      await third.joinNow();
      await third.syncNow();
      await first.beat();
      await settle([consumer], [first, second, third], 4);
    },
  },
  {
    name: "upgrade while the classic group waits for its leader",
    async run(side) {
      const [first, second] = await pair(side);
      first.options = { ...first.options, topics: ["t", "u"] };
      const joining = first.join();
      await second.untilRebalance();
      const other = second.join();
      for (const each of [joining, other]) (await each)();
      const syncing = second.sync();
      await side.describe();
      const consumer = await ConsumerActor.make(side, "m", { assignor: null });
      await consumer.beat();
      if ((await Promise.race([syncing, Bun.sleep(1500)])) === undefined) {
        side.say("it still waits", true);
        syncing.catch(() => {});
        return;
      }
      (await syncing)();
      await side.describe();
      await first.syncNow([[first, { t: [0] }]]);
      await settle([consumer], [first, second], 4);
    },
  },
  {
    name: "upgrade of members with other topics, several protocols and cooperative ones",
    async run(side) {
      const first = await ClassicActor.make(side, "c1", { protocols: ["range", "cooperative-sticky"], topics: ["t", "u"] });
      const second = await ClassicActor.make(side, "c2", { protocols: ["cooperative-sticky", "range"], topics: ["u"] });
      await classicGroup([
        [first, { t: [0, 1, 2, 3, 4, 5] }],
        [second, { u: [0, 1] }],
      ]);
      await side.describe();
      const consumer = await ConsumerActor.make(side, "m", { topics: ["u"], assignor: null });
      await consumer.beat();
      await side.describe();
      await settle([consumer], [first, second], 4);
      await consumer.leave();
      await rejoin([first, second], [{ t: [0, 1, 2] }, { t: [3, 4, 5] }]);
    },
  },
  {
    name: "upgrade by a member that names no topic, or an assignor",
    async run(side) {
      const [first, second] = await pair(side, true);
      const consumer = await ConsumerActor.make(side, "m", { topics: [] });
      await consumer.beat({ serverAssignor: "range" });
      await side.describe();
      await settle([consumer], [first, second], 2);
    },
  },
  {
    name: "a heartbeat that does not join upgrades nothing",
    async run(side) {
      const [first] = await pair(side);
      const consumer = await ConsumerActor.make(side, "m", { assignor: null });
      consumer.epoch = 1;
      await consumer.beat();
      await consumer.leave();
      await consumer.beat({ serverAssignor: "nobody" });
      await first.beat();
      await side.describe();
    },
  },
  {
    name: "an upgrade is not for groups of something else, or of too many",
    async run(side) {
      const first = await ClassicActor.make(side, "c1");
      const joining = await first.join({ protocolType: "connect" });
      joining();
      await first.syncNow([], { protocolType: "connect" });
      const consumer = await ConsumerActor.make(side, "m", { assignor: null });
      await consumer.beat();
      await side.describe();
    },
  },
  {
    name: "a classic member leaves, then the last consumer, then the rest",
    async run(side) {
      const [first, second] = await pair(side, true);
      const consumer = await ConsumerActor.make(side, "m", { instanceId: "instance-m" });
      await consumer.beat();
      await settle([consumer], [first, second], 2);
      await first.leave();
      await settle([consumer], [second], 2);
      await consumer.leave();
      await rejoin([second], [{ t: [0, 1] }]);
      await second.leave();
      await side.describe();
    },
  },
  {
    name: "the last consumer leaves while a classic member has not given up its partitions",
    async run(side) {
      const [first, second] = await pair(side);
      const consumer = await ConsumerActor.make(side, "m", { assignor: null });
      await consumer.beat();
      await first.beat();
      await first.joinNow();
      await consumer.leave();
      await first.syncNow();
      await second.syncNow();
      await rejoin([first, second], [{ t: [0, 1, 2] }, { t: [3, 4, 5] }]);
    },
  },
  {
    name: "a static member is upgraded alone by its instance id, and goes back",
    async run(side) {
      const fixed = await ClassicActor.make(side, "s", { instanceId: "i" });
      await classicGroup([[fixed, { t: [0, 1, 2, 3, 4, 5] }]]);
      const upgraded = await ConsumerActor.make(side, "m", { instanceId: "i" });
      await upgraded.beat();
      await side.describe();
      await fixed.beat();
      await fixed.joinNow();
      await upgraded.beat();
      const back = await ClassicActor.make(side, "back", { instanceId: "i" });
      await back.joinNow();
      await back.syncNow();
      await back.beat();
      await upgraded.beat();
      await side.describe();
    },
  },
  {
    name: "static members are upgraded one by one by their instance ids, and go back one by one",
    async run(side) {
      const [first, second] = [
        await ClassicActor.make(side, "s1", { instanceId: "i1" }),
        await ClassicActor.make(side, "s2", { instanceId: "i2" }),
      ];
      await classicGroup([
        [first, { t: [0, 1, 2] }],
        [second, { t: [3, 4, 5] }],
      ]);
      const upgraded = await ConsumerActor.make(side, "m1", { instanceId: "i1" });
      await upgraded.beat();
      await side.describe();
      await first.beat();
      await second.follow();
      await upgraded.beat();
      const other = await ConsumerActor.make(side, "m2", { instanceId: "i2" });
      await other.beat();
      await settle([upgraded, other], []);
      await second.beat();
      const back = await ClassicActor.make(side, "b1", { instanceId: "i1" });
      await back.joinNow();
      await back.syncNow();
      await side.describe();
      await other.beat();
      await other.leave(-2);
      await side.describe();
      await back.beat();
      const last = await ClassicActor.make(side, "b2", { instanceId: "i2" });
      await last.joinNow();
      await last.syncNow();
      await back.beat();
      await last.beat();
      await side.describe();
    },
  },
  {
    name: "the last consumer is replaced by a classic member with its instance id and other topics, while another has to join again",
    async run(side) {
      const classic = await alone(side);
      const fixed = await ConsumerActor.make(side, "m", { instanceId: "i", assignor: null });
      await fixed.beat();
      await settle([fixed], [classic]);
      const back = await ClassicActor.make(side, "back", { instanceId: "i", topics: ["t", "u"] });
      await back.joinNow();
      await side.describe();
      await back.syncNow();
      await back.beat();
      await classic.beat();
    },
  },
  {
    name: "the last consumer has left for a while when only classic members are left",
    async run(side) {
      const classic = await alone(side);
      const fixed = await ConsumerActor.make(side, "m", { instanceId: "i", assignor: null });
      await fixed.beat();
      await settle([fixed], [classic]);
      await fixed.leave(-2);
      await side.describe();
      await classic.beat();
      const again = await ConsumerActor.make(side, "again", { instanceId: "i" });
      await again.beat();
      await settle([again], [classic], 1);
      await again.leave(-1);
      await rejoin([classic], [{ t: [0, 1] }]);
    },
  },
  {
    name: "an empty group of either kind takes a member of the other",
    async run(side) {
      const consumer = await ConsumerActor.make(side, "m", { assignor: null });
      await consumer.beat();
      await consumer.leave();
      await side.describe();
      const classic = await ClassicActor.make(side, "c1");
      await classicGroup([[classic, { t: [0, 1] }]]);
      await side.describe();
      await classic.leave();
      await side.describe();
      await consumer.beat();
      await side.describe();
      const other = await ClassicActor.make(side, "c2");
      await other.joinNow();
      await side.describe();
    },
  },
  {
    name: "only classic members are left, and one more joins",
    async run(side) {
      const [first, second] = await pair(side);
      const third = await ClassicActor.make(side, "c3");
      const consumer = await ConsumerActor.make(side, "m", { assignor: null });
      await consumer.beat();
      await consumer.leave();
      const joining = third.join();
      for (const each of [first, second]) await each.untilRebalance();
      const answers = await Promise.all([first.joinQuietly(), second.joinQuietly()]);
      await joining;
      side.say(
        "generations",
        answers.map(({ generationId }) => generationId),
      );
      await rejoin([first, second, third], [{ t: [0, 1] }, { t: [2, 3] }, { t: [4, 5] }]);
    },
  },
  {
    name: "the last consumer goes on by the classic protocol under its id",
    async run(side) {
      const classic = await alone(side);
      const consumer = await ConsumerActor.make(side, "m", { assignor: null });
      await consumer.beat();
      await settle([consumer], [classic]);
      const turned = await ClassicActor.make(side, "turned");
      await turned.joinNow({ memberId: "member-m" });
      await side.describe();
      await turned.syncNow();
      await turned.beat();
      await classic.beat();
      const fixed = await ClassicActor.make(side, "fixed", { instanceId: "i" });
      await fixed.joinNow();
      await side.describe("group", false);
      await fixed.syncNow();
      await classic.beat();
      await fixed.joinNow();
      await side.describe("group", false);
      await classic.leave();
      await side.describe("group", false);
      await fixed.leave();
      await side.describe("group", false);
    },
  },
  {
    name: "the last static consumer goes on by the classic protocol under its id",
    async run(side) {
      const classic = await alone(side);
      const consumer = await ConsumerActor.make(side, "m", { assignor: null, instanceId: "i" });
      await consumer.beat();
      await settle([consumer], [classic]);
      const turned = await ClassicActor.make(side, "turned", { instanceId: "i" });
      await turned.joinNow({ memberId: "member-m" });
      await side.describe();
      await turned.syncNow();
      await turned.beat();
      await classic.beat();
    },
  },
  {
    name: "the last static consumer goes on by the classic protocol under its id with other topics",
    async run(side) {
      const classic = await alone(side);
      const consumer = await ConsumerActor.make(side, "m", { assignor: null, instanceId: "i" });
      await consumer.beat();
      await settle([consumer], [classic]);
      const turned = await ClassicActor.make(side, "turned", { instanceId: "i", topics: ["u"] });
      await turned.joinNow({ memberId: "member-m" });
      await side.describe();
      await turned.beat();
      await classic.beat();
      await turned.syncNow();
    },
  },
  {
    name: "a static consumer with a pattern is replaced by a classic member",
    async run(side) {
      await alone(side);
      const other = await ConsumerActor.make(side, "other");
      await other.beat();
      const consumer = await ConsumerActor.make(side, "m", { instanceId: "i", topics: [] });
      await consumer.beat({ subscribedTopicRegex: `u${side.topics.suffix}` }, true);
      await side.until("the pattern is resolved", async () => {
        await consumer.beat({}, true);
        return Object.keys(consumer.owned).length > 0;
      });
      await side.describe("before");
      const back = await ClassicActor.make(side, "back", { instanceId: "i" });
      await back.joinNow();
      await back.syncNow();
      await side.describe();
    },
  },
  {
    name: "the last consumer is replaced by a classic member with its instance id while others are behind",
    async run(side) {
      const classic = await alone(side);
      const fixed = await ConsumerActor.make(side, "m", { instanceId: "i", assignor: null });
      await fixed.beat();
      const back = await ClassicActor.make(side, "back", { instanceId: "i" });
      await back.joinNow();
      // Of the group itself nothing is said: here it rebalances at once, Kafka's when the other member joins again.
      await classic.beat();
    },
  },
];
