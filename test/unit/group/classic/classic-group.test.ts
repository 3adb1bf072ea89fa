import { describe, expect, test } from "bun:test";
import { ClassicGroup } from "../../../../src/group/classic/classic-group.ts";
import type { GroupError } from "../../../../src/group/group-types.ts";
import { GroupHarness, REBALANCE_MS, SESSION_MS, subscription } from "./group-harness.ts";

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

describe("the first rebalance", () => {
  test("waits for the initial delay, and again when somebody comes, but not beyond the rebalance timeout", async () => {
    const h = new GroupHarness({ initialRebalanceDelayMs: 1000 });
    const first = h.joinDynamic({ rebalanceTimeoutMs: 2500 });
    await h.host.clock.advance(900);
    const second = h.joinDynamic({ rebalanceTimeoutMs: 2500 });
    await h.host.clock.advance(100);
    expect(h.group.state).toBe("PreparingRebalance");
    await h.host.clock.advance(900);
    const third = h.joinDynamic({ rebalanceTimeoutMs: 2500 });
    await h.host.clock.advance(1600);
    expect(h.group.state).toBe("CompletingRebalance");
    const answers = [first, second, third].map(({ reply }) => reply.now);
    expect(answers.map((answer) => answer.generation)).toEqual([1, 1, 1]);
    expect(new Set(answers.map((answer) => answer.leaderId))).toEqual(new Set([first.memberId]));
    expect(answers.map((answer) => answer.members.length)).toEqual([3, 0, 0]);
  });

  test("needs a member id first (KIP-394), or not, for old clients", () => {
    const h = new GroupHarness();
    const asked = h.join({ clientId: "app" }).now;
    expect(asked).toMatchObject({ error: "member-id-required", memberId: "app-uuid1", generation: -1 });
    expect(h.join({ memberId: "app-uuid1" }).value).toBeUndefined();
    expect(h.join({ requiresKnownMemberId: false }).value).toBeUndefined();
    expect(h.group.roster.size).toBe(2);
  });

  test("a member that was told its id and never comes does not hold the group up for ever", async () => {
    const h = new GroupHarness({ initialRebalanceDelayMs: 0 });
    const [a = ""] = await h.makeStable(1);
    h.join();
    const again = h.join({ memberId: a });
    expect(again.value).toBeUndefined();
    await h.host.clock.advance(SESSION_MS);
    expect(again.now).toMatchObject({ generation: 2, leaderId: a });
  });

  const refusals: readonly [string, Parameters<GroupHarness["join"]>[0], GroupError][] = [
    ["an id that was never given", { memberId: "stranger" }, "unknown-member"],
    ["another protocol type", { protocolType: "connect" }, "inconsistent-protocol"],
    ["no protocol in common", { protocols: [{ name: "sticky", metadata: subscription("t") }] }, "inconsistent-protocol"],
    ["no protocol at all", { protocols: [] }, "inconsistent-protocol"],
    ["an unknown member with an instance id nobody has", { memberId: "stranger", groupInstanceId: "i" }, "unknown-member"],
  ];
  test.each(refusals)("a stable group refuses %s", async (_, change, error) => {
    const h = new GroupHarness();
    await h.makeStable(2);
    expect(h.join(change).now.error).toBe(error);
    expect(h.group.state).toBe("Stable");
  });

  test("an empty group refuses a join without protocol type or protocols", () => {
    for (const change of [{ protocolType: "" }, { protocols: [] }]) {
      expect(new GroupHarness().join(change).now.error).toBe("inconsistent-protocol");
    }
  });
});

