/**
 * The consumer groups of a run: one of the consumer protocol alone, and one whose members come by either protocol, so that it goes from the one to the other; topics that
 * come, go and grow; an observer that has the groups described. When the faults have healed each group must come to rest, and a coordinator that begins anew
 * must know it as it was.
 */
import type { DescribedGroup } from "../../src/protocol/messages/consumer-group-describe.ts";
import { findCoordinatorApi, newFindCoordinatorRequest } from "../../src/protocol/messages/find-coordinator.ts";
import { GROWN, TopicChurn } from "./consumer-churn.ts";
import { type Fates, GroupClients, HEARTBEAT_MS } from "./consumer-clients.ts";
import { REBALANCE_TIMEOUT_MS, type Subscription } from "./consumer-member.ts";
import { ConsumerGroupModel, PartitionTrace } from "./consumer-model.ts";
import { CoordinatorLink, commitOffsets, describeCurrent, describeGroup, fetchOffsets, ignoreLoss } from "./consumer-requests.ts";
import { findUnrest } from "./consumer-rest.ts";
import { TopicDirectory } from "./consumer-topics.ts";
import type { History } from "./history.ts";
import type { ClientPlace } from "./sim-clients.ts";

const LASTING_TOPICS = ["alpha", "beta", GROWN];
const SUBSCRIPTIONS: readonly Omit<Subscription, "assignor">[] = [
  { topics: ["alpha", "beta"], pattern: "" },
  { topics: ["alpha", "beta", GROWN], pattern: "" },
  { topics: ["beta", "reg-1", "reg-2"], pattern: "" },
  { topics: ["alpha"], pattern: "reg-.*" },
  { topics: [], pattern: "(alpha|grown)" },
  { topics: [], pattern: "reg-[0-9]*[02468]" },
];
const MIXED_SUBSCRIPTIONS: readonly Omit<Subscription, "assignor">[] = [
  { topics: ["alpha", "beta"], pattern: "" },
  { topics: ["alpha"], pattern: "" },
  { topics: ["beta", GROWN], pattern: "" },
];
const FATES: Fates = { leave: 12, leaveForAWhile: 20, abandon: 12, silence: 12, subscribe: 30 };
const MIXED_FATES: Fates = { leave: 25, leaveForAWhile: 0, abandon: 12, silence: 12, subscribe: 15 };
const GROUP_ID_NOT_FOUND = 69;
const OBSERVE_EVERY_MS = 400;
/** Sessions of whoever is gone end, patterns are looked at again (10 s), and everybody takes some steps. */
const REST_BOUND_MS = 60_000;
/** Between a describe and the death of who answered it. */
const TAKEOVER_MS = 1_000;
const KEEP_WRITING_MS = 3_000;

export interface ConsumerGroupsOptions {
  /** Of the group of the consumer protocol, and of the one with both. */
  readonly subscribers: number;
  readonly mixedSubscribers: number;
  /** Members of the classic protocol let go only what they have to. */
  readonly isCooperative: boolean;
  /** How much more often than usual something happens to a member. */
  readonly haste: number;
  readonly history: History;
  lasting(name: string): ClientPlace;
  place(name: string): ClientPlace;
  begin(name: string, work: Promise<void>): void;
  /** The broker dies; somebody starts another. */
  restart(): void;
}

export class SimConsumerGroups {
  private readonly options: ConsumerGroupsOptions;
  private readonly topics = new TopicDirectory();
  private readonly churn = new TopicChurn();
  private readonly groups: GroupClients[] = [];
  private isStopping = false;
  private isChecked = false;

  constructor(options: ConsumerGroupsOptions) {
    this.options = options;
    if (options.subscribers > 0) this.groups.push(this.makeGroup("sim-consumers", false));
    if (options.mixedSubscribers > 0) this.groups.push(this.makeGroup("sim-migrants", true));
  }

  private makeGroup(groupId: string, isMixed: boolean): GroupClients {
    const { history, haste, place, begin } = this.options;
    const { topics } = this;
    const fates = Object.fromEntries(
      Object.entries(isMixed ? MIXED_FATES : FATES).map(([name, share]) => [name, share * haste]),
    ) as unknown as Fates;
    const model = new ConsumerGroupModel(groupId, history, !isMixed);
    const subscriptions = isMixed ? MIXED_SUBSCRIPTIONS : SUBSCRIPTIONS;
    return new GroupClients({ model, topics, fates, isMixed, isCooperative: this.options.isCooperative, place, begin, subscriptions });
  }

