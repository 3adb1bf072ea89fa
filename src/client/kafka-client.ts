/**
 * Whom to ask: any broker, the controller, a partition's leader, a group's coordinator. Bootstrap addresses are tried in their order; after that brokers are
 * reached where the cluster says they are. Retries are bounded in number and wait longer each time, with jitter; only troubles that call themselves
 * retryable are tried again, each time with fresh metadata.
 */
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import { Trouble } from "../base/trouble.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import { findCoordinatorApi, newFindCoordinatorRequest } from "../protocol/messages/find-coordinator.ts";
import { type MetadataResponse, metadataApi, newMetadataRequest, newMetadataRequestTopic } from "../protocol/messages/metadata.ts";
import type { Transport } from "../server/transport.ts";
import { ClientConnection, type ConnectionOptions, formatPlace, type Place } from "./client-connection.ts";
import { connectionTrouble, expectNone, kafkaTrouble } from "./client-troubles.ts";

export interface KafkaClientOptions extends ConnectionOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly bootstrap: readonly Place[];
  /** Tries after the first one. */
  readonly retries: number;
  /** Before the second try; doubles up to `MAX_BACKOFF_MS`. */
  readonly retryBackoffMs: number;
}

export interface TopicPartitionInfo {
  readonly partition: number;
  readonly leaderId: number;
  readonly leaderEpoch: number;
  readonly replicas: readonly number[];
  readonly isr: readonly number[];
}

export interface TopicInfo {
  readonly name: string;
  readonly topicId: string;
  readonly isInternal: boolean;
  /** In order of number. */
  readonly partitions: readonly TopicPartitionInfo[];
}

const MAX_BACKOFF_MS = 1000;
/** Versions in which topics are named and not numbered by id. */
const METADATA_MAX_VERSION = 12;
const GROUP_KEY_TYPE = 0;

export class KafkaClient {
  readonly options: KafkaClientOptions;
  readonly #connections = new Map<string, Promise<ClientConnection>>();
  readonly #brokers = new Map<number, Place>();
  #bootstrapPlace: Place | undefined;
  #controllerId = -1;

  constructor(options: KafkaClientOptions) {
    this.options = options;
  }

  /** Runs `body` again while it rejects with a retryable Trouble; `metadata.refresh` in between is the body's own. */
  async retrying<T>(body: () => Promise<T>): Promise<T> {
    const { clock, random, retries, retryBackoffMs } = this.options;
    for (let tried = 0; ; tried++) {
      try {
        return await body();
      } catch (error) {
        if (!(error instanceof Trouble) || !error.retryable || tried >= retries) throw error;
        const waitMs = Math.min(retryBackoffMs * 2 ** tried, MAX_BACKOFF_MS);
        await clock.sleep(waitMs * (0.8 + 0.4 * random.nextFloat()));
      }
    }
  }

  /** A connection to whichever bootstrap server answers first in order. Rejects with Trouble "broker-unreachable" that names all of them. */
  async any(): Promise<ClientConnection> {
    if (this.#bootstrapPlace !== undefined) {
      try {
        return await this.#connectTo(this.#bootstrapPlace);
      } catch {
        this.#bootstrapPlace = undefined;
      }
    }
    const failures: string[] = [];
    for (const place of this.options.bootstrap) {
      try {
        const connection = await this.#connectTo(place);
        this.#bootstrapPlace = place;
        return connection;
      } catch (error) {
        if (!(error instanceof Trouble)) throw error;
        failures.push(error.message);
      }
    }
    throw connectionTrouble("no bootstrap server answers", failures.join("; "));
  }

  /** Where a broker listens, from metadata. Rejects with a retryable Trouble when the cluster does not list it. */
  async broker(nodeId: number): Promise<ClientConnection> {
    let place = this.#brokers.get(nodeId);
    if (place === undefined) {
      await this.metadata([]);
      place = this.#brokers.get(nodeId);
    }
    if (place === undefined) throw kafkaTrouble(ErrorCodes.LEADER_NOT_AVAILABLE, `broker ${nodeId} is not in the cluster's metadata`);
    return this.#connectTo(place);
  }

  async controller(): Promise<ClientConnection> {
    await this.metadata([]);
    return this.#controllerId < 0 ? this.any() : this.broker(this.#controllerId);
  }

  async everyBroker(): Promise<readonly ClientConnection[]> {
    await this.metadata([]);
    return Promise.all([...this.#brokers.keys()].map((nodeId) => this.broker(nodeId)));
  }

  async coordinator(groupId: string): Promise<ClientConnection> {
    const connection = await this.any();
    const request = newFindCoordinatorRequest({ keyType: GROUP_KEY_TYPE, coordinatorKeys: [groupId] });
    const answer = await connection.request(findCoordinatorApi, request, { min: 4 });
    const found = answer.coordinators[0];
    expectNone(found?.errorCode ?? ErrorCodes.COORDINATOR_NOT_AVAILABLE, `coordinator of group ${groupId}`, found?.errorMessage);
    return this.#connectTo({ host: found?.host ?? "", port: found?.port ?? 0 });
  }

  /** null: all topics. Topics' own error codes are left to the caller. */
  async metadata(topics: readonly string[] | null, allowAutoTopicCreation = false): Promise<MetadataResponse> {
    const connection = await this.any();
    const request = newMetadataRequest({
      topics: topics === null ? null : topics.map((name) => newMetadataRequestTopic({ name })),
      allowAutoTopicCreation,
    });
    const answer = await connection.request(metadataApi, request, { min: 4, max: METADATA_MAX_VERSION });
    this.#brokers.clear();
    for (const { nodeId, host, port } of answer.brokers) this.#brokers.set(nodeId, { host, port });
    this.#controllerId = answer.controllerId;
    return answer;
  }

  /** Rejects with the Trouble of the first topic that has an error. */
  async topics(names: readonly string[] | null, allowAutoTopicCreation = false): Promise<readonly TopicInfo[]> {
    const { topics } = await this.metadata(names, allowAutoTopicCreation);
    return topics.map((topic) => {
      expectNone(topic.errorCode, `topic ${topic.name}`, undefined, allowAutoTopicCreation);
      const partitions = topic.partitions.map((each) => ({
        partition: each.partitionIndex,
        leaderId: each.leaderId,
        leaderEpoch: each.leaderEpoch,
        replicas: each.replicaNodes,
        isr: each.isrNodes,
      }));
      return {
        name: topic.name ?? "",
        topicId: topic.topicId,
        isInternal: topic.isInternal,
        partitions: partitions.sort((left, right) => left.partition - right.partition),
      };
    });
  }

  close(): void {
    for (const connecting of this.#connections.values()) {
      connecting.then(
        (connection) => connection.close(),
        () => {},
      );
    }
    this.#connections.clear();
  }

  async #connectTo(place: Place): Promise<ClientConnection> {
    const key = formatPlace(place);
    const known = this.#connections.get(key);
    if (known !== undefined) {
      const connection = await known.catch(() => undefined);
      if (connection?.isOpen === true) return connection;
    }
    const opening = ClientConnection.open(place, this.options);
    this.#connections.set(key, opening);
    return opening;
  }
}