describe("assignments", () => {
  test("go to all when the leader's is stored, and not before", async () => {
    const h = new GroupHarness({ initialRebalanceDelayMs: 0, isDurableAtOnce: false });
    const a = h.joinDynamic();
    const b = h.joinDynamic();
    await h.host.clock.advance(1);
    const follower = h.sync(b.memberId, 1);
    const leader = h.sync(a.memberId, 1, { [a.memberId]: "A", [b.memberId]: "B" });
    expect([leader.value, follower.value, h.group.state]).toEqual([undefined, undefined, "CompletingRebalance"]);
    h.host.held[0]?.done(undefined);
    expect([text(leader.now.assignment), text(follower.now.assignment), h.group.state]).toEqual(["A", "B", "Stable"]);
    expect(text(h.sync(b.memberId, 1).now.assignment)).toBe("B");
  });

  test("a member that the leader forgot gets an empty one", async () => {
    const h = new GroupHarness({ initialRebalanceDelayMs: 0 });
    const a = h.joinDynamic();
    const b = h.joinDynamic();
    await h.host.clock.advance(1);
    const follower = h.sync(b.memberId, 1);
    h.sync(a.memberId, 1, { [a.memberId]: "A" });
    expect(follower.now).toMatchObject({ protocolName: "range", assignment: new Uint8Array(0) });
  });

  test("are forgotten when somebody joins while they are being stored", async () => {
    const h = new GroupHarness({ initialRebalanceDelayMs: 0, isDurableAtOnce: false });
    const a = h.joinDynamic();
    await h.host.clock.advance(1);
    const leader = h.sync(a.memberId, 1, { [a.memberId]: "A" });
    const b = h.joinDynamic();
    expect(leader.now.error).toBe("rebalance-in-progress");
    h.host.held[0]?.done(undefined);
    expect(h.group.state).toBe("PreparingRebalance");
    const again = h.join({ memberId: a.memberId });
    expect([again.now.generation, b.reply.now.generation]).toEqual([2, 2]);
  });

  test("that cannot be stored fail the syncs and begin another rebalance", async () => {
    const h = new GroupHarness({ initialRebalanceDelayMs: 0 });
    const a = h.joinDynamic();
    await h.host.clock.advance(1);
    h.host.refusal = "record-too-large";
    expect(h.sync(a.memberId, 1, { [a.memberId]: "A" }).now.error).toBe("record-too-large");
    expect(h.group.state).toBe("PreparingRebalance");
  });

  const syncRefusals: readonly [string, string | undefined, number, Partial<{ name: string; instance: string }>, GroupError][] = [
    ["a stranger", "stranger", 1, {}, "unknown-member"],
    ["an old generation", undefined, 0, {}, "illegal-generation"],
    ["an instance id that is not its own", undefined, 1, { instance: "i" }, "unknown-member"],
  ];
  test.each(syncRefusals)("a sync of %s is refused", async (_, memberId, generation, { instance }, error) => {
    const h = new GroupHarness();
    const [a = ""] = await h.makeStable(1);
    expect(h.sync(memberId ?? a, generation, {}, instance).now.error).toBe(error);
  });

  test("a sync during a rebalance is told of it", async () => {
    const h = new GroupHarness();
    const [a = ""] = await h.makeStable(2);
    h.joinDynamic();
    expect(h.sync(a, 1).now.error).toBe("rebalance-in-progress");
  });

  test("a member that never syncs is dropped after the rebalance timeout", async () => {
    const h = new GroupHarness({ initialRebalanceDelayMs: 0 });
    const a = h.joinDynamic({ sessionTimeoutMs: 60_000 });
    const b = h.joinDynamic({ sessionTimeoutMs: 60_000 });
    await h.host.clock.advance(1);
    h.sync(a.memberId, 1, { [a.memberId]: "A" });
    await h.host.clock.advance(REBALANCE_MS - 2);
    expect(h.group.state).toBe("Stable");
    await h.host.clock.advance(2);
    expect(h.host.expired).toEqual([b.memberId]);
    expect(h.group.state).toBe("PreparingRebalance");
    expect(h.join({ memberId: a.memberId }).now).toMatchObject({ generation: 2, leaderId: a.memberId });
  });
});