  async prepare(driver: ClientPlace): Promise<void> {
    if (this.groups.length === 0) return;
    await this.churn.prepare(driver);
    const link = new CoordinatorLink(driver);
    for (const { model } of this.groups) {
      const request = newFindCoordinatorRequest({ key: model.groupId, keyType: 0 });
      for (let isFound = false; !isFound; ) {
        isFound = await link
          .ask("find-coordinator", findCoordinatorApi, 2, request, ({ errorCode }) => [errorCode])
          .then(({ answer }) => answer.errorCode === 0, ignoreLoss);
      }
    }
    await this.topics.find(link, LASTING_TOPICS);
    link.close();
  }

  start(): void {
    if (this.groups.length === 0) return;
    const { subscribers, mixedSubscribers, begin, lasting, place } = this.options;
    for (const group of this.groups) {
      const isMixed = !group.model.hasOneProtocol;
      for (let index = 0; index < (isMixed ? mixedSubscribers : subscribers); index++) {
        const name = `${isMixed ? "migrant" : "subscriber"}-${index}`;
        group.start(name, lasting(name));
      }
    }
    begin("subscribed-topics", this.churn.run(place("subscribed-topics")));
    begin("groups-observer", this.observe(place("groups-observer")));
  }

  stop(): void {
    this.isStopping = true;
    for (const group of this.groups) group.isStopping = true;
    if (this.groups.length > 0) void this.keepWriting();
  }

  private async observe(place: ClientPlace): Promise<void> {
    const link = new CoordinatorLink(place);
    const { random, clock } = place.process;
    while (!this.isStopping) {
      await clock.sleep(random.nextFloat() * 2 * OBSERVE_EVERY_MS);
      const { model } = random.pick(this.groups);
      const described = await describeGroup(link, model.groupId).catch(ignoreLoss);
      if (described === false) continue;
      const { answer, isCurrent, sentMs } = described;
      if (answer.errorCode === 0 && isCurrent) model.described(answer, sentMs);
      else if (answer.errorCode !== 0 && answer.errorCode !== GROUP_ID_NOT_FOUND)
        model.find("unexpected-error", `a describe is answered with error ${answer.errorCode}`);
    }
    link.close();
  }

  // --- after the faults ---

  /** Nobody changes anything any more, and each group must come to rest. A coordinator that begins anew knows it as it was, before and then. */
  async settle(driver: ClientPlace): Promise<void> {
    if (this.groups.length === 0) return;
    this.churn.isStopping = true;
    for (const group of this.groups) group.isCalm = true;
    const link = new CoordinatorLink(driver);
    await this.compareTakeover(driver, link);
    await this.rest(driver, link);
    await this.compareTakeover(driver, link);
    await driver.process.clock.sleep(2 * HEARTBEAT_MS);
    await this.rest(driver, link);
    // The coordinator is the same for a while, and nothing else makes it look.
    await this.churn.grow(driver);
    await this.rest(driver, link);
    link.close();
  }

  private async rest(driver: ClientPlace, link: CoordinatorLink): Promise<void> {
    const endMs = driver.history.nowMs + REST_BOUND_MS;
    for (const group of this.groups) {
      for (let unrest = await this.findUnrest(group, link); unrest !== undefined; unrest = await this.findUnrest(group, link)) {
        if (driver.history.nowMs > endMs)
          return group.model.find("stuck", `the group does not come to rest within ${REST_BOUND_MS} ms after the faults: ${unrest}`);
        await driver.process.clock.sleep(250);
      }
    }
  }

  private async findUnrest({ model, members }: GroupClients, link: CoordinatorLink): Promise<string | undefined> {
    if (!this.churn.isOver) return "topics change";
    try {
      const { answer, isCurrent, sentMs } = await describeGroup(link, model.groupId);
      if (!isCurrent) return "a replaced broker answers";
      if (answer.errorCode === 0) model.described(answer, sentMs);
      const topics = await this.topics.find(link, [...LASTING_TOPICS, ...this.churn.names]);
      return findUnrest(answer, members, topics, model);
    } catch (error) {
      ignoreLoss(error);
      return "the broker does not answer";
    }
  }

