/** What becomes of members that are silent, or slow: sessions and rebalance time-outs of either protocol. Short ones end; all others are far longer than a script. */
import { ClassicActor, ConsumerActor, classicGroup } from "./actors.ts";
import type { Script } from "./script.ts";

const SHORT_MS = 900;
/** Of all members of a group: those who are not to go have to get their heartbeats through meanwhile. */
const SESSION_MS = 1500;
const shortSession = { "consumer.session.timeout.ms": String(SESSION_MS), "consumer.heartbeat.interval.ms": "200" };
/** The broker's again. */
const longSession = { "consumer.session.timeout.ms": null, "consumer.heartbeat.interval.ms": null };

export const timeoutScripts: readonly Script[] = [
  {
    name: "a dynamic member that sends nothing is removed after its session",
    async run(side) {
      const [silent, other] = [await ConsumerActor.make(side, "silent"), await ConsumerActor.make(side, "other")];
      for (const each of [silent, other, silent, other, silent, other]) await each.beat();
      await side.configure(shortSession);
      await other.untilInterval(200);
      side.startTime();
      await silent.beat();
      await side.untilGone("member-silent", SESSION_MS, () => other.beat({}, true));
      await side.configure(longSession);
      await other.untilInterval(5000);
      await other.settleQuietly();
      await side.describe();
      await silent.beat();
      silent.epoch = 0;
      await silent.beat();
      await side.describe();
    },
  },
  {
    name: "a static member that sends nothing is removed after its session, and its instance id is free",
    async run(side) {
      const [silent, other] = [await ConsumerActor.make(side, "silent", { instanceId: "i" }), await ConsumerActor.make(side, "other")];
      for (const each of [silent, other, silent, other, silent, other]) await each.beat();
      const next = await ConsumerActor.make(side, "next", { instanceId: "i" });
      await next.beat();
      await side.configure(shortSession);
      await other.untilInterval(200);
      side.startTime();
      await silent.beat();
      await side.untilGone("member-silent", SESSION_MS, () => other.beat({}, true));
      await side.configure(longSession);
      await other.untilInterval(5000);
      await other.settleQuietly();
      await side.describe();
      await silent.beat();
      await next.beat();
      for (const each of [other, next, other]) await each.beat();
      await side.describe();
    },
  },
  {
    name: "a static member that has left for a while is removed when its session ends, counted from its last heartbeat",
    async run(side) {
      const [absent, other] = [await ConsumerActor.make(side, "absent", { instanceId: "i" }), await ConsumerActor.make(side, "other")];
      await side.configure(shortSession);
      await absent.beat();
      await absent.untilInterval(200);
      for (const each of [absent, other, absent, other]) await each.beat();
      side.startTime();
      await absent.beat();
      await absent.leave(-2);
      await side.describe();
      await side.untilGone("member-absent", SESSION_MS, () => other.beat({}, true));
      await other.settleQuietly();
      await side.describe();
      const next = await ConsumerActor.make(side, "next", { instanceId: "i" });
      await next.beat();
      await side.configure(longSession);
      await next.untilInterval(5000);
      await next.leave(-2);
      // Somebody else takes its place in time.
      const last = await ConsumerActor.make(side, "last", { instanceId: "i" });
      await last.beat();
      await next.beat();
      await side.describe();
    },
  },
  {
    name: "a member that does not give its partitions up in time is fenced, though it sends heartbeats",
    async run(side) {
      const [slow, other] = [
        await ConsumerActor.make(side, "slow", { rebalanceTimeoutMs: SHORT_MS }),
        await ConsumerActor.make(side, "other"),
      ];
      await slow.beat();
      await other.beat();
      side.startTime();
      await slow.beat();
      await side.describe();
      const all = [{ topicId: side.topicId("t"), partitions: [0, 1, 2, 3, 4, 5] }];
      await slow.beat({ topicPartitions: all });
      await side.untilGone("member-slow", SHORT_MS, async () => {
        if (await side.hasMember("member-slow")) await slow.beat({ topicPartitions: all }, true);
      });
      await slow.beat({ topicPartitions: all });
      await other.beat();
      await side.describe();
    },
  },
  {
    name: "a member that has partitions to give up says nothing of what it owns, and changes its rebalance time-out",
    async run(side) {
      const [slow, other] = [await ConsumerActor.make(side, "slow"), await ConsumerActor.make(side, "other")];
      await slow.beat();
      await other.beat();
      await slow.beat();
      await slow.beat({ topicPartitions: null, rebalanceTimeoutMs: 10_000 });
      await side.describe();
      const third = await ConsumerActor.make(side, "third");
      await third.beat();
      await slow.beat({ topicPartitions: null });
      await slow.beat();
      await slow.beat({ topicPartitions: null });
      await side.describe();
      const fourth = await ConsumerActor.make(side, "fourth");
      await fourth.beat();
      await other.beat();
      await third.beat();
      await slow.beat({ topicPartitions: null });
      await slow.beat({ topicPartitions: null });
      await side.describe();
    },
  },
  {
    name: "a member that gives its partitions up in time stays",
    async run(side) {
      const [quick, other] = [
        await ConsumerActor.make(side, "quick", { rebalanceTimeoutMs: SESSION_MS }),
        await ConsumerActor.make(side, "other"),
      ];
      const silent = await ConsumerActor.make(side, "silent", { rebalanceTimeoutMs: SHORT_MS * 2, topics: ["t", "u"] });
      for (const each of [quick, other, quick, quick, other]) await each.beat();
      await silent.beat();
      await quick.beat();
      await other.beat();
      await quick.beat();
      await side.describe();
      // The time-out of one that is slower than quick's would have been.
      await silent.beat();
      const last = await ConsumerActor.make(side, "last", { topics: ["t", "u"] });
      await last.beat();
      side.startTime();
      await silent.beat();
      await side.untilGone("member-silent", SHORT_MS * 2, () => quick.beat({}, true));
      await quick.settleQuietly();
      await side.describe();
    },
  },
  {
    name: "a classic member of a mixed group that sends nothing is removed after the session of its join",
    async run(side) {
      const consumer = await ConsumerActor.join(side, "m");
      const silent = await ClassicActor.make(side, "silent", { sessionTimeoutMs: SHORT_MS });
      const other = await ClassicActor.make(side, "other");
      await silent.joinNow({ memberId: "silent-id" });
      side.startTime();
      await silent.syncNow();
      await other.joinNow({ memberId: "other-id" });
      await consumer.beat();
      await consumer.beat();
      await side.describe();
      await side.untilGone("silent", SHORT_MS, () => consumer.beat({}, true));
      await consumer.settleQuietly();
      await side.describe();
      await silent.beat();
      await silent.syncNow();
      await other.beat();
      await other.joinNow();
      await other.syncNow();
      await silent.joinNow();
      await side.describe();
    },
  },
  {
    name: "a classic member that does not join again in time is removed, though it sends heartbeats",
    async run(side) {
      const consumer = await ConsumerActor.join(side, "m");
      const slow = await ClassicActor.make(side, "slow", { rebalanceTimeoutMs: SHORT_MS });
      await slow.joinNow({ memberId: "slow-id" });
      await slow.syncNow();
      await consumer.beat();
      await consumer.beat();
      side.startTime();
      await slow.beat();
      const third = await ConsumerActor.make(side, "third");
      await third.beat();
      await slow.beat();
      await side.untilGone("slow", SHORT_MS, () => slow.beat(true));
      await slow.beat();
      await consumer.beat();
      await side.describe();
    },
  },
  {
    name: "a classic member that does not ask for its partitions in time is removed, though it sends heartbeats",
    async run(side) {
      const consumer = await ConsumerActor.join(side, "m");
      const slow = await ClassicActor.make(side, "slow", { rebalanceTimeoutMs: SHORT_MS });
      side.startTime();
      await slow.joinNow({ memberId: "slow-id" });
      await side.untilGone("slow", SHORT_MS, () => slow.beat(true));
      await slow.syncNow();
      await consumer.beat();
      await side.describe();
    },
  },
  {
    name: "a classic member that asks too early has to join again in time",
    async run(side) {
      await ConsumerActor.join(side, "m");
      const slow = await ClassicActor.make(side, "slow", { rebalanceTimeoutMs: SHORT_MS });
      side.startTime();
      await slow.joinNow({ memberId: "slow-id" });
      const third = await ConsumerActor.make(side, "third");
      await third.beat();
      await slow.syncNow();
      await side.untilGone("slow", SHORT_MS, () => slow.beat(true));
      await side.describe();
    },
  },
  {
    name: "a classic member with partitions to give up has its rebalance time-out from the heartbeat that tells it",
    async run(side) {
      const slow = await ClassicActor.make(side, "slow", { rebalanceTimeoutMs: SHORT_MS });
      await classicGroup([[slow, { t: [0, 1, 2, 3, 4, 5] }]]);
      const consumer = await ConsumerActor.join(side, "m");
      await slow.beat();
      await slow.joinNow();
      await slow.syncNow();
      slow.owned = { t: [0, 1, 2, 3, 4, 5] };
      await slow.beat();
      await slow.joinNow();
      await slow.syncNow();
      slow.owned = { t: [0, 1, 2, 3, 4, 5] };
      await side.describe();
      side.startTime();
      await side.untilGone("slow", SHORT_MS, () => slow.beat(true));
      await consumer.beat();
      await side.describe();
    },
  },
  {
    name: "the last member of the consumer protocol is silent: the group is classic",
    async run(side) {
      const [first, second] = [await ClassicActor.make(side, "c1"), await ClassicActor.make(side, "c2")];
      await classicGroup([
        [first, { t: [0, 1, 2] }],
        [second, { t: [3, 4, 5] }],
      ]);
      const consumer = await ConsumerActor.make(side, "m");
      await side.configure(shortSession);
      await consumer.beat({}, true);
      await consumer.untilInterval(200);
      side.startTime();
      await consumer.beat({}, true);
      await side.untilGone("member-m", SESSION_MS, async () => {
        await first.beat(true);
        await second.beat(true);
      });
      await first.untilRebalance();
      await second.untilRebalance();
      const both = [first.join(), second.join()];
      for (const each of both) await each;
      await side.describe("group", false);
      await consumer.beat();
    },
  },
  {
    name: "a classic member of an upgraded group that is silent is removed after its session",
    async run(side) {
      const [silent, other] = [
        await ClassicActor.make(side, "silent", { sessionTimeoutMs: SHORT_MS }),
        await ClassicActor.make(side, "other"),
      ];
      await classicGroup([
        [other, { t: [0, 1, 2] }],
        [silent, { t: [3, 4, 5] }],
      ]);
      const consumer = await ConsumerActor.make(side, "m");
      side.startTime();
      await consumer.beat();
      await side.untilGone("silent", SHORT_MS, () => other.beat(true));
      await other.follow();
      await consumer.beat();
      await side.describe();
    },
  },
];