describe("a stable group", () => {
  test("a follower that joins again unchanged gets its generation, the leader a rebalance", async () => {
    const h = new GroupHarness();
    const [a = "", b = ""] = await h.makeStable(2);
    expect(h.join({ memberId: b }).now).toMatchObject({ generation: 1, leaderId: a, members: [] });
    expect(h.group.state).toBe("Stable");
    expect(h.join({ memberId: a }).value).toBeUndefined();
    expect(h.group.state).toBe("PreparingRebalance");
    expect(h.heartbeat(b)).toBe("rebalance-in-progress");
    expect(h.join({ memberId: b }).now).toMatchObject({ generation: 2 });
  });

  test("other metadata of a follower begins a rebalance", async () => {
    const h = new GroupHarness();
    const [, b = ""] = await h.makeStable(2);
    h.join({ memberId: b, protocols: [{ name: "range", metadata: subscription("t", "u") }] });
    expect(h.group.state).toBe("PreparingRebalance");
  });

  test("a member that does not come to the rebalance is dropped after its time, the leader too", async () => {
    const h = new GroupHarness();
    const [a = "", b = ""] = await h.makeStable(2, { sessionTimeoutMs: 60_000 });
    const again = h.join({ memberId: b, protocols: [{ name: "range", metadata: subscription("u") }], sessionTimeoutMs: 60_000 });
    await h.host.clock.advance(REBALANCE_MS);
    expect(h.host.expired).toEqual([a]);
    expect(again.now).toMatchObject({ generation: 2, leaderId: b });
    expect(h.group.isSubscribedTo("u")).toBe(true);
    expect(h.group.isSubscribedTo("t")).toBe(false);
  });

  test("heartbeats keep a session, silence ends it, and the group becomes empty and stored", async () => {
    const h = new GroupHarness();
    const [a = "", b = ""] = await h.makeStable(2);
    await h.host.clock.advance(SESSION_MS - 1);
    expect(h.heartbeat(a)).toBeUndefined();
    await h.host.clock.advance(SESSION_MS - 1);
    expect(h.host.expired).toEqual([b]);
    const stores = h.host.stores;
    await h.host.clock.advance(REBALANCE_MS + SESSION_MS);
    expect(h.host.expired).toEqual([b, a]);
    expect([h.group.state, h.group.generation, h.group.protocolName]).toEqual(["Empty", 2, undefined]);
    expect(h.host.stores).toBe(stores + 1);
    expect(h.host.timers.size).toBe(0);
  });

  test("a member that waits for a rebalance is not silent, a first join is after five minutes", async () => {
    const h = new GroupHarness({ initialRebalanceDelayMs: 0 });
    const [a = "", b = ""] = await h.makeStable(2, { rebalanceTimeoutMs: 600_000 });
    const waits = h.join({ memberId: a, rebalanceTimeoutMs: 600_000 });
    const fresh = h.joinDynamic({ rebalanceTimeoutMs: 600_000 });
    const keepAlive = async (forMs: number) => {
      for (let ms = 0; ms < forMs; ms += 5000) {
        h.heartbeat(b);
        await h.host.clock.advance(5000);
      }
    };
    await keepAlive(295_000);
    expect([waits.value, fresh.reply.value]).toEqual([undefined, undefined]);
    await keepAlive(5000);
    expect(fresh.reply.now.error).toBe("unknown-member");
    expect(waits.value).toBeUndefined();
    expect(h.join({ memberId: b, rebalanceTimeoutMs: 600_000 }).now.generation).toBe(2);
    expect(waits.now.generation).toBe(2);
  });

  const heartbeats: readonly [string, string | undefined, number, string | undefined, GroupError | undefined][] = [
    ["a member's", undefined, 1, undefined, undefined],
    ["a stranger's", "stranger", 1, undefined, "unknown-member"],
    ["an older generation's", undefined, 0, undefined, "illegal-generation"],
    ["one with a strange instance id", undefined, 1, "i", "unknown-member"],
  ];
  test.each(heartbeats)("heartbeat: %s", async (_, memberId, generation, instance, error) => {
    const h = new GroupHarness();
    const [a = ""] = await h.makeStable(1);
    expect(h.heartbeat(memberId ?? a, generation, instance)).toBe(error);
  });

  test("who leaves begins a rebalance; the last one empties the group", async () => {
    const h = new GroupHarness();
    const [a = "", b = ""] = await h.makeStable(2);
    expect(h.group.leave([{ memberId: a, groupInstanceId: undefined }])).toEqual([{ memberId: a, groupInstanceId: undefined }]);
    expect(h.group.state).toBe("PreparingRebalance");
    expect(h.join({ memberId: b }).now).toMatchObject({ generation: 2, leaderId: b });
    h.group.leave([{ memberId: b, groupInstanceId: undefined }]);
    expect([h.group.state, h.group.generation]).toEqual(["Empty", 3]);
  });

  test("leave answers each member for itself", async () => {
    const h = new GroupHarness();
    const [a = ""] = await h.makeStable(1);
    const pending = h.join().now.memberId;
    const results = h.group.leave([
      { memberId: "stranger", groupInstanceId: undefined },
      { memberId: pending, groupInstanceId: undefined },
      { memberId: "", groupInstanceId: "nobody" },
      { memberId: a, groupInstanceId: undefined },
    ]);
    expect(results.map((result) => result.error)).toEqual(["unknown-member", undefined, "unknown-member", undefined]);
  });

  test("holds no more than group.max.size", async () => {
    const h = new GroupHarness({ maxSize: 2 });
    const [a = ""] = await h.makeStable(2);
    expect(h.join().now.error).toBe("group-full");
    expect(h.join({ memberId: a }).value).toBeUndefined();
  });

  test("selects the protocol that all know and most like best", async () => {
    const h = new GroupHarness({ initialRebalanceDelayMs: 0 });
    const metadata = subscription("t");
    const as = (...names: string[]) => ({ protocols: names.map((name) => ({ name, metadata })) });
    const first = h.joinDynamic(as("only-me", "range", "sticky"));
    h.joinDynamic(as("sticky", "range"));
    h.joinDynamic(as("sticky", "range"));
    await h.host.clock.advance(1);
    expect(first.reply.now.protocolName).toBe("sticky");
  });
});

