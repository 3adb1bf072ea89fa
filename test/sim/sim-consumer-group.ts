/**
 * The consumer groups of a run: clients that are members again and again, leave, fall silent, come back under their old epoch or as the same static member; topics that
 * come, go and grow; an observer that has the groups described. When the faults have healed the group must come to rest, and a coordinator that begins anew
 * must know it as it was.
 */
import {
  createPartitionsApi,
  newCreatePartitionsRequest,
  newCreatePartitionsTopic,
} from "../../src/protocol/messages/create-partitions.ts";
import { findCoordinatorApi, newFindCoordinatorRequest } from "../../src/protocol/messages/find-coordinator.ts";
import type { SeededRandom } from "../unit/support/seeded-random.ts";
import { ConsumerMember, type Subscription } from "./consumer-member.ts";
import { ConsumerGroupModel } from "./consumer-model.ts";
import { haunt, type Reading } from "./consumer-remains.ts";
import { CoordinatorLink, describeGroup } from "./consumer-requests.ts";
import { findUnrest, type Settled } from "./consumer-rest.ts";
import { TopicDirectory } from "./consumer-topics.ts";
import type { History } from "./history.ts";
import { CONSUMER_SESSION_MS } from "./scenarios.ts";
import { ConnectionLost } from "./sim-client.ts";
import { type ClientPlace, createSimTopic, deleteSimTopic, RETRIABLE } from "./sim-clients.ts";

const GROUP = "sim-consumers";
const SESSION_MS = CONSUMER_SESSION_MS;
const HEARTBEAT_MS = 1_000;
const STATIC_PERCENT = 40;
/** Of 10,000 steps of a member, so many end it, make it silent, or change its subscription. */
const PER_MYRIAD = { leave: 12, leaveForAWhile: 20, abandon: 12, silence: 12, subscribe: 30 };
const GROWN = "grown";
const GROWN_MAX = 5;
const SUBSCRIPTIONS: readonly Omit<Subscription, "assignor">[] = [
  { topics: ["alpha", "beta"], pattern: "" },
  { topics: ["alpha", "beta", GROWN], pattern: "" },
  { topics: ["beta", "reg-1", "reg-2"], pattern: "" },
  { topics: ["alpha"], pattern: "reg-.*" },
  { topics: [], pattern: "(alpha|grown)" },
  { topics: [], pattern: "reg-[0-9]*[02468]" },
];
const ASSIGNORS = ["uniform", "range", "any", "any"] as const;
const CHURN_EVERY_MS = 5_000;
const OBSERVE_EVERY_MS = 400;
/** Sessions of whoever is gone end, patterns are looked at again (10 s), and everybody takes some steps. */
const REST_BOUND_MS = 60_000;

export interface ConsumerGroupsOptions {
  readonly members: number;
  readonly random: SeededRandom;
  readonly history: History;
  lasting(name: string): ClientPlace;
  place(name: string): ClientPlace;
  begin(name: string, work: Promise<void>): void;
}

interface Slot {
  readonly place: ClientPlace;
  readonly name: string;
  member: ConsumerMember | undefined;
}

export class SimConsumerGroups {
  private readonly options: ConsumerGroupsOptions;
  private readonly model: ConsumerGroupModel;
  private readonly topics = new TopicDirectory();
  private readonly slots: Slot[] = [];
  private readonly regs: string[] = [];
  private regCount = 0;
  private grownTo = 1;
  private isCalm = false;
  private isStopping = false;
  private isChurning = true;

  constructor(options: ConsumerGroupsOptions) {
    this.options = options;
    this.model = new ConsumerGroupModel(GROUP, options.history, true);
  }

  private get isAbsent(): boolean {
    return this.options.members === 0;
  }

