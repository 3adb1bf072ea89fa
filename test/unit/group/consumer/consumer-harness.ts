/** Consumer groups over a log in memory, and members who speak as clients do. */
import { expect } from "bun:test";
import type { Clock } from "../../../../src/base/clock.ts";
import type { AnyGroup } from "../../../../src/group/any-group.ts";
import { ClassicGroup } from "../../../../src/group/classic/classic-group.ts";
import type { ConsumerGroup } from "../../../../src/group/consumer/consumer-group.ts";
import { decodeChange } from "../../../../src/group/consumer/consumer-group-records.ts";
import {
  type Assignment,
  type ConsumerHeartbeat,
  type HeartbeatAnswer,
  isRefusal,
  type Refusal,
} from "../../../../src/group/consumer/consumer-group-types.ts";
import { PatternMatches } from "../../../../src/group/consumer/pattern-matches.ts";
import { ConsumerGroups } from "../../../../src/group/consumer/shard-consumer-groups.ts";
import { TopicWatch } from "../../../../src/group/consumer/topic-watch.ts";
import { declareGroupMetrics } from "../../../../src/group/group-metrics.ts";
import type { GroupRecord } from "../../../../src/group/group-types.ts";
import { recordTypeOf } from "../../../../src/protocol/coordinator-record.ts";
import { fakeConfig } from "../../support/fake-config.ts";
import { FakeMetadata } from "../../support/fake-metadata.ts";
import { NO_METRICS, RecordingLogger } from "../../support/recording-telemetry.ts";
import { FakeHost } from "../classic/group-harness.ts";
import { NO_COUNTS } from "../shard-harness.ts";

export const REBALANCE_MS = 30_000;

export class ConsumerHarness {
  readonly host = new FakeHost();
  readonly metadata = new FakeMetadata();
  readonly log: GroupRecord[] = [];
  readonly settings: Readonly<Record<string, string>>;
  groups = new Map<string, AnyGroup>();
  served: ConsumerGroups;
  #watch: TopicWatch;

  readonly #patternClock: Clock;

  /** `patternClock`: by which long matching of patterns pauses. */
  constructor(settings: Readonly<Record<string, string>> = {}, patternClock?: Clock) {
    this.#patternClock = patternClock ?? this.host.clock;
    this.settings = { "group.consumer.assignment.interval.ms": "0", ...settings };
    this.#watch = new TopicWatch(this.metadata.image);
    this.served = this.#serve(this.groups);
    this.metadata.onChange((topicIds) => {
      if (!this.#watch.note(this.metadata.image, topicIds)) return;
      for (const group of this.groups.values()) if (group.kind === "consumer") group.isMetadataStale = true;
    });
  }

  #serve(groups: Map<string, AnyGroup>): ConsumerGroups {
    return new ConsumerGroups({
      config: fakeConfig(this.settings),
      timers: this.host.timers,
      logger: new RecordingLogger(),
      metrics: declareGroupMetrics(NO_METRICS, NO_COUNTS),
      groups,
      classicHost: this.host,
      wallMs: () => this.host.wallMs(),
      image: () => this.metadata.image,
      topicsVersion: () => this.#watch.version,
      patterns: new PatternMatches(this.#patternClock, this.#watch),
      write: (records, apply) => {
        this.log.push(...records);
        apply();
        return Promise.resolve(undefined);
      },
      whenDurable: () => Promise.resolve(undefined),
    });
  }

  get group(): ConsumerGroup {
    const group = this.groups.get("g");
    if (group?.kind !== "consumer") throw new Error("no consumer group");
    return group;
  }

  addTopic(name: string, partitions: number): string {
    return this.metadata.addTopic(name, partitions).topicId;
  }

  /** What the log says, read by another coordinator. Records of classic groups only end what was there. */
  replay(): Map<string, AnyGroup> {
    const groups = new Map<string, AnyGroup>();
    const reader = this.#serve(groups);
    for (const { key, value } of this.log) {
      const decoded = decodeChange(recordTypeOf(key), key, value);
      if (decoded === undefined && value !== null) groups.set("g", new ClassicGroup("g", this.host));
      if (decoded?.change !== undefined) reader.replay(decoded.groupId, decoded.change);
    }
    return groups;
  }

  /** Another coordinator takes over with what the log says. */
  restart(): void {
    const groups = this.replay();
    for (const group of this.groups.values()) group.end("not-coordinator");
    this.groups = groups;
    this.served = this.#serve(groups);
    for (const group of groups.values()) if (group.kind === "consumer") this.served.startSessions(group);
  }

  expectLogSaysTheSame(): void {
    const replayed = this.replay().get("g");
    expect(replayed?.kind).toBe("consumer");
    expect((replayed as ConsumerGroup).describe("uniform")).toEqual(this.group.describe("uniform"));
  }

  send(change: Partial<ConsumerHeartbeat>): Promise<HeartbeatAnswer | Refusal> {
    return this.served.heartbeat({
      groupId: "g",
      memberId: "m",
      memberEpoch: 0,
      instanceId: undefined,
      rackId: undefined,
      clientId: "c",
      clientHost: "/127.0.0.1",
      rebalanceTimeoutMs: undefined,
      topics: undefined,
      pattern: undefined,
      serverAssignor: undefined,
      owned: undefined,
      ...change,
    });
  }
}

/** A consumer as KIP-848 has it: it gives up at once what it is no longer told to own, and says so with its next heartbeat. */
export class ConsumerClient {
  readonly harness: ConsumerHarness;
  readonly memberId: string;
  readonly instanceId: string | undefined;
  subscription: { topics?: readonly string[]; pattern?: string };
  epoch = 0;
  owned: Assignment = new Map();
  #hasToTellAll = true;
  #hasToTellOwned = true;

  constructor(
    harness: ConsumerHarness,
    memberId: string,
    subscription: { topics?: readonly string[]; pattern?: string },
    instanceId?: string,
  ) {
    this.harness = harness;
    this.memberId = memberId;
    this.subscription = subscription;
    this.instanceId = instanceId;
  }

  /** `isLost`: the answer does not come, and the next heartbeat says everything again. */
  async beat(isLost = false): Promise<HeartbeatAnswer | Refusal> {
    const isJoin = this.epoch === 0;
    const everything = { rebalanceTimeoutMs: REBALANCE_MS, ...this.subscription };
    const answer = await this.harness.send({
      memberId: this.memberId,
      memberEpoch: this.epoch,
      instanceId: this.instanceId,
      ...(this.#hasToTellAll ? everything : {}),
      ...(this.#hasToTellAll || this.#hasToTellOwned ? { owned: isJoin ? new Map() : this.owned } : {}),
    });
    if (isLost) {
      this.#hasToTellAll = true;
      return answer;
    }
    if (isRefusal(answer)) {
      this.drop();
      return answer;
    }
    this.epoch = answer.memberEpoch;
    this.#hasToTellAll = false;
    this.#hasToTellOwned = answer.assignment !== undefined;
    if (answer.assignment !== undefined) this.owned = answer.assignment;
    return answer;
  }

  subscribe(subscription: { topics?: readonly string[]; pattern?: string }): void {
    this.subscription = subscription;
    this.#hasToTellAll = true;
  }

  async leave(memberEpoch = -1): Promise<HeartbeatAnswer | Refusal> {
    const answer = await this.harness.send({ memberId: this.memberId, memberEpoch, instanceId: this.instanceId });
    this.drop();
    return answer;
  }

  drop(): void {
    this.epoch = 0;
    this.owned = new Map();
    this.#hasToTellAll = true;
  }
}