describe("static members (KIP-345)", () => {
  async function stableWithStatic(change: { readonly isDurableAtOnce?: boolean } = {}) {
    const h = new GroupHarness({ initialRebalanceDelayMs: 0, ...change });
    const fixed = h.join({ groupInstanceId: "i" });
    const other = h.joinDynamic();
    await h.host.clock.advance(1);
    const { memberId } = fixed.now;
    h.sync(memberId, 1, { [memberId]: "S", [other.memberId]: "O" }, "i");
    h.sync(other.memberId, 1);
    for (const { done } of h.host.held.splice(0)) done(undefined);
    return { h, memberId, other: other.memberId };
  }

  test("need no second join, and keep partitions and generation over a restart", async () => {
    const { h, memberId, other } = await stableWithStatic();
    const back = h.join({ groupInstanceId: "i" }).now;
    expect(back).toMatchObject({ generation: 1, skipAssignment: true });
    expect(back.memberId).not.toBe(memberId);
    expect(back.leaderId).toBe(back.memberId);
    expect(back.members.length).toBe(2);
    expect(h.group.state).toBe("Stable");
    expect(text(h.sync(back.memberId, 1, {}, "i").now.assignment)).toBe("S");
    expect(h.heartbeat(other)).toBeUndefined();
  });

  test("an old client that leads is told that the former id leads, so that it does not assign", async () => {
    const { h, memberId } = await stableWithStatic();
    const back = h.join({ groupInstanceId: "i", supportsSkippingAssignment: false }).now;
    expect(back).toMatchObject({ leaderId: memberId, skipAssignment: false, members: [] });
  });

  test("the new id is told when it is stored, and the old one comes back when it cannot be", async () => {
    const held = await stableWithStatic({ isDurableAtOnce: false });
    const waits = held.h.join({ groupInstanceId: "i" });
    expect(waits.value).toBeUndefined();
    held.h.host.held[0]?.done(undefined);
    expect(waits.now.generation).toBe(1);

    const { h, memberId } = await stableWithStatic();
    h.host.refusal = "record-too-large";
    expect(h.join({ groupInstanceId: "i" }).now).toMatchObject({ error: "record-too-large", memberId: "" });
    expect(h.heartbeat(memberId, 1, "i")).toBeUndefined();
  });

  test("one that left while its new id was being stored stays away", async () => {
    const { h } = await stableWithStatic({ isDurableAtOnce: false });
    const waits = h.join({ groupInstanceId: "i" });
    h.group.leave([{ memberId: "", groupInstanceId: "i" }]);
    expect(waits.now.error).toBe("unknown-member");
    h.host.held[0]?.done("not-available");
    expect(h.group.roster.staticMemberId("i")).toBeUndefined();
    expect(h.group.roster.size).toBe(1);
  });

  test("the process with the old id is fenced", async () => {
    const { h, memberId } = await stableWithStatic();
    h.join({ groupInstanceId: "i" });
    expect(h.heartbeat(memberId, 1, "i")).toBe("fenced-instance");
    expect(h.sync(memberId, 1, {}, "i").now.error).toBe("fenced-instance");
    expect(h.join({ memberId, groupInstanceId: "i" }).now.error).toBe("fenced-instance");
    expect(h.group.findCommitError({ memberId, groupInstanceId: "i" }, 1)).toBe("fenced-instance");
    expect(h.group.leave([{ memberId, groupInstanceId: "i" }])[0]?.error).toBe("fenced-instance");
  });

  test("two at once: the one that waits is fenced by the later", () => {
    const h = new GroupHarness();
    const first = h.join({ groupInstanceId: "i" });
    const second = h.join({ groupInstanceId: "i" });
    expect(first.now.error).toBe("fenced-instance");
    expect(second.value).toBeUndefined();
    expect(h.group.roster.size).toBe(1);
  });

  test("are not dropped by a rebalance that they miss, only by their session", async () => {
    const { h, memberId, other } = await stableWithStatic();
    const changed = [{ name: "range", metadata: subscription("u") }];
    const again = h.join({ memberId: other, protocols: changed, rebalanceTimeoutMs: SESSION_MS / 2 });
    await h.host.clock.advance(SESSION_MS - 2);
    expect([again.value, h.group.roster.has(memberId)]).toEqual([undefined, true]);
    await h.host.clock.advance(2);
    expect(h.host.expired).toEqual([memberId]);
    expect(again.now).toMatchObject({ generation: 2, leaderId: other });
  });

  test("an administrator removes one by its instance id alone", async () => {
    const { h } = await stableWithStatic();
    expect(h.group.leave([{ memberId: "", groupInstanceId: "i" }])[0]?.error).toBeUndefined();
    expect(h.group.roster.size).toBe(1);
    expect(h.group.state).toBe("PreparingRebalance");
  });
});

