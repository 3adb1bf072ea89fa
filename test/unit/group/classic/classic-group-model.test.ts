/**
 * Members that join, leave, fall silent, restart and answer late, at random under a seed. Whatever they do: the generation only rises, all who joined
 * one generation agree on its leader and only the leader gets the members, every request is answered once, and when they behave again the
 * group becomes stable with exactly those who are there.
 */
import { describe, expect, test } from "bun:test";
import type { JoinAnswer, SyncAnswer } from "../../../../src/group/group-types.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { GroupHarness, type Reply, subscription } from "./group-harness.ts";

/** One client as a well-written one behaves: it does what the answers tell it. */
class Client {
  memberId = "";
  generation = -1;
  isAlive = true;
  isAssigned = false;
  join: Reply<JoinAnswer> | undefined;
  sync: Reply<SyncAnswer> | undefined;
  readonly instanceId: string | undefined;
  readonly #h: GroupHarness;
  readonly #seen: Generations;

  constructor(h: GroupHarness, seen: Generations, instanceId: string | undefined) {
    this.#h = h;
    this.#seen = seen;
    this.instanceId = instanceId;
  }

  /** Takes an answer if there is one, then does the next thing. */
  step(topics: number): void {
    if (!this.isAlive) return;
    if (this.join !== undefined) this.#afterJoin(this.join);
    else if (this.sync !== undefined) this.#afterSync(this.sync);
    else if (!this.isAssigned) this.#sendJoin(topics);
    else this.#beat();
  }

  /** The process restarts: a static member keeps its instance id, nobody its member id. */
  restart(): void {
    this.memberId = "";
    this.isAlive = true;
    this.isAssigned = false;
    this.join = undefined;
    this.sync = undefined;
  }

  leave(): void {
    this.#h.group.leave([{ memberId: this.memberId, groupInstanceId: this.instanceId }]);
    this.isAlive = false;
  }

  #sendJoin(topics: number): void {
    const protocols = [{ name: "range", metadata: subscription(...["a", "b", "c"].slice(0, topics)) }];
    this.join = this.#h.join({
      memberId: this.memberId,
      groupInstanceId: this.instanceId,
      protocols,
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 20_000,
    });
  }

  #afterJoin(reply: Reply<JoinAnswer>): void {
    expect(reply.count).toBeLessThanOrEqual(1);
    const answer = reply.value;
    if (answer === undefined) return;
    this.join = undefined;
    if (answer.error === "member-id-required") this.memberId = answer.memberId;
    else if (answer.error === "fenced-instance") this.isAlive = false;
    else if (answer.error !== undefined) this.memberId = "";
    else this.#takePart(answer);
  }

  #takePart(answer: JoinAnswer): void {
    this.memberId = answer.memberId;
    this.generation = answer.generation;
    this.#seen.note(answer);
    const isLeader = answer.leaderId === answer.memberId && !answer.skipAssignment;
    const assignments = isLeader ? Object.fromEntries(answer.members.map((member) => [member.memberId, member.memberId])) : {};
    this.sync = this.#h.sync(this.memberId, this.generation, assignments, this.instanceId);
  }

  #afterSync(reply: Reply<SyncAnswer>): void {
    expect(reply.count).toBeLessThanOrEqual(1);
    const answer = reply.value;
    if (answer === undefined) return;
    this.sync = undefined;
    this.#obey(answer.error);
    this.isAssigned = answer.error === undefined;
  }

  #beat(): void {
    const error = this.#h.heartbeat(this.memberId, this.generation, this.instanceId);
    if (error !== undefined) this.isAssigned = false;
    this.#obey(error);
  }

  #obey(error: string | undefined): void {
    if (error === "fenced-instance") this.isAlive = false;
    if (error === "unknown-member") this.memberId = "";
  }
}

/** What answers of joins said of each generation. */
class Generations {
  readonly #leaders = new Map<number, string>();
  highest = 0;

  note({ generation, leaderId, memberId, members, skipAssignment }: JoinAnswer): void {
    expect(generation).toBeGreaterThan(0);
    this.highest = Math.max(this.highest, generation);
    // A static leader that came back leads under its new id.
    const known = this.#leaders.get(generation);
    if (known === undefined || skipAssignment) this.#leaders.set(generation, leaderId);
    else if (leaderId !== memberId) expect(leaderId.slice(0, 2)).toBe(known.slice(0, 2));
    if (leaderId !== memberId) expect(members.length).toBe(0);
  }
}

async function run(seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  const h = new GroupHarness({ initialRebalanceDelayMs: random.pick([0, 1000, 3000]), isDurableAtOnce: random.chance(50) });
  const seen = new Generations();
  const clients = Array.from({ length: 8 }, (_, index) => new Client(h, seen, index % 3 === 0 ? `s${index}` : undefined));
  let generation = 0;
  for (let step = 0; step < 600; step++) {
    const client = random.pick(clients);
    const roll = random.nextInt(100);
    if (roll < 3) client.isAlive = false;
    else if (roll < 7) client.restart();
    else if (roll < 10 && client.memberId !== "") client.leave();
    else client.step(1 + random.nextInt(random.chance(10) ? 3 : 1));
    if (random.chance(60)) h.host.held.shift()?.done(random.chance(5) ? "record-too-large" : undefined);
    if (random.chance(30)) await h.host.clock.advance(random.nextInt(3000));
    expect(h.group.generation).toBeGreaterThanOrEqual(generation);
    generation = h.group.generation;
    checkRoster(h);
  }
  await settle(h, clients);
}

function checkRoster({ group }: GroupHarness): void {
  const { roster } = group;
  const members = [...roster.all()];
  if (members.length > 0) expect(members.filter((member) => member.memberId === roster.leaderId).length).toBe(1);
  expect(members.filter((member) => member.answerJoin !== undefined).length).toBe(roster.awaitingJoinCount);
  const instances = members.map((member) => member.groupInstanceId).filter((id) => id !== undefined);
  expect(new Set(instances).size).toBe(instances.length);
  if (group.state === "Empty") expect(members.length).toBe(0);
  if (group.state === "Stable" || group.state === "CompletingRebalance") expect(members.length).toBeGreaterThan(0);
}

/** From now on nobody fails: the group must come to rest with all who are there. */
async function settle(h: GroupHarness, clients: readonly Client[]): Promise<void> {
  for (const client of clients) client.restart();
  for (let second = 0; second < 120; second++) {
    for (const client of clients) for (let turn = 0; turn < 3; turn++) client.step(1);
    for (const { done } of h.host.held.splice(0)) done(undefined);
    await h.host.clock.advance(1000);
  }
  expect(h.group.state).toBe("Stable");
  expect(clients.every((client) => client.isAssigned && client.generation === h.group.generation)).toBe(true);
  expect([...h.group.roster.all()].map((member) => member.memberId).sort()).toEqual(clients.map((client) => client.memberId).sort());
}

describe("members at random", () => {
  for (let seed = 1; seed <= 60; seed++) test(`seed ${seed}`, () => run(seed));
});