  /** While nobody does anything, the broker dies: what a group is is what its log says. */
  private async compareTakeover(driver: ClientPlace, link: CoordinatorLink): Promise<void> {
    const { groups, options } = this;
    for (const group of groups) group.isFrozen = true;
    while (groups.some(({ active }) => active > 0)) await driver.process.clock.sleep(20);
    const before = new Map<GroupClients, DescribedGroup>();
    for (const group of groups) before.set(group, await describeCurrent(link, group.model.groupId));
    const nowMs = driver.history.nowMs;
    const isSteady = ({ members }: DescribedGroup, { model }: GroupClients): boolean =>
      members.every(({ memberId }) => model.members.get(memberId)?.mayBeOut(nowMs + TAKEOVER_MS) === false);
    const steady = [...before].filter(([group, described]) => isSteady(described, group));
    options.restart();
    for (const [{ model }, described] of steady) {
      const [was, is] = [summaryOf(described), summaryOf(await describeCurrent(link, model.groupId))];
      // By then the next coordinator may have expelled somebody.
      if (driver.history.nowMs - nowMs > REBALANCE_TIMEOUT_MS) break;
      if (was !== is) model.find("divergent-replay", `the group was described as ${was}, and by the next coordinator as ${is}`);
      options.history.done("takeover-compared");
    }
    for (const group of groups) group.isFrozen = false;
  }

  /** Nobody works any more, and the last coordinator began anew. */
  async checkEnd(driver: ClientPlace): Promise<void> {
    if (this.groups.length === 0) return;
    const link = new CoordinatorLink(driver);
    const topics = await this.topics.find(link, [...LASTING_TOPICS, ...this.churn.names]);
    const ids = new Set(Array.from(topics.values(), ({ topicId }) => topicId));
    for (const { model } of this.groups) {
      await this.checkOffsets(link, model, ids);
      const { nowMs } = driver.history;
      const described = await describeCurrent(link, model.groupId);
      if (described.errorCode === 0) model.described(described, nowMs);
    }
    link.close();
    this.isChecked = true;
  }

  private async checkOffsets(link: CoordinatorLink, model: ConsumerGroupModel, topicIds: ReadonlySet<string>): Promise<void> {
    const partitions = [...model.allPartitions()].filter(({ log, topicId }) => log !== undefined && topicIds.has(topicId));
    for (let isDone = partitions.length === 0; !isDone; ) {
      const fetched = await fetchOffsets(link, model.groupId, undefined, partitions, true).catch(ignoreLoss);
      isDone = fetched !== false && fetched.isCurrent;
      if (fetched === false || !fetched.isCurrent) {
        link.close();
        continue;
      }
      for (const [at, { errorCode, offset }] of fetched.answer) {
        if (errorCode !== 0) model.find("unexpected-error", `OffsetFetch of ${at.name} is answered with error ${errorCode} at the end`);
        else model.offsetFetched(undefined, at, offset, at.acknowledged);
      }
    }
  }

  /** A broker whose volume somebody else has opened learns it by writing: when everybody has left, nobody else writes any more. */
  private async keepWriting(): Promise<void> {
    const place = this.options.place("keeper");
    const link = new CoordinatorLink(place);
    const committer = { groupId: "keeper", memberId: "", epoch: -1, instanceId: undefined };
    const at = new PartitionTrace("", 0);
    at.log = place.history.log("alpha", 0);
    while (!this.isChecked) {
      await place.process.clock.sleep(KEEP_WRITING_MS);
      await commitOffsets(link, committer, [{ at, offset: 0 }], false).catch(ignoreLoss);
    }
    link.close();
  }
}

/** All that a describe says, in an order of its own. */
function summaryOf({ members, ...group }: DescribedGroup): string {
  const sorted = members.map((member) => ({
    ...member,
    assignment: partsOf(member.assignment.topicPartitions),
    targetAssignment: partsOf(member.targetAssignment.topicPartitions),
  }));
  sorted.sort((a, b) => (a.memberId < b.memberId ? -1 : 1));
  return JSON.stringify({ ...group, members: sorted });
}

function partsOf(topics: readonly { readonly topicName: string; readonly partitions: readonly number[] }[]): readonly string[] {
  return topics.flatMap(({ topicName, partitions }) => partitions.map((partition) => `${topicName}-${partition}`)).sort();
}
