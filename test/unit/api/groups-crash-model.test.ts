/**
 * Commits, deletions and crashes at random under a seed, against a model: what was acknowledged, or told by a fetch, is there after a crash unless a later
 * commit took its place; what was neither may be there or not; nothing else ever is.
 */
import { expect, test } from "bun:test";
import type { CommittedOffset } from "../../../src/group/group-types.ts";
import { ApiHarness, loseVolatile } from "../support/api-harness.ts";
import { settle } from "../support/manual-clock.ts";
import { SeededRandom } from "../support/seeded-random.ts";

const GROUPS = ["a", "b", "c", "d"];
const PARTITIONS = 2;
const GONE = -1n;

/** Values that a partition may have: the first is certain, the others were asked for later and are not answered. */
type Possible = bigint[];

class Model {
  readonly #possible = new Map<string, Possible>();

  of(key: string): Possible {
    let values = this.#possible.get(key);
    if (values === undefined) {
      values = [GONE];
      this.#possible.set(key, values);
    }
    return values;
  }

  ask(key: string, value: bigint): void {
    this.of(key).push(value);
  }

  /** `value` is certain now: what was before it is over. */
  settle(key: string, value: bigint): void {
    const values = this.of(key);
    const at = values.lastIndexOf(value);
    if (at > 0) values.splice(0, at);
  }
}

function crash(h: ApiHarness): ApiHarness {
  h.services.groups.close();
  loseVolatile(h);
  return new ApiHarness({}, h.storage, h.metadata);
}

async function read(h: ApiHarness, group: string, partition: number): Promise<CommittedOffset | undefined | "refused"> {
  const { topicId } = h.metadata.topics.get("t")!;
  const found = await h.services.groups.fetch(group, [{ topic: "t", topicId, partitions: [partition] }], false);
  return typeof found === "string" ? "refused" : found[0]?.partitions[0]?.committed;
}

async function run(seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  const model = new Model();
  let h = new ApiHarness();
  h.metadata.addTopic("t", PARTITIONS);
  const { topicId } = h.metadata.topics.get("t")!;
  await h.services.groups.findCoordinator("a");
  h.storage.isDurableAtOnce = false;
  let next = 1n;
  const commit = (group: string, partition: number): void => {
    const offset = next++;
    const key = `${group}-${partition}`;
    model.ask(key, offset);
    const offsets = [{ topic: "t", topicId, partition, offset, leaderEpoch: -1, metadata: "" }];
    const request = { groupId: group, memberId: "", groupInstanceId: undefined, generation: -1, retentionMs: undefined, offsets };
    void h.services.groups.commit(request, true).then((outcome) => {
      if (typeof outcome !== "string" && outcome[0] === undefined) model.settle(key, offset);
    });
  };
  const remove = (group: string): void => {
    const keys = Array.from({ length: PARTITIONS }, (_, partition) => `${group}-${partition}`);
    for (const key of keys) model.ask(key, GONE);
    void h.services.groups.deleteGroup(group).then((error) => {
      if (error === undefined) for (const key of keys) model.settle(key, GONE);
    });
  };
  for (let step = 0; step < 300; step++) {
    const roll = random.nextInt(100);
    const group = random.pick(GROUPS);
    const partition = random.nextInt(PARTITIONS);
    if (roll < 55) commit(group, partition);
    else if (roll < 62) remove(group);
    else if (roll < 85) h.storage.release();
    else if (roll < 95) {
      const key = `${group}-${partition}`;
      void read(h, group, partition).then((told) => {
        if (told !== "refused") model.settle(key, told?.offset ?? GONE);
      });
    } else h = crash(h);
    await settle();
    if (roll >= 95) await checkAll(h, model);
  }
}

/** Everything is read back, and is certain from then on. */
async function checkAll(h: ApiHarness, model: Model): Promise<void> {
  h.services.groups.loadOwned();
  await settle();
  for (const group of GROUPS) {
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const told = await read(h, group, partition);
      if (told === "refused") throw new Error("the load did not end");
      const key = `${group}-${partition}`;
      const offset = told?.offset ?? GONE;
      expect(model.of(key)).toContain(offset);
      model.of(key).splice(0, Number.POSITIVE_INFINITY, offset);
    }
  }
}

for (let seed = 1; seed <= 40; seed++) test(`acknowledged commits survive crashes, seed ${seed}`, () => run(seed));