describe("commits", () => {
  test("of members need their generation, of others an empty group", async () => {
    const h = new GroupHarness();
    const check = (memberId: string, generation: number) => h.group.findCommitError({ memberId, groupInstanceId: undefined }, generation);
    expect(check("", -1)).toBeUndefined();
    const [a = ""] = await h.makeStable(1);
    expect(check(a, 1)).toBeUndefined();
    expect(check(a, 0)).toBe("illegal-generation");
    expect(check("stranger", 1)).toBe("unknown-member");
    expect(check("", -1)).toBe("unknown-member");
    h.join({ memberId: a });
    await h.host.clock.advance(1);
    expect(h.group.state).toBe("CompletingRebalance");
    expect(check(a, 2)).toBe("rebalance-in-progress");
  });

  test("are taken while a rebalance gathers its members: that is when members commit what they give up", async () => {
    const h = new GroupHarness();
    const [a = ""] = await h.makeStable(2);
    h.joinDynamic();
    expect(h.group.state).toBe("PreparingRebalance");
    expect(h.group.findCommitError({ memberId: a, groupInstanceId: undefined }, 1)).toBeUndefined();
  });
});

describe("life", () => {
  test("whoever waits is told when the coordinator goes", async () => {
    const h = new GroupHarness();
    const joins = h.joinDynamic();
    h.group.end("not-coordinator");
    expect(joins.reply.now.error).toBe("not-coordinator");
    expect(h.host.timers.size).toBe(0);
  });

  test("a group from the log is stable with its members, who have one session to show themselves", async () => {
    const { host } = new GroupHarness();
    const member = {
      memberId: "m",
      groupInstanceId: undefined,
      clientId: "c",
      clientHost: "/h",
      sessionTimeoutMs: SESSION_MS,
      rebalanceTimeoutMs: REBALANCE_MS,
      subscription: subscription("t"),
      assignment: Buffer.from("A"),
    };
    const stored = { generation: 7, protocolType: "consumer", protocolName: "range", leaderId: "m", stateTimestampMs: 5 };
    const group = ClassicGroup.restore("g", { ...stored, members: [member] }, host);
    expect([group.state, group.generation, group.roster.leaderId]).toEqual(["Stable", 7, "m"]);
    expect(group.isSubscribedTo("t")).toBe(true);
    group.startSessions();
    expect(group.heartbeat({ memberId: "m", groupInstanceId: undefined }, 7)).toBeUndefined();
    await host.clock.advance(SESSION_MS);
    expect([group.state, group.generation]).toEqual(["Empty", 8]);
    expect(ClassicGroup.restore("g", { ...stored, members: [] }, host).state).toBe("Empty");
  });
});
