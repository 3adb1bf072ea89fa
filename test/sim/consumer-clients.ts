/**
 * The clients of one consumer group: each is a member again and again, of one protocol or the other, leaves, falls silent, comes back under its old epoch or as the same
 * static member, changes its subscription.
 */
import type { SeededRandom } from "../unit/support/seeded-random.ts";
import { ClassicMember } from "./consumer-classic.ts";
import { ConsumerMember, type MemberOptions, type Subscription } from "./consumer-member.ts";
import type { ConsumerGroupModel } from "./consumer-model.ts";
import { haunt, type Reading } from "./consumer-remains.ts";
import { CoordinatorLink, ignoreLoss } from "./consumer-requests.ts";
import type { TopicDirectory } from "./consumer-topics.ts";
import { CONSUMER_SESSION_MS } from "./scenarios.ts";
import type { ClientPlace } from "./sim-clients.ts";

export const HEARTBEAT_MS = 1_000;
const SESSION_MS = CONSUMER_SESSION_MS;
const STATIC_PERCENT = 40;
/** Of a group that goes from one protocol to the other. */
const CLASSIC_PERCENT = 55;
const ASSIGNORS = ["uniform", "range", "any", "any"] as const;

/** Of 10,000 steps of a member, so many end it, make it silent, or change its subscription. */
export interface Fates {
  readonly leave: number;
  readonly leaveForAWhile: number;
  readonly abandon: number;
  readonly silence: number;
  readonly subscribe: number;
}

export interface GroupClientsOptions {
  readonly model: ConsumerGroupModel;
  readonly topics: TopicDirectory;
  readonly fates: Fates;
  /** Members of the classic protocol are among them. */
  readonly isMixed: boolean;
  /** They let go only what they have to, all of them. */
  readonly isCooperative: boolean;
  readonly subscriptions: readonly Omit<Subscription, "assignor">[];
  place(name: string): ClientPlace;
  begin(name: string, work: Promise<void>): void;
}

interface Slot {
  readonly place: ClientPlace;
  readonly name: string;
  member: ConsumerMember | ClassicMember | undefined;
}

export class GroupClients {
  readonly model: ConsumerGroupModel;
  /** Nobody's fate changes any more. */
  isCalm = false;
  isStopping = false;
  /** Nobody does anything. */
  isFrozen = false;
  /** Steps under way. */
  active = 0;
  private readonly options: GroupClientsOptions;
  private readonly slots: Slot[] = [];

  constructor(options: GroupClientsOptions) {
    this.options = options;
    this.model = options.model;
  }

  get members(): readonly (ConsumerMember | ClassicMember | undefined)[] {
    return this.slots.map(({ member }) => member);
  }

  start(name: string, place: ClientPlace): void {
    const slot: Slot = { place, name, member: undefined };
    this.slots.push(slot);
    this.options.begin(name, this.runSlot(slot));
  }

  private async runSlot(slot: Slot): Promise<void> {
    const { place, name } = slot;
    const { random } = place.process;
    const { model, topics, isMixed, isCooperative, fates } = this.options;
    const instanceId = !isMixed && random.chance(STATIC_PERCENT) ? name : undefined;
    let subscription = this.pickSubscription(random);
    while (!this.isStopping) {
      const options: MemberOptions = {
        ...{ place, model, topics, instanceId, subscription, isCooperative },
        sessionMs: SESSION_MS,
        heartbeatMs: HEARTBEAT_MS,
      };
      const member = isMixed && random.chance(CLASSIC_PERCENT) ? new ClassicMember(options) : new ConsumerMember(options);
      slot.member = member;
      await this.live(member, place, fates);
      ({ subscription } = member);
      const { reading } = member;
      member.close();
      const isHaunted = !this.isCalm && member instanceof ConsumerMember && reading.committer.epoch > 0 && random.chance(50);
      if (isHaunted) this.options.begin(`${name}-remains`, this.haunt(reading));
    }
  }

  /** Resolves when this member is no more. */
  private async live(member: ConsumerMember | ClassicMember, place: ClientPlace, fates: Fates): Promise<void> {
    const { random } = place.process;
    // A step that was not answered is tried again, and counts once.
    let isDue = false;
    while (!member.isReplaced) {
      try {
        if (this.isStopping) return await member.leave(-1);
        if (!isDue) await place.pace.next();
        isDue = true;
        await this.pass(place, () => member.step());
        isDue = false;
        if (random.chance(10)) await this.pass(place, () => member.commitRemains());
        if (!this.isCalm && member.isMember && (await this.meetFate(member, place, fates))) return;
      } catch (error) {
        ignoreLoss(error);
      }
    }
  }

  /** A member's step, which must wait while nobody may do anything. */
  private async pass(place: ClientPlace, step: () => Promise<void>): Promise<void> {
    while (this.isFrozen) await place.process.clock.sleep(20);
    this.active++;
    await step().finally(() => this.active--);
  }

  /** True: it is no more. */
  private async meetFate(member: ConsumerMember | ClassicMember, place: ClientPlace, fates: Fates): Promise<boolean> {
    const { random, clock } = place.process;
    let lot = random.nextInt(10_000);
    const draws = (share: number): boolean => {
      lot -= share;
      return lot < 0;
    };
    if (draws(fates.leave)) {
      await this.pass(place, () => member.leave(-1)).catch(ignoreLoss);
      return true;
    }
    if (draws(fates.leaveForAWhile)) {
      if (member.trace.instanceId === undefined) return false;
      await this.pass(place, () => member.leave(-2)).catch(ignoreLoss);
      await clock.sleep(random.nextFloat() * (random.chance(20) ? 2 : 0.5) * SESSION_MS);
      return true;
    }
    if (draws(fates.abandon)) return true;
    if (draws(fates.silence)) await clock.sleep((0.5 + random.nextFloat()) * SESSION_MS);
    else if (draws(fates.subscribe)) member.subscribe(this.pickSubscription(random));
    return false;
  }

  /** What is left of a client that died, or was thought dead, goes on for a moment: nothing of it may count. */
  private async haunt(reading: Reading): Promise<void> {
    const place = this.options.place("remains");
    const { random, clock } = place.process;
    await clock.sleep(random.nextFloat() * 1.5 * SESSION_MS);
    const link = new CoordinatorLink(place);
    await this.pass(place, () => haunt(link, this.model, reading)).catch(ignoreLoss);
    link.close();
    place.process.kill("done");
  }

  private pickSubscription(random: SeededRandom): Subscription {
    return { ...random.pick(this.options.subscriptions), assignor: random.pick(ASSIGNORS) };
  }
}
