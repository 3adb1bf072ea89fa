/**
 * Markers for partitions of this broker. Those of __consumer_offsets go through the group coordinator, which takes the offsets of the
 * transaction into its groups in the same moment; all others straight into the partition log.
 */
import type { Clock } from "../base/clock.ts";
import type { Config } from "../config/config.ts";
import type { MarkerResult, MarkerWriter } from "../coordinator/marker-writer.ts";
import type { TopicPartition } from "../coordinator/topic-partition.ts";
import type { ClusterMetadata } from "../metadata/cluster-metadata.ts";
import { PartitionLog } from "../partition/partition-log.ts";
import type { PartitionRegistry } from "../partition/partition-registry.ts";
import { MARKER_BATCH_BYTES, type MarkerOutcome, type TransactionMarker } from "../partition/transaction-ports.ts";
import type { Storage } from "../storage/storage.ts";
import type { Logger } from "../telemetry/telemetry.ts";

/** The group coordinator, for markers in its own topic. */
export interface OffsetMarkers {
  readonly topicName: string;
  /** Rejects with a Trouble. */
  writeMarker(partition: number, marker: TransactionMarker): Promise<MarkerResult>;
}

export interface LocalMarkerWriterOptions {
  readonly clock: Clock;
  readonly config: Config;
  readonly logger: Logger;
  readonly metadata: ClusterMetadata;
  readonly storage: Storage;
  readonly partitions: PartitionRegistry;
  readonly groups: OffsetMarkers;
}

export class LocalMarkerWriter implements MarkerWriter {
  readonly #options: LocalMarkerWriterOptions;

  constructor(options: LocalMarkerWriterOptions) {
    this.#options = options;
  }

  write(marker: TransactionMarker, partitions: readonly TopicPartition[], signal: AbortSignal): Promise<readonly MarkerResult[]> {
    return Promise.all(partitions.map((partition) => this.#writeOne(marker, partition, signal)));
  }

  async #writeOne(marker: TransactionMarker, { topic, partition }: TopicPartition, signal: AbortSignal): Promise<MarkerResult> {
    const { metadata, config, groups, storage, logger } = this.#options;
    const { image } = metadata;
    const topicId = image.getTopic(topic)?.topicId;
    const view = topicId === undefined ? undefined : image.getPartition(topicId, partition);
    if (topicId === undefined || view === undefined) return "gone";
    if (view.ownerNodeId !== config.nodeId) return "not-owner";
    try {
      if (topic === groups.topicName) return await groups.writeMarker(partition, marker);
      const outcome = await this.#append(marker, topicId, partition, signal);
      if (outcome.kind !== "appended") return outcome.kind;
      await storage.whenDurable();
      return "written";
    } catch (error) {
      logger.warn("transaction.marker-waits", (error as Error).message, { topic, partition, producerId: marker.producerId });
      return "not-now";
    }
  }

  /** Rejects with a Trouble. */
  async #append(marker: TransactionMarker, topicId: string, partition: number, signal: AbortSignal): Promise<MarkerOutcome> {
    const { clock, partitions, storage } = this.#options;
    const found = partitions.find(topicId, partition);
    if (found instanceof PartitionLog) {
      const reservation = storage.tryReserve(MARKER_BATCH_BYTES, 1);
      if (reservation !== undefined) {
        const outcome = found.appendMarker(marker, reservation, clock.wallMs());
        reservation.release();
        return outcome;
      }
    }
    const log = await partitions.open(topicId, partition);
    if (!(log instanceof PartitionLog)) return { kind: "not-owner" };
    const reservation = await storage.reserve(MARKER_BATCH_BYTES, 1, signal);
    try {
      return log.appendMarker(marker, reservation, clock.wallMs());
    } finally {
      reservation.release();
    }
  }
}
