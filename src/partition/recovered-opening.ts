/**
 * Opens in the background what recovery found data of, while clients are served: a request for one that is not open yet waits for the same opening. Internal
 * topics first, a few at a time. What cannot be opened is tried again, ever more slowly: until it is open, or its topic gone, the WAL keeps
 * its place.
 *
 * Neighbours: `partition-registry.ts` opens; the broker's readiness shows what is left.
 */
import type { Clock, TimerHandle } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import { Trouble } from "../base/trouble.ts";
import type { ClusterMetadata } from "../metadata/cluster-metadata.ts";
import type { StreamId } from "../storage/types.ts";
import type { Logger } from "../telemetry/telemetry.ts";
import type { Lookup } from "./partition-registry.ts";

export interface RecoveredOpeningOptions {
  readonly open: (topicId: string, partition: number) => Promise<Lookup>;
  /** The topic was deleted: what the WAL holds of the stream need not be kept. */
  readonly drop: (id: StreamId) => void;
  readonly metadata: Pick<ClusterMetadata, "image">;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

interface Item {
  readonly id: StreamId;
  failures: number;
}

const MAX_PARALLEL = 8;
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 15_000;
/** An opening that takes longer is told of, and then again at this interval. */
const PROGRESS_EVERY_MS = 2_000;

export class RecoveredOpening {
  private readonly options: RecoveredOpeningOptions;
  private readonly ended = Promise.withResolvers<void>();
  private readonly retries = new Set<TimerHandle>();
  private queue: Item[] = [];
  private totalCount = 0;
  private leftCount = 0;
  private runningCount = 0;
  /** The newest trouble of each item that has failed and is not open. */
  private readonly troubles = new Map<Item, Trouble>();
  private progressTimer: TimerHandle | undefined;
  private startedMs = 0;
  private isSlow = false;
  private isClosed = false;

  constructor(options: RecoveredOpeningOptions) {
    this.options = options;
  }

  /** Once. Resolves when none is left; never when closed before. Rejects on a bug. */
  run(streams: readonly StreamId[]): Promise<void> {
    const { clock, metadata } = this.options;
    const isInternal = (id: StreamId): boolean => metadata.image.getTopicById(id.topicId)?.isInternal === true;
    const items = streams.map((id) => ({ id, failures: 0 }));
    this.queue = [...items.filter(({ id }) => isInternal(id)), ...items.filter(({ id }) => !isInternal(id))];
    this.totalCount = items.length;
    this.leftCount = items.length;
    this.startedMs = clock.monotonicMs();
    if (this.leftCount === 0) this.ended.resolve();
    else this.scheduleProgress();
    this.startNext();
    return this.ended.promise;
  }

  /** How many are not open yet, and the trouble of one of them. */
  get left(): { readonly count: number; readonly trouble: Trouble | undefined } {
    return { count: this.leftCount, trouble: this.troubles.values().next().value };
  }

  close(): void {
    this.isClosed = true;
    this.queue = [];
    this.progressTimer?.cancel();
    for (const timer of this.retries) timer.cancel();
    this.retries.clear();
  }

  private startNext(): void {
    while (this.runningCount < MAX_PARALLEL) {
      const item = this.queue.shift();
      if (item === undefined) return;
      this.runningCount += 1;
      void this.openItem(item);
    }
  }

  private async openItem(item: Item): Promise<void> {
    try {
      const found = await this.options.open(item.id.topicId, item.id.partition);
      if (found === "unknown-partition") this.options.drop(item.id);
      this.settled(item);
    } catch (error) {
      if (this.isClosed) return;
      if (error instanceof Trouble) this.failed(item, error);
      else this.ended.reject(error);
    } finally {
      this.runningCount -= 1;
      this.startNext();
    }
  }

  private settled(item: Item): void {
    this.troubles.delete(item);
    this.leftCount -= 1;
    if (this.leftCount > 0 || this.isClosed) return;
    this.progressTimer?.cancel();
    if (this.isSlow) this.logProgress("all recovered partitions are open");
    this.ended.resolve();
  }

  private failed(item: Item, trouble: Trouble): void {
    const { clock, random, logger } = this.options;
    const { topicId, partition } = item.id;
    if (this.troubles.get(item)?.code !== trouble.code) {
      logger.warn("partition.open-failed", trouble.message, { topicId, partition, code: trouble.code, remedy: trouble.remedy ?? "" });
    }
    this.troubles.set(item, trouble);
    const ceilingMs = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(item.failures, 16));
    item.failures += 1;
    const timer = clock.schedule(ceilingMs * (0.5 + random.nextFloat() / 2), () => {
      this.retries.delete(timer);
      this.queue.push(item);
      this.startNext();
    });
    this.retries.add(timer);
  }

  private scheduleProgress(): void {
    this.progressTimer = this.options.clock.schedule(PROGRESS_EVERY_MS, () => {
      this.isSlow = true;
      this.logProgress("recovered partitions are being opened; the others are served");
      this.scheduleProgress();
    });
  }

  private logProgress(message: string): void {
    const { clock, logger } = this.options;
    logger.info("partition.opening-recovered", message, {
      open: this.totalCount - this.leftCount,
      total: this.totalCount,
      failing: this.troubles.size,
      elapsedMs: Math.round(clock.monotonicMs() - this.startedMs),
    });
  }
}
