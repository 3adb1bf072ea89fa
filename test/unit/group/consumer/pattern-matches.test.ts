/** Patterns over many topics: what is matched is what matching anew would give, and nobody waits for a pattern of somebody else. */
import { expect, test } from "bun:test";
import { compilePattern } from "../../../../src/base/linear-pattern.ts";
import { PatternMatches } from "../../../../src/group/consumer/pattern-matches.ts";
import { TopicWatch } from "../../../../src/group/consumer/topic-watch.ts";
import { FakeMetadata } from "../../support/fake-metadata.ts";
import { ManualClock, settle } from "../../support/manual-clock.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { ConsumerClient, ConsumerHarness } from "./consumer-harness.ts";

/** More than is matched without a pause. */
const MANY = 3_000;
const PIECE = 200;

/** Every look at it takes longer than a stretch, so that all long work pauses after each piece, a millisecond each time. */
class SlowClock extends ManualClock {
  pauses = 0;
  #looks = 0;

  override monotonicMs(): number {
    return super.monotonicMs() + this.#looks++ * 10;
  }

  override sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    this.pauses += 1;
    return super.sleep(Math.max(1, delayMs), signal);
  }
}

class Cluster {
  readonly metadata = new FakeMetadata();
  readonly clock = new SlowClock();
  readonly watch: TopicWatch;
  readonly matches: PatternMatches;

  constructor(topics = 0) {
    for (let index = 0; index < topics; index++) this.metadata.addTopic(`topic-${index}`);
    this.watch = new TopicWatch(this.metadata.image);
    this.metadata.onChange((topicIds) => this.watch.note(this.metadata.image, topicIds));
    this.matches = new PatternMatches(this.clock, this.watch);
  }

  expected(pattern: string): string[] {
    const compiled = compilePattern(pattern);
    if (compiled.kind === "invalid-pattern") throw new Error(compiled.reason);
    return [...this.metadata.topics.keys()].filter((name) => compiled.matches(name)).sort();
  }
}

test("few names are matched at once; what is not RE2 is told", () => {
  const { matches, clock } = new Cluster(20);
  expect(matches.prepare("topic-1.*")).toBeUndefined();
  expect(matches.find("topic-1.")).toEqual(Array.from({ length: 10 }, (_, index) => `topic-1${index}`));
  expect(matches.find("(")).toMatchObject({ kind: "invalid-pattern" });
  expect(matches.prepare("(")).toBeUndefined();
  expect(clock.pauses).toBe(0);
});

test("many names are matched in pieces, others run in between, and the same names are the same list", async () => {
  const cluster = new Cluster(MANY);
  const { matches, clock, metadata } = cluster;
  let isPrepared = false;
  const patterns = ["other.*", "topic-.*7", ".*"];
  expect(matches.isReady(patterns)).toBe(false);
  // Waited for: it comes before what the look above has left to be done.
  const prepared = matches.prepare(".*")?.then(() => {
    isPrepared = true;
  });
  for (let turn = 0; turn < 5; turn++) {
    expect(isPrepared).toBe(false);
    // Of which the last must be seen too.
    metadata.addTopic(`late-${turn}7`);
    await clock.advance(1);
  }
  while (!isPrepared) await clock.advance(1);
  await prepared;
  expect(clock.pauses).toBeGreaterThanOrEqual((2 * MANY) / PIECE);
  expect(clock.pauses).toBeLessThan((5 * MANY) / PIECE);
  expect(matches.isReady(patterns)).toBe(false);
  for (let turn = 0; turn < (2 * MANY) / PIECE; turn++) await clock.advance(1);
  expect(matches.isReady(patterns)).toBe(true);
  for (const pattern of patterns) expect(matches.find(pattern)).toEqual(cluster.expected(pattern));
  const all = matches.find(".*");
  metadata.addTopic("another");
  expect(matches.find("topic-.*7")).toBe(matches.find("topic-.*7"));
  expect(matches.find(".*")).not.toBe(all);
});

test.each(Array.from({ length: 20 }, (_, seed) => seed))("topics come, go and come again: as if matched anew, seed %i", async (seed) => {
  const random = new SeededRandom(seed);
  const cluster = new Cluster(random.pick([0, 5, MANY]));
  const { metadata, matches, clock } = cluster;
  const patterns = ["topic-.*", ".*1", "new-[0-4].*", "none", ".*"];
  for (let step = 0; step < 60; step++) {
    const name = `new-${random.nextInt(12)}`;
    const known = metadata.topics.get(name);
    if (known === undefined) metadata.addTopic(name);
    else await metadata.deleteTopics([known.topicId]);
    // Under another id, in one change.
    if (known !== undefined && random.chance(30)) metadata.addTopic(name);
    const pattern = random.pick(patterns);
    if (random.chance(20)) void matches.prepare(pattern);
    if (random.chance(30)) await clock.advance(1);
    if (random.chance(60)) expect(matches.find(pattern)).toEqual(cluster.expected(pattern));
  }
});

test("more changes than are remembered: everything is looked at again", async () => {
  const cluster = new Cluster(3);
  const { metadata, matches, watch } = cluster;
  expect(matches.find(".*")).toHaveLength(3);
  const { topicId } = metadata.addTopic("flicker");
  const { position } = watch;
  const view = metadata.image.getTopicById(topicId);
  const [there, gone] = [view, undefined].map((topic) => ({ ...metadata.image, getTopicById: () => topic }));
  for (let change = 0; change < 10_001; change++)
    for (const image of [gone, there]) if (image !== undefined) watch.note(image, new Set([topicId]));
  expect(watch.changesSince(position)).toBeUndefined();
  expect(watch.position).toBe(position + 20_002);
  expect(matches.find(".*")).toEqual(cluster.expected(".*"));
});

test("a join with a pattern over many topics waits for it, and the heartbeats of others do not", async () => {
  const clock = new SlowClock();
  const harness = new ConsumerHarness({}, clock);
  for (let index = 0; index < MANY; index++) harness.metadata.addTopic(`topic-${index}`);
  const other = new ConsumerClient(harness, "other", { topics: ["topic-1"] });
  await other.beat();
  const member = new ConsumerClient(harness, "m", { pattern: "topic-[0-9]" });
  let hasJoined = false;
  const joining = member.beat().then(() => {
    hasJoined = true;
  });
  for (let beat = 0; beat < 3; beat++) {
    expect(await other.beat()).toMatchObject({ memberEpoch: other.epoch });
    await settle();
    expect(hasJoined).toBe(false);
  }
  while (!hasJoined) await clock.advance(1);
  await joining;
  expect(harness.group.patterns().get("topic-[0-9]")?.topics).toHaveLength(10);
});
