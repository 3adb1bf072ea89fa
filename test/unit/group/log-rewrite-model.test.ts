/**
 * Two shards live through the same random history: one writes its log anew all the time, the other never. Whatever was durable when they die, both logs say the same:
 * read from where they begin, and, what a tool that came too late would do, from their first record.
 */
import { expect, test } from "bun:test";
import type { Refusal } from "../../../src/group/consumer/consumer-group-types.ts";
import { isRefusal } from "../../../src/group/consumer/consumer-group-types.ts";
import { settle } from "../support/manual-clock.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { newSurroundings, ShardHarness } from "./shard-harness.ts";

/** More: WEIR_REWRITE_SEEDS. */
const SEEDS = Number(process.env.WEIR_REWRITE_SEEDS ?? 12);
const REWRITE_ABOVE_BYTES = 1_500;
const SIMPLE = ["s0", "s1", "s2"];
const CLASSIC = ["c0", "c1", "c2", "c3"];
const CONSUMER = ["k0", "k1", "k2"];
const GROUPS = [...SIMPLE, ...CLASSIC, ...CONSUMER];
/** One in so many members comes to a group of the other protocol. */
const STRAYS = 9n;
const TOPICS = ["t0", "t1"];
const MEMBERS = ["m0", "m1", "m2"];
const PRODUCERS = [900, 901, 902];

/** What clients of one world know. Both worlds' clients get the same answers, or the worlds differ. */
class World {
  h: ShardHarness;
  readonly classic = new Map<string, { memberId: string; generation: number }>();
  readonly epochs = new Map<string, number>();
  readonly openProducers = new Set<number>();

  constructor(rewriteAboveBytes: number) {
    const around = newSurroundings(rewriteAboveBytes);
    for (const topic of TOPICS) around.metadata.addTopic(topic, 3);
    this.h = new ShardHarness(around);
  }

  commit(groupId: string, topic: string, partition: number, offset: bigint, retentionMs: bigint | undefined): void {
    const who = this.classic.get(groupId);
    const topicId = this.h.around.metadata.topics.get(topic)?.topicId ?? "";
    void this.h.shard.commit(
      {
        groupId,
        memberId: who?.memberId ?? "",
        groupInstanceId: undefined,
        generation: who?.generation ?? -1,
        retentionMs,
        offsets: [
          { topic, topicId, partition, offset, leaderEpoch: retentionMs === undefined ? 3 : -1, metadata: offset % 2n === 0n ? "" : "m" },
        ],
      },
      true,
    );
  }

  commitInTransaction(groupId: string, topic: string, partition: number, offset: bigint, producerId: number): void {
    this.openProducers.add(producerId);
    const topicId = this.h.around.metadata.topics.get(topic)?.topicId ?? "";
    void this.h.shard.commitTransactional({
      groupId,
      memberId: "",
      groupInstanceId: undefined,
      generation: -1,
      transactionalId: `x${producerId}`,
      producerId,
      producerEpoch: 0,
      addsPartition: false,
      isVerified: false,
      isNewClient: false,
      offsets: [{ topic, topicId, partition, offset, leaderEpoch: -1, metadata: "" }],
    });
  }

  endTransaction(producerId: number, isCommit: boolean): void {
    this.openProducers.delete(producerId);
    void this.h.shard.writeMarker({ producerId, producerEpoch: 0, isCommit, coordinatorEpoch: 0, transactionVersion: 0 });
  }

  join(groupId: string, client: string): void {
    const { shard } = this.h;
    const joined = shard.join({
      groupId,
      memberId: this.classic.get(groupId)?.memberId ?? "",
      groupInstanceId: undefined,
      protocolType: "consumer",
      protocols: [{ name: "range", metadata: Buffer.from(`${client} wants it`) }],
      sessionTimeoutMs: 5_000,
      rebalanceTimeoutMs: 2_000,
      clientId: client,
      clientHost: "/127.0.0.1",
      requiresKnownMemberId: false,
      supportsSkippingAssignment: true,
    });
    void joined.then((answer) => {
      if (answer.error !== undefined) return this.classic.delete(groupId);
      const { memberId, generation } = answer;
      this.classic.set(groupId, { memberId, generation });
      const assignments = new Map(answer.members.map((member) => [member.memberId, Buffer.from(`${generation} for ${member.memberId}`)]));
      const sync = { groupId, memberId, groupInstanceId: undefined, generation, protocolType: undefined, protocolName: undefined };
      return void shard.sync({ ...sync, assignments });
    });
  }

  leave(groupId: string): void {
    const who = this.classic.get(groupId);
    this.classic.delete(groupId);
    if (who !== undefined) void this.h.shard.leave(groupId, [{ memberId: who.memberId, groupInstanceId: undefined }]);
  }

