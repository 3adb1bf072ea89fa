/**
 * Sends records in batches, one per partition at a time. With acks=all it is idempotent unless told otherwise (KIP-98): a batch keeps its sequence through every
 * retry, so that a lost answer never doubles it. Partitions of one `send` go out together, leader by leader.
 */

import { type BlockCodecs, compress } from "../protocol/compression.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import { initProducerIdApi, newInitProducerIdRequest } from "../protocol/messages/init-producer-id.ts";
import { newPartitionProduceData, newProduceRequest, newTopicProduceData, produceApi } from "../protocol/messages/produce.ts";
import type { Crc32c } from "../protocol/record-batch.ts";
import { type BatchOptions, buildBatch, type RecordInput } from "../protocol/records.ts";
import { expectNone, kafkaTrouble } from "./client-troubles.ts";
import type { KafkaClient } from "./kafka-client.ts";

export interface ProducerOptions {
  readonly client: KafkaClient;
  readonly topic: string;
  readonly acks: -1 | 0 | 1;
  /** Only with acks -1. */
  readonly isIdempotent: boolean;
  /** Kafka's codec number, 0 for none. */
  readonly codec: number;
  readonly blocks: BlockCodecs;
  readonly crc32c: Crc32c;
}

interface ProducerIdentity {
  readonly producerId: bigint;
  readonly producerEpoch: number;
}

interface Batch {
  readonly partition: number;
  readonly bytes: Uint8Array;
  readonly records: number;
}

/** Versions that name topics; later ones use ids. */
const PRODUCE_MAX_VERSION = 12;
const TIMEOUT_MS = 30_000;
/** Well under Kafka's default max.message.bytes of 1,048,588. */
const MAX_BATCH_BYTES = 512 * 1024;
const RECORD_OVERHEAD_BYTES = 32;
const SEQUENCE_MASK = 0x7fffffff;

export class Producer {
  readonly #options: ProducerOptions;
  readonly #sequences = new Map<number, number>();
  #initialising: Promise<ProducerIdentity> | undefined;
  #identity: ProducerIdentity | undefined;

  constructor(options: ProducerOptions) {
    this.#options = options;
  }

  /** Resolves when all are acknowledged as `acks` asks. Rejects with a Trouble: some may have been written then. */
  async send(partition: number, records: readonly RecordInput[]): Promise<void> {
    if (this.#options.isIdempotent) {
      // Sends that begin together share one identity: sequences are counted under it.
      this.#initialising ??= this.#options.client.retrying(() => this.#initialise());
      this.#identity = await this.#initialising;
    }
    for (const group of splitBySize(records)) {
      const batch = this.#makeBatch(partition, group);
      await this.#options.client.retrying(() => this.#sendBatch(batch));
    }
  }

  async #initialise(): Promise<ProducerIdentity> {
    const connection = await this.#options.client.any();
    const answer = await connection.request(
      initProducerIdApi,
      newInitProducerIdRequest({ transactionalId: null, transactionTimeoutMs: 60_000 }),
      {
        max: 5,
      },
    );
    expectNone(answer.errorCode, "no producer id");
    return { producerId: answer.producerId, producerEpoch: answer.producerEpoch };
  }

  #makeBatch(partition: number, records: readonly RecordInput[]): Batch {
    const { codec, blocks, crc32c } = this.#options;
    const sequence = this.#sequences.get(partition) ?? 0;
    const options: BatchOptions = {
      records,
      ...(codec === 0 ? {} : { codec: { id: codec, compress: (payload: Uint8Array) => compress(codec, payload, blocks) } }),
      ...(this.#identity === undefined ? {} : { ...this.#identity, baseSequence: sequence }),
    };
    this.#sequences.set(partition, (sequence + records.length) & SEQUENCE_MASK);
    return { partition, bytes: buildBatch(options, crc32c), records: records.length };
  }

  /** The leader is asked for anew at each try: it may have moved. */
  async #sendBatch({ partition, bytes }: Batch): Promise<void> {
    const { client, topic, acks } = this.#options;
    const leaderId = await this.#leaderOf(partition);
    const leader = await client.broker(leaderId);
    const request = newProduceRequest({
      acks,
      timeoutMs: TIMEOUT_MS,
      topicData: [newTopicProduceData({ name: topic, partitionData: [newPartitionProduceData({ index: partition, records: bytes })] })],
    });
    if (acks === 0) {
      await leader.sendOnly(produceApi, request, { max: PRODUCE_MAX_VERSION });
      return;
    }
    try {
      const answer = await leader.request(produceApi, request, { max: PRODUCE_MAX_VERSION });
      const result = answer.responses[0]?.partitionResponses[0];
      const errorCode = result?.errorCode ?? ErrorCodes.UNKNOWN_SERVER_ERROR;
      // An earlier try of this batch has been written, and its answer was lost.
      if (errorCode === ErrorCodes.DUPLICATE_SEQUENCE_NUMBER) return;
      expectNone(errorCode, `${topic}-${partition} did not take the records`, result?.errorMessage);
    } catch (error) {
      this.#leaders = undefined;
      throw error;
    }
  }

  #leaders: ReadonlyMap<number, number> | undefined;

  async #leaderOf(partition: number): Promise<number> {
    if (this.#leaders === undefined) {
      const [topic] = await this.#options.client.topics([this.#options.topic]);
      this.#leaders = new Map(topic?.partitions.map((each) => [each.partition, each.leaderId]));
    }
    const leaderId = this.#leaders.get(partition) ?? -1;
    if (leaderId >= 0) return leaderId;
    this.#leaders = undefined;
    throw kafkaTrouble(ErrorCodes.LEADER_NOT_AVAILABLE, `partition ${this.#options.topic}-${partition}`);
  }
}

/** A record larger than the bound goes alone; the broker says whether it is too large. */
export function* splitBySize(records: readonly RecordInput[]): Generator<readonly RecordInput[]> {
  let group: RecordInput[] = [];
  let groupBytes = 0;
  for (const record of records) {
    const bytes = (record.key?.length ?? 0) + (record.value?.length ?? 0) + RECORD_OVERHEAD_BYTES;
    if (group.length > 0 && groupBytes + bytes > MAX_BATCH_BYTES) {
      yield group;
      group = [];
      groupBytes = 0;
    }
    group.push(record);
    groupBytes += bytes;
  }
  if (group.length > 0) yield group;
}
