/**
 * Reads assigned partitions: offsets by place or time, and records in rounds, each round one Fetch to every leader. Records of a partition come in
 * offset order; control batches and what lies below the asked offset are left out, as every Kafka client does.
 */
import type { BlockCodecs } from "../protocol/compression.ts";
import { decompress } from "../protocol/compression.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import { fetchApi, newFetchPartition, newFetchRequest, newFetchTopic, type PartitionData } from "../protocol/messages/fetch.ts";
import { listOffsetsApi, newListOffsetsPartition, newListOffsetsRequest, newListOffsetsTopic } from "../protocol/messages/list-offsets.ts";
import {
  BATCH_LOG_OVERHEAD,
  batchAttributes,
  batchBaseOffset,
  batchLastOffsetDelta,
  batchSizeBytes,
  CONTROL_BIT,
} from "../protocol/record-batch.ts";
import { type DecodedRecord, iterateRecords } from "../protocol/records.ts";
import { expectNone, kafkaTrouble } from "./client-troubles.ts";
import type { KafkaClient, TopicInfo } from "./kafka-client.ts";

/** Timestamps of ListOffsets that are places. */
export const LATEST = -1n;
export const EARLIEST = -2n;

const FETCH_MAX_VERSION = 12;
const MAX_FETCH_BYTES = 8 * 1024 * 1024;
const MAX_PARTITION_BYTES = 1024 * 1024;
/** A batch may expand to this; Kafka's own default bound for a record is far below. */
const MAX_BATCH_CONTENT_BYTES = 256 * 1024 * 1024;

/** Partitions of `topic` by the broker that leads them. Throws a retryable Trouble for one without a leader. */
export function byLeader(topic: TopicInfo, wanted: (partition: number) => boolean = () => true): ReadonlyMap<number, readonly number[]> {
  const leaders = new Map<number, number[]>();
  for (const { partition, leaderId } of topic.partitions) {
    if (!wanted(partition)) continue;
    if (leaderId < 0) throw kafkaTrouble(ErrorCodes.LEADER_NOT_AVAILABLE, `partition ${topic.name}-${partition}`);
    leaders.set(leaderId, [...(leaders.get(leaderId) ?? []), partition]);
  }
  return leaders;
}

/** The first offset whose record is not older than `timestamp` (or a place); -1 when there is none. Rejects with a Trouble. */
export async function readOffsets(client: KafkaClient, topic: TopicInfo, timestamp: bigint): Promise<Map<number, bigint>> {
  const offsets = new Map<number, bigint>();
  await Promise.all(
    [...byLeader(topic)].map(async ([leaderId, partitions]) => {
      const leader = await client.broker(leaderId);
      const request = newListOffsetsRequest({
        replicaId: -1,
        topics: [
          newListOffsetsTopic({
            name: topic.name,
            partitions: partitions.map((partitionIndex) => newListOffsetsPartition({ partitionIndex, timestamp })),
          }),
        ],
      });
      const answer = await leader.request(listOffsetsApi, request);
      for (const each of answer.topics[0]?.partitions ?? []) {
        expectNone(each.errorCode, `offsets of ${topic.name}-${each.partitionIndex}`);
        offsets.set(each.partitionIndex, each.offset);
      }
    }),
  );
  return offsets;
}

export interface ConsumedRecord extends DecodedRecord {
  readonly partition: number;
}

export class Consumer {
  readonly #client: KafkaClient;
  readonly #blocks: BlockCodecs;
  #topic: TopicInfo;
  /** Partition -> next offset. */
  readonly #positions: Map<number, bigint>;

  constructor(client: KafkaClient, topic: TopicInfo, positions: ReadonlyMap<number, bigint>, blocks: BlockCodecs) {
    this.#client = client;
    this.#topic = topic;
    this.#positions = new Map(positions);
    this.#blocks = blocks;
  }

  get positions(): ReadonlyMap<number, bigint> {
    return this.#positions;
  }

  /** No longer read. */
  drop(partition: number): void {
    this.#positions.delete(partition);
  }

  /** One round; empty when nothing came within `maxWaitMs`. Moves the positions. Rejects with a Trouble when the bounded retries are used up. */
  async poll(maxWaitMs: number): Promise<readonly ConsumedRecord[]> {
    let isFirst = true;
    return this.#client.retrying(async () => {
      if (!isFirst) this.#topic = (await this.#client.topics([this.#topic.name]))[0] ?? this.#topic;
      isFirst = false;
      const leaders = byLeader(this.#topic, (partition) => this.#positions.has(partition));
      const answers = await Promise.all([...leaders].map(([leaderId, partitions]) => this.#fetch(leaderId, partitions, maxWaitMs)));
      const data = answers.flat();
      for (const { partitionIndex, errorCode } of data) expectNone(errorCode, `${this.#topic.name}-${partitionIndex}`);
      return data.flatMap((each) => this.#takeRecords(each));
    });
  }

  async #fetch(leaderId: number, partitions: readonly number[], maxWaitMs: number): Promise<readonly PartitionData[]> {
    const leader = await this.#client.broker(leaderId);
    const request = newFetchRequest({
      replicaId: -1,
      maxWaitMs,
      minBytes: 1,
      maxBytes: MAX_FETCH_BYTES,
      sessionEpoch: -1,
      topics: [
        newFetchTopic({
          topic: this.#topic.name,
          partitions: partitions.map((partition) =>
            newFetchPartition({ partition, fetchOffset: this.#positions.get(partition) ?? 0n, partitionMaxBytes: MAX_PARTITION_BYTES }),
          ),
        }),
      ],
    });
    const answer = await leader.request(fetchApi, request, { max: FETCH_MAX_VERSION }, maxWaitMs);
    expectNone(answer.errorCode, `fetch of ${this.#topic.name}`);
    return answer.responses[0]?.partitions ?? [];
  }

  /** A fetch may end within a batch: that one comes whole with the next. */
  #takeRecords({ partitionIndex: partition, records: bytes }: PartitionData): readonly ConsumedRecord[] {
    if (!(bytes instanceof Uint8Array)) return [];
    const records: ConsumedRecord[] = [];
    let next = this.#positions.get(partition) ?? 0n;
    for (let at = 0; bytes.length - at > BATCH_LOG_OVERHEAD; ) {
      const end = at + batchSizeBytes(bytes, at);
      if (end > bytes.length) break;
      if ((batchAttributes(bytes, at) & CONTROL_BIT) === 0) {
        for (const record of iterateRecords(bytes, at, (codec, payload) =>
          decompress(codec, payload, MAX_BATCH_CONTENT_BYTES, this.#blocks),
        )) {
          if (record.offset >= next) records.push({ ...record, partition });
        }
      }
      const after = batchBaseOffset(bytes, at) + BigInt(batchLastOffsetDelta(bytes, at)) + 1n;
      if (after > next) next = after;
      at = end;
    }
    this.#positions.set(partition, next);
    return records;
  }
}
