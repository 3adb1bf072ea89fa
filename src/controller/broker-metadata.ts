/**
 * The cluster's metadata for one registered broker: the image for the rooms above, changes through its channel, and storage's commit port. Keeps the log
 * in view while idle, takes snapshots while it reigns, and says so once when the broker has been replaced.
 */
import { assert } from "../base/assert.ts";
import type { Clock, TimerHandle } from "../base/clock.ts";
import { type Random, randomUuidBytes } from "../base/random.ts";
import { Trouble } from "../base/trouble.ts";
import type {
  ClusterMetadata,
  ConfigChange,
  ConfigOutcome,
  FeatureOutcome,
  FeatureUpdate,
  LogStart,
  NewTopic,
  TopicOutcome,
  TopicView,
} from "../metadata/cluster-metadata.ts";
import { ImageCommittedRanges } from "../metadata/committed-ranges.ts";
import type { WalState } from "../metadata/entities.ts";
import type { ClusterImage } from "../metadata/image.ts";
import type { MetadataLog } from "../metadata/metadata-log.ts";
import type { CommittedRangesPort, ObjectCommit, ObjectCommitPort, RangeOutcome } from "../storage/ports.ts";
import type { Logger } from "../telemetry/telemetry.ts";
import type { BrokerChannel } from "./broker-channel.ts";
import type { Change, ChangeOutcome } from "./changes.ts";
import type { Controller } from "./controller.ts";
import type { GarbageCollector } from "./garbage-collector.ts";
import { LogKeeper } from "./log-keeper.ts";

export interface BrokerMetadataDependencies {
  readonly log: MetadataLog;
  readonly channel: BrokerChannel;
  readonly controller: Controller;
  readonly collector: GarbageCollector;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly nodeId: number;
  readonly walId: string;
  readonly snapshotEverySlots: number;
}

/** Taken from the log at a time; what is left of a block at a restart is never given out. */
const PRODUCER_IDS_PER_BLOCK = 1_000;

export class BrokerMetadata implements ClusterMetadata, ObjectCommitPort {
  readonly committedRanges: CommittedRangesPort;
  readonly #deps: BrokerMetadataDependencies;
  readonly #keeper: LogKeeper;
  readonly #fencedListeners: ((reason: Trouble) => void)[] = [];
  #nextProducerId = 0;
  #producerIdsLeft = 0;
  #producerIdRefill: Promise<void> | undefined;