  async prepare(driver: ClientPlace): Promise<void> {
    if (this.isAbsent) return;
    await createSimTopic(driver, GROWN, this.grownTo);
    const link = new CoordinatorLink(driver);
    const request = newFindCoordinatorRequest({ key: GROUP, keyType: 0 });
    for (let isFound = false; !isFound; ) {
      isFound = await link
        .ask("find-coordinator", findCoordinatorApi, 2, request, ({ errorCode }) => [errorCode])
        .then(({ answer }) => answer.errorCode === 0, ignoreLoss);
    }
    link.close();
  }

  start(): void {
    if (this.isAbsent) return;
    for (let index = 0; index < this.options.members; index++) {
      const name = `subscriber-${index}`;
      const slot: Slot = { place: this.options.lasting(name), name, member: undefined };
      this.slots.push(slot);
      this.options.begin(name, this.runSlot(slot));
    }
    this.options.begin("subscribed-topics", this.churn());
    this.options.begin("groups-observer", this.observe());
  }

  stop(): void {
    this.isStopping = true;
  }

  // --- clients ---

  private async runSlot(slot: Slot): Promise<void> {
    const { random } = slot.place.process;
    const instanceId = random.chance(STATIC_PERCENT) ? slot.name : undefined;
    let subscription = this.pickSubscription(random);
    while (!this.isStopping) {
      const { model, topics } = this;
      const { place } = slot;
      const member = new ConsumerMember({
        place,
        model,
        topics,
        instanceId,
        subscription,
        sessionMs: SESSION_MS,
        heartbeatMs: HEARTBEAT_MS,
      });
      slot.member = member;
      await this.live(member, place);
      ({ subscription } = member);
      const { reading } = member;
      member.close();
      if (!this.isCalm && reading.committer.epoch > 0 && random.chance(50)) this.options.begin(`${slot.name}-remains`, this.haunt(reading));
    }
  }

  /** Resolves when this member is no more. */
  private async live(member: ConsumerMember, place: ClientPlace): Promise<void> {
    const { random } = place.process;
    while (!member.isReplaced) {
      try {
        if (this.isStopping) return await member.leave(-1);
        await place.pace.next();
        await member.step();
        if (random.chance(10)) await member.commitRemains();
        if (!this.isCalm && member.isMember && (await this.meetFate(member, place))) return;
      } catch (error) {
        ignoreLoss(error);
      }
    }
  }

  /** True: it is no more. */
  private async meetFate(member: ConsumerMember, { process }: ClientPlace): Promise<boolean> {
    const { random, clock } = process;
    let lot = random.nextInt(10_000);
    const draws = (share: number): boolean => {
      lot -= share;
      return lot < 0;
    };
    if (draws(PER_MYRIAD.leave)) {
      await member.leave(-1).catch(ignoreLoss);
      return true;
    }
    if (draws(PER_MYRIAD.leaveForAWhile)) {
      if (member.trace.instanceId === undefined) return false;
      await member.leave(-2).catch(ignoreLoss);
      await clock.sleep(random.nextFloat() * (random.chance(20) ? 2 : 0.5) * SESSION_MS);
      return true;
    }
    if (draws(PER_MYRIAD.abandon)) return true;
    if (draws(PER_MYRIAD.silence)) await clock.sleep((0.5 + random.nextFloat()) * SESSION_MS);
    else if (draws(PER_MYRIAD.subscribe)) member.subscribe(this.pickSubscription(random));
    return false;
  }

  /** What is left of a client that died, or was thought dead, goes on for a moment: nothing of it may count. */
  private async haunt(reading: Reading): Promise<void> {
    const place = this.options.place("remains");
    const { random, clock } = place.process;
    await clock.sleep(random.nextFloat() * 1.5 * SESSION_MS);
    const link = new CoordinatorLink(place);
    await haunt(link, this.model, reading).catch(ignoreLoss);
    link.close();
    place.process.kill("done");
  }

  private pickSubscription(random: SeededRandom): Subscription {
    return { ...random.pick(SUBSCRIPTIONS), assignor: random.pick(ASSIGNORS) };
  }

  // --- topics ---

