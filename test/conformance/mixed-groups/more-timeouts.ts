/** Time-outs that end a group's protocol, that must not end a member, and that come too late. */
import { ClassicActor, ConsumerActor, classicGroup, rejoin } from "./actors.ts";
import type { Script } from "./script.ts";
import type { Side } from "./side.ts";

const SHORT_MS = 900;
/** Of all members of a group: those who are not to go have to get their heartbeats through meanwhile. */
const SESSION_MS = 1500;
/** Ends well after a short one: who should have gone by then has gone. */
const LONGER_MS = 2400;

/** Somebody who is silent: its end is the event that tells how much time has gone by. */
async function startClock(side: Side): Promise<(meanwhile?: () => Promise<unknown>) => Promise<void>> {
  const clock = await ClassicActor.make(side, "clock", { sessionTimeoutMs: LONGER_MS });
  await clock.joinNow({ memberId: "clock-id" });
  side.startTime();
  await clock.syncNow();
  return (meanwhile) => side.untilGone("clock", LONGER_MS, meanwhile);
}

export const moreTimeoutScripts: readonly Script[] = [
  {
    name: "a classic member that joins again and asks in time stays",
    async run(side) {
      const consumer = await ConsumerActor.join(side, "m");
      const prompt = await ClassicActor.make(side, "prompt", { rebalanceTimeoutMs: SESSION_MS });
      await prompt.joinNow({ memberId: "prompt-id" });
      await prompt.syncNow();
      const untilLater = await startClock(side);
      await prompt.follow();
      await consumer.beat();
      await untilLater(async () => {
        await consumer.beat({}, true);
        if ((await prompt.beat(true)) === 27) await prompt.followQuietly();
      });
      await side.until("prompt has its partitions", async () => {
        await consumer.beat({}, true);
        if ((await prompt.beat(true)) === 27) await prompt.followQuietly();
        return prompt.owned.t?.length === 3;
      });
      await side.describe();
    },
  },
  {
    name: "a classic member that has not asked for its partitions goes on by the consumer protocol under its id",
    async run(side) {
      const consumer = await ConsumerActor.join(side, "m");
      const classic = await ClassicActor.make(side, "c1", { rebalanceTimeoutMs: SHORT_MS });
      await classic.joinNow({ memberId: "c1-id" });
      const turned = await ConsumerActor.make(side, "turned");
      Object.assign(turned, { memberId: "c1-id" });
      await turned.beat();
      const untilLater = await startClock(side);
      await untilLater(async () => {
        await consumer.beat({}, true);
        if (await side.hasMember("c1")) await turned.beat({}, true);
      });
      await consumer.settleQuietly();
      await turned.beat();
      await side.describe();
    },
  },
  {
    name: "a classic member that was told to join again goes on by the consumer protocol under its id",
    async run(side) {
      const consumer = await ConsumerActor.join(side, "m");
      const classic = await ClassicActor.make(side, "c1", { rebalanceTimeoutMs: SHORT_MS });
      await classic.joinNow({ memberId: "c1-id" });
      await classic.syncNow();
      const untilLater = await startClock(side);
      await classic.beat();
      const turned = await ConsumerActor.make(side, "turned");
      Object.assign(turned, { memberId: "c1-id" });
      await turned.beat();
      await untilLater(async () => {
        await consumer.beat({}, true);
        if (await side.hasMember("c1")) await turned.beat({}, true);
      });
      await consumer.settleQuietly();
      await turned.beat();
      await side.describe();
    },
  },
  {
    name: "a consumer that has not given its partitions up goes on by the classic protocol under its id",
    async run(side) {
      const slow = await ConsumerActor.make(side, "slow", { rebalanceTimeoutMs: SHORT_MS });
      await slow.beat();
      const other = await ConsumerActor.make(side, "other");
      await other.beat();
      await slow.beat();
      const all = { t: [0, 1, 2, 3, 4, 5] };
      const turned = await ClassicActor.make(side, "turned");
      turned.owned = all;
      await turned.joinNow({ memberId: "member-slow" });
      await turned.syncNow();
      await side.describe();
      const untilLater = await startClock(side);
      await untilLater(async () => {
        await other.beat({}, true);
        await turned.beat(true);
      });
      await turned.beat();
      await other.settleQuietly();
      await side.describe();
    },
  },
  {
    name: "the last consumer does not give its partitions up in time: the group is classic",
    async run(side) {
      const slow = await ConsumerActor.make(side, "slow", { rebalanceTimeoutMs: SHORT_MS });
      await slow.beat();
      const [first, second] = [await ClassicActor.make(side, "c1"), await ClassicActor.make(side, "c2")];
      for (const each of [first, second]) {
        await each.joinNow({ memberId: `${each.name}-id` });
        await each.syncNow();
      }
      side.startTime();
      await slow.beat();
      await side.untilGone("member-slow", SHORT_MS, () => second.beat(true));
      await first.untilRebalance();
      await second.untilRebalance();
      await rejoin([first, second], [{ t: [0, 1, 2] }, { t: [3, 4, 5] }]);
      await slow.beat();
    },
  },
  {
    name: "the last consumer has left for a while, and its session ends: the group is classic",
    async run(side) {
      const [first, second] = [await ClassicActor.make(side, "c1"), await ClassicActor.make(side, "c2", { sessionTimeoutMs: SESSION_MS })];
      await classicGroup([
        [first, { t: [0, 1, 2] }],
        [second, { t: [3, 4, 5] }],
      ]);
      const consumer = await ConsumerActor.make(side, "m", { instanceId: "i", assignor: null });
      await side.configure({ "consumer.session.timeout.ms": String(SESSION_MS), "consumer.heartbeat.interval.ms": "200" });
      await consumer.beat({}, true);
      await consumer.untilInterval(200);
      side.startTime();
      await consumer.beat({}, true);
      await consumer.leave(-2);
      await side.untilGone("member-m", SESSION_MS, () => Promise.all([first.beat(true), second.beat(true)]));
      await first.untilRebalance();
      // In the classic group each has the session of its join.
      const waiting = first.joinQuietly();
      await side.untilGone("c2", SESSION_MS);
      const { errorCode, generationId, members } = await waiting;
      side.say("c1 joins", { errorCode, generationId, members: members.length });
    },
  },
  {
    name: "a static classic member of a mixed group is silent, and its instance id is free",
    async run(side) {
      const consumer = await ConsumerActor.join(side, "m");
      const silent = await ClassicActor.make(side, "silent", { instanceId: "i", sessionTimeoutMs: SHORT_MS });
      await silent.joinNow();
      await silent.syncNow();
      await consumer.beat();
      await consumer.beat();
      side.startTime();
      await silent.follow();
      await side.untilGone("silent", SHORT_MS, () => consumer.beat({}, true));
      await consumer.settleQuietly();
      await side.describe();
      await silent.beat();
      await silent.joinNow();
      const next = await ClassicActor.make(side, "next", { instanceId: "i" });
      await next.joinNow();
      await next.syncNow();
      await side.describe();
    },
  },
  {
    name: "all members are silent: the group is empty",
    async run(side) {
      await side.configure({ "consumer.session.timeout.ms": String(SESSION_MS), "consumer.heartbeat.interval.ms": "200" });
      const consumer = await ConsumerActor.make(side, "m");
      await consumer.beat({}, true);
      await consumer.untilInterval(200);
      side.startTime();
      await consumer.beat({}, true);
      const classic = await ClassicActor.make(side, "c1", { sessionTimeoutMs: LONGER_MS });
      await classic.joinNow({ memberId: "c1-id" });
      await side.untilGone("member-m", SESSION_MS);
      await side.untilGone("c1", LONGER_MS);
      await side.describe("group", false);
      const other = await ConsumerActor.make(side, "n");
      side.startTime();
      await other.beat();
      await side.untilGone("member-n", SESSION_MS);
      await side.describe();
    },
  },
  {
    name: "targets are made later than members come",
    async run(side) {
      const consumer = await ConsumerActor.join(side, "m");
      const first = await ClassicActor.make(side, "c1");
      await first.joinNow({ memberId: "c1-id" });
      await first.syncNow();
      await side.configure({ "consumer.assignment.interval.ms": "15000", "consumer.heartbeat.interval.ms": "200" });
      await consumer.untilInterval(200);
      await consumer.settleQuietly();
      await first.follow();
      await side.describe();
      const second = await ClassicActor.make(side, "c2");
      await second.joinNow({ memberId: "c2-id" });
      await second.syncNow();
      await second.beat();
      await first.beat();
      await first.joinNow();
      await first.syncNow();
      await consumer.beat();
      await side.describe();
      await second.leave();
      await first.beat();
      await first.joinNow();
      await first.syncNow();
      await side.describe();
      await side.configure({ "consumer.assignment.interval.ms": "0", "consumer.heartbeat.interval.ms": "300" });
      await consumer.untilInterval(300);
      await consumer.settleQuietly();
      for (let round = 0; round < 3; round++) {
        await first.follow();
        await consumer.beat();
      }
      await side.describe();
    },
  },
];