  constructor(dependencies: BrokerMetadataDependencies) {
    const { log, channel, controller } = dependencies;
    this.#deps = dependencies;
    this.committedRanges = new ImageCommittedRanges(log);
    controller.onFailed((reason) => this.#fail(reason));
    this.#keeper = new LogKeeper({
      ...dependencies,
      brokerEpoch: channel.brokerEpoch,
      isReigning: () => controller.isReigning,
      onFenced: (reason) => this.#fail(reason),
    });
  }

  get image(): ClusterImage {
    return this.#deps.log.image;
  }

  /** Slot of this broker's registration. */
  get brokerEpoch(): number {
    return this.#deps.channel.brokerEpoch;
  }

  /** This broker's WAL as the log has it, read after the registration: where recovery begins. */
  get wal(): WalState {
    const wal = this.image.getWal(this.#deps.walId);
    assert(wal !== undefined, `WAL ${this.#deps.walId} is not in the image`);
    return wal;
  }

  get isController(): boolean {
    return this.#deps.controller.isReigning;
  }

  onChange(listener: (topicIds: ReadonlySet<string>) => void): void {
    this.#deps.log.onImage((_image, changedTopicIds) => listener(changedTopicIds));
  }

  /** Called once, when this broker has been replaced or can no longer follow the log: it must stop releasing and exit with the trouble's code. */
  onFenced(listener: (reason: Trouble) => void): void {
    this.#fencedListeners.push(listener);
  }

  /** Records that the WAL was scanned to `sealedLsn` and goes on under `walEpoch`; before the first append. Rejects with a Trouble. */
  async recordWalOpened(walEpoch: number, sealedLsn: number): Promise<void> {
    await this.#change({ kind: "open-wal", walId: this.#deps.walId, walEpoch, sealedLsn });
  }

  async createTopics(topics: readonly NewTopic[], deadlineMs: number): Promise<readonly TopicOutcome[]> {
    const work = topics.map(async (topic) => {
      const topicId = Buffer.from(randomUuidBytes(this.#deps.random)).toString("base64url");
      const outcome = await this.#change({ kind: "create-topic", topicId, topic });
      return toTopicOutcome(outcome, () => this.image.getTopicById(topicId) ?? viewOf(topicId, topic));
    });
    return this.#withDeadline(Promise.all(work), deadlineMs);
  }

  async deleteTopics(topicIds: readonly string[], deadlineMs: number): Promise<readonly TopicOutcome[]> {
    const work = topicIds.map(async (topicId): Promise<TopicOutcome> => {
      const topic = this.image.getTopicById(topicId);
      if (topic === undefined) return { kind: "unknown-topic" };
      return toTopicOutcome(await this.#change({ kind: "delete-topic", topicId }), () => topic);
    });
    return this.#withDeadline(Promise.all(work), deadlineMs);
  }

  async createPartitions(
    changes: readonly { topicId: string; totalCount: number }[],
    deadlineMs: number,
  ): Promise<readonly TopicOutcome[]> {
    const work = changes.map(async ({ topicId, totalCount }): Promise<TopicOutcome> => {
      const before = this.image.getTopicById(topicId);
      if (before === undefined) return { kind: "unknown-topic" };
      const outcome = await this.#change({ kind: "create-partitions", topicId, totalCount });
      return toTopicOutcome(outcome, () => this.image.getTopicById(topicId) ?? before);
    });
    return this.#withDeadline(Promise.all(work), deadlineMs);
  }

  async alterConfigs(changes: readonly ConfigChange[], deadlineMs: number): Promise<readonly ConfigOutcome[]> {
    const work = changes.map(async (change): Promise<ConfigOutcome> => {
      const outcome = await this.#change({ kind: "alter-configs", change });
      assert(outcome.kind === "config", `a configuration change was answered with ${outcome.kind}`);
      return outcome.outcome;
    });
    return this.#withDeadline(Promise.all(work), deadlineMs);
  }

  async updateFeatures(updates: readonly FeatureUpdate[], deadlineMs: number): Promise<FeatureOutcome> {
    const outcome = await this.#withDeadline(this.#change({ kind: "update-features", updates }), deadlineMs);
    assert(outcome.kind === "config" && outcome.outcome !== "unknown-topic", `feature levels answered with ${outcome.kind}`);
    return outcome.outcome;
  }

  async advanceLogStarts(starts: readonly LogStart[], deadlineMs: number): Promise<readonly boolean[]> {
    if (starts.length === 0) return [];
    const outcome = await this.#withDeadline(this.#change({ kind: "advance-log-starts", starts }), deadlineMs);
    assert(outcome.kind === "ranges" && outcome.accepted.length === starts.length, `log starts answered with ${outcome.kind}`);
    return outcome.accepted;
  }

  async allocateProducerId(deadlineMs: number): Promise<number> {
    while (this.#producerIdsLeft === 0) {
      this.#producerIdRefill ??= this.#refillProducerIds();
      await this.#withDeadline(this.#producerIdRefill, deadlineMs);
    }
    this.#producerIdsLeft--;
    return this.#nextProducerId++;
  }

  async commitObject(commit: ObjectCommit): Promise<readonly RangeOutcome[]> {
    const { objectKey, objectSizeBytes: sizeBytes, walId, walCommitted, ranges } = commit;
    const outcome = await this.#change({ kind: "commit-object", objectKey, sizeBytes, walId, walCommitted, ranges });
    assert(outcome.kind === "ranges" && outcome.accepted.length === ranges.length, `commit answered with ${outcome.kind}`);
    return outcome.accepted.map((accepted) => (accepted ? "accepted" : "gone"));
  }

  async writeOffObject(objectKey: string): Promise<void> {
    const outcome = await this.#deps.channel.submit({ kind: "write-off-object", objectKey, walId: this.#deps.walId });
    if (outcome.kind !== "refused") return;
    this.#deps.logger.warn("objects.write-off-refused", outcome.message, { objectKey });
  }

  /** Ends polling and pending changes. With enough new slots a last snapshot is taken, so that the next start reads few. */
  async close(): Promise<void> {
    const { channel, collector, controller } = this.#deps;
    collector.close();
    await this.#keeper.close();
    channel.fail(new Trouble({ code: "closing", message: "the broker is closing", retryable: true }));
    await controller.close();
  }

  async #change(change: Change): Promise<ChangeOutcome> {
    const outcome = await this.#deps.channel.submit(change);
    if (outcome.kind !== "refused") return outcome;
    throw new Trouble({
      code: outcome.code,
      message: `the metadata log refused a change: ${outcome.message}`,
      remedy: "Restart this broker: it then recovers from the log and its WAL.",
      retryable: false,
      exitCode: 70,
    });
  }

  async #refillProducerIds(): Promise<void> {
    try {
      const outcome = await this.#change({ kind: "take-producer-ids", count: PRODUCER_IDS_PER_BLOCK });
      assert(outcome.kind === "producer-ids", `producer ids answered with ${outcome.kind}`);
      this.#nextProducerId = outcome.firstId;
      this.#producerIdsLeft = outcome.count;
    } finally {
      this.#producerIdRefill = undefined;
    }
  }

  /** The work goes on after the deadline; its outcome is then not known to the caller. */
  #withDeadline<T>(work: Promise<T>, deadlineMs: number): Promise<T> {
    let timer: TimerHandle | undefined;
    const deadline = new Promise<never>((_resolve, reject) => {
      timer = this.#deps.clock.schedule(deadlineMs, () => {
        const message = `the metadata log did not take the change within ${deadlineMs} ms; it may still do so`;
        reject(new Trouble({ code: "metadata-timeout", message, retryable: true }));
      });
    });
    return Promise.race([work, deadline]).finally(() => timer?.cancel());
  }

  #fail(reason: Trouble): void {
    this.#deps.channel.fail(reason);
    for (const listener of this.#fencedListeners.splice(0)) listener(reason);
  }
}

function toTopicOutcome(outcome: ChangeOutcome, getTopic: () => TopicView): TopicOutcome {
  assert(outcome.kind === "topic", `a topic change was answered with ${outcome.kind}`);
  switch (outcome.outcome) {
    case "done":
      return { kind: "done", topic: getTopic() };
    case "exists":
    case "unknown-topic":
      return { kind: outcome.outcome };
    case "invalid-partitions":
    case "limit-exceeded":
      return { kind: outcome.outcome, message: outcome.message };
  }
}

/** The topic as it was created, when it has been deleted again before the answer was looked at. */
function viewOf(topicId: string, topic: NewTopic): TopicView {
  return { ...topic, topicId, isInternal: false };
}