  private async churn(): Promise<void> {
    const place = this.options.place("subscribed-topics");
    const { random, clock } = place.process;
    while (!this.isCalm) {
      await clock.sleep(random.nextFloat() * 2 * CHURN_EVERY_MS);
      if (this.isCalm) break;
      const oldest = this.regs[0];
      if (this.grownTo < GROWN_MAX && random.chance(20)) await this.grow(place);
      else if (oldest !== undefined && (this.regs.length > 3 || random.chance(40))) {
        this.regs.shift();
        await deleteSimTopic(place, oldest);
      } else {
        const name = `reg-${++this.regCount}`;
        await createSimTopic(place, name, 1 + random.nextInt(3));
        this.regs.push(name);
      }
    }
    this.isChurning = false;
  }

  private async grow(place: ClientPlace): Promise<void> {
    const link = new CoordinatorLink(place);
    const count = ++this.grownTo;
    const request = newCreatePartitionsRequest({
      topics: [newCreatePartitionsTopic({ name: GROWN, count, assignments: null })],
      timeoutMs: 8_000,
    });
    const invalidPartitions = 37;
    for (let isDone = false; !isDone; ) {
      isDone = await link
        .ask("create-partitions", createPartitionsApi, 3, request, ({ results }) => results.map(({ errorCode }) => errorCode))
        .then(({ answer }) => {
          const code = answer.results[0]?.errorCode ?? -1;
          if (code !== 0 && code !== invalidPartitions && !RETRIABLE.has(code))
            this.model.find("unexpected-error", `CreatePartitions is answered with error ${code}`);
          return code === 0 || code === invalidPartitions;
        }, ignoreLoss);
    }
    link.close();
  }

  // --- as tools see it ---

  private async observe(): Promise<void> {
    const place = this.options.place("groups-observer");
    const link = new CoordinatorLink(place);
    const { random, clock } = place.process;
    const notFound = 69;
    while (!this.isStopping) {
      await clock.sleep(random.nextFloat() * 2 * OBSERVE_EVERY_MS);
      try {
        const { answer, isCurrent, sentMs } = await describeGroup(link, GROUP);
        if (answer.errorCode === 0) {
          if (isCurrent) this.model.described(answer, sentMs);
        } else if (answer.errorCode !== notFound)
          this.model.find("unexpected-error", `a describe is answered with error ${answer.errorCode}`);
      } catch (error) {
        ignoreLoss(error);
      }
    }
    link.close();
  }

  /** After the faults: nobody changes anything any more, and the group must come to rest. */
  async settle(driver: ClientPlace): Promise<void> {
    if (this.isAbsent) return;
    this.isCalm = true;
    const link = new CoordinatorLink(driver);
    const { clock } = driver.process;
    const endMs = driver.history.nowMs + REST_BOUND_MS;
    for (;;) {
      const unrest = await this.findUnrest(link);
      if (unrest === undefined) break;
      if (driver.history.nowMs > endMs) {
        this.model.find("stuck", `the group does not come to rest within ${REST_BOUND_MS} ms after the faults: ${unrest}`);
        break;
      }
      await clock.sleep(250);
    }
    link.close();
  }

  private async findUnrest(link: CoordinatorLink): Promise<string | undefined> {
    if (this.isChurning) return "topics change";
    try {
      const { answer, isCurrent, sentMs } = await describeGroup(link, GROUP);
      if (!isCurrent) return "a replaced broker answers";
      this.model.described(answer, sentMs);
      const topics = await this.topics.find(link, ["alpha", "beta", GROWN, ...this.regs]);
      const members = this.slots.map(({ member }): Settled | undefined => member);
      return findUnrest(answer, members, topics, this.model);
    } catch (error) {
      ignoreLoss(error);
      return "the broker does not answer";
    }
  }
}

/** For whatever is tried again or given up. */
function ignoreLoss(error: unknown): false {
  if (!(error instanceof ConnectionLost)) throw error;
  return false;
}