  beat(groupId: string, member: string, pattern: string | undefined, leaves: boolean): void {
    const key = `${groupId}/${member}`;
    const memberEpoch = leaves ? -1 : (this.epochs.get(key) ?? 0);
    const isJoin = memberEpoch === 0;
    const beat = this.h.shard.heartbeatConsumer({
      groupId,
      memberId: member,
      memberEpoch,
      instanceId: member === "m2" ? "static" : undefined,
      rackId: undefined,
      clientId: member,
      clientHost: "/127.0.0.1",
      rebalanceTimeoutMs: isJoin ? 2_000 : undefined,
      topics: isJoin && pattern === undefined ? TOPICS : undefined,
      pattern: isJoin ? pattern : undefined,
      serverAssignor: undefined,
      owned: isJoin ? new Map() : undefined,
    });
    void beat.then((answer) => {
      if (leaves || isRefusal(answer as object as Refusal)) this.epochs.delete(key);
      else if ("memberEpoch" in answer) this.epochs.set(key, answer.memberEpoch);
    });
  }

  async crash(remains = this.h.log.remains): Promise<void> {
    this.h = await this.h.crash(remains);
    this.classic.clear();
    // What was not durable of a transaction is gone, and its producer with it.
    this.openProducers.clear();
  }
}

type Step = (world: World) => unknown;

function pickStep(random: SeededRandom, next: bigint, open: ReadonlySet<number>): Step {
  const roll = random.nextInt(100);
  const groupId = random.pick(GROUPS);
  const topic = random.pick(TOPICS);
  const partition = random.nextInt(3);
  if (roll < 30) return (world) => world.commit(cycle(SIMPLE, next), topic, partition, next, next % 7n === 0n ? 30_000n : undefined);
  if (roll < 40) {
    const producerId = random.pick(PRODUCERS);
    return (world) => world.commitInTransaction(cycle(SIMPLE, next), topic, partition, next, producerId);
  }
  if (roll < 48 && open.size > 0) {
    const producerId = random.pick([...open]);
    const isCommit = random.chance(60);
    return (world) => world.endTransaction(producerId, isCommit);
  }
  if (roll < 52) return (world) => world.join(cycle(next % STRAYS === 0n ? CONSUMER : CLASSIC, next), `client${next % 3n}`);
  if (roll < 54) return (world) => world.leave(cycle(CLASSIC, next));
  if (roll < 68) {
    const member = random.pick(MEMBERS);
    const pattern = random.chance(30) ? "t.*" : undefined;
    const leaves = random.chance(12);
    return (world) => world.beat(cycle(next % STRAYS === 0n ? CLASSIC : CONSUMER, next), member, pattern, leaves);
  }
  if (roll < 71) return (world) => void world.h.shard.deleteGroup(groupId);
  if (roll < 72) return (world) => void world.h.shard.deleteOffsets(groupId, [{ topic, partition }]);
  if (roll < 73) return (world) => world.h.shard.expire();
  if (roll < 76) return (world) => world.h.log.upload();
  if (roll < 80) return (world) => world.h.log.quiet();
  const advanceMs = random.pick([0, 1, 3, 50, 400]);
  return async (world) => {
    await world.h.log.release();
    await world.h.around.clock.advance(advanceMs);
  };
}

function cycle<T>(from: readonly T[], next: bigint): T {
  return from[Number(next % BigInt(from.length))] as T;
}

async function run(seed: number): Promise<{ readonly rewrites: number; readonly trimmed: number }> {
  const random = new SeededRandom(seed);
  const rewriting = new World(REWRITE_ABOVE_BYTES);
  const plain = new World(Number.MAX_SAFE_INTEGER);
  for (const { h } of [rewriting, plain]) await h.shard.load();
  let rewrites = 0;
  let trimmed = 0;
  for (let life = 0; life < 3; life++) {
    const steps = 100 + random.nextInt(200);
    for (let number = 0; number < steps; number++) {
      const step = pickStep(random, BigInt(life * 10_000 + number), plain.openProducers);
      for (const world of [rewriting, plain]) {
        await step(world);
        await settle();
      }
    }
    rewrites += rewriting.h.log.starts.length;
    trimmed += rewriting.h.log.log.logStartOffset;
    const { remains } = rewriting.h.log;
    const whole = await plain.h.crash({ ...remains, logStartOffset: 0 });
    await plain.crash();
    await rewriting.crash();
    expect(rewriting.h.dump()).toEqual(plain.h.dump());
    expect(whole.dump()).toEqual(plain.h.dump());
    whole.shard.close();
    // In the next life both begin with the same log: in which order a log names members is nobody's business, but targets are made by it.
    await plain.crash(remains);
  }
  return { rewrites, trimmed };
}

/** Over all seeds: rewrites that came to their end. */
let rewrites = 0;

for (let seed = 1; seed <= SEEDS; seed++) {
  test(`a log that is written anew says what it said, wherever it is cut off: seed ${seed}`, async () => {
    const ran = await run(seed);
    rewrites += ran.rewrites;
    expect(ran.trimmed).toBeGreaterThan(0);
  }, 60_000);
}

test("logs were written anew many times", () => expect(rewrites).toBeGreaterThan(3 * SEEDS));
