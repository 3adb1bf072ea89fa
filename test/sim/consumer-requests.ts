/** What members of consumer groups ask, and reading of the answers: one client's way to the coordinator, and the requests in the versions that know member epochs. */
import type { ApiDefinition } from "../../src/protocol/api-definition.ts";
import {
  consumerGroupDescribeApi,
  type DescribedGroup,
  newConsumerGroupDescribeRequest,
} from "../../src/protocol/messages/consumer-group-describe.ts";
import {
  newOffsetCommitRequest,
  newOffsetCommitRequestPartition,
  newOffsetCommitRequestTopic,
  offsetCommitApi,
} from "../../src/protocol/messages/offset-commit.ts";
import {
  newOffsetFetchRequest,
  newOffsetFetchRequestGroup,
  newOffsetFetchRequestTopics,
  offsetFetchApi,
} from "../../src/protocol/messages/offset-fetch.ts";
import type { PartitionTrace } from "./consumer-model.ts";
import { ConnectionLost, SimConnection } from "./sim-client.ts";
import type { ClientPlace } from "./sim-clients.ts";

/** LEADER_NOT_AVAILABLE, NOT_LEADER, REQUEST_TIMED_OUT, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, KAFKA_STORAGE_ERROR. */
const ELSEWHERE: ReadonlySet<number> = new Set([5, 6, 7, 14, 15, 16, 56]);
const DESCRIBE_VERSION = 1;

export interface Answered<Answer> {
  readonly answer: Answer;
  /** Whoever answered serves, as far as the simulator can tell. */
  readonly isCurrent: boolean;
  readonly sentMs: number;
}

/** One client's connection to whoever it takes for the coordinator. */
export class CoordinatorLink {
  private readonly place: ClientPlace;
  private connection: SimConnection | undefined;

  constructor(place: ClientPlace) {
    this.place = place;
  }

  /**
   * Throws ConnectionLost when there is no answer, when `codesOf` it says to go elsewhere, or when a broker refuses that was replaced and does not know it yet.
   */
  async ask<Request, Answer>(
    operation: string,
    api: ApiDefinition<Request, Answer>,
    version: number,
    request: Request,
    codesOf: (answer: Answer) => readonly number[],
  ): Promise<Answered<Answer>> {
    try {
      const connection = await this.connect();
      const wasCurrent = this.place.isCurrent(connection.host);
      const sentMs = this.place.process.scheduler.nowMs;
      const answer = await connection.request(api, version, request);
      const isCurrent = wasCurrent && this.place.isCurrent(connection.host);
      this.place.done(operation);
      const codes = codesOf(answer);
      const isStale = !isCurrent && codes.some((code) => code !== 0);
      if (isStale) this.place.history.done("stale-answer");
      if (isStale || codes.some((code) => ELSEWHERE.has(code))) throw new ConnectionLost("elsewhere");
      return { answer, isCurrent, sentMs };
    } catch (error) {
      this.close();
      if (error instanceof ConnectionLost) await this.pause();
      throw error;
    }
  }

  close(): void {
    this.connection?.close();
    this.connection = undefined;
  }

  private async connect(): Promise<SimConnection> {
    if (this.connection?.isOpen === true) return this.connection;
    const { host, port } = this.place.pickHost();
    this.connection = await SimConnection.open(this.place.process, this.place.network, host, port);
    return this.connection;
  }

  private async pause(): Promise<void> {
    const { clock, random } = this.place.process;
    await clock.sleep(20 + random.nextFloat() * 100);
  }
}

/** Asks until there is an answer of whoever serves. */
export async function askCurrent<Request, Answer>(
  link: CoordinatorLink,
  operation: string,
  api: ApiDefinition<Request, Answer>,
  version: number,
  request: Request,
  codesOf: (answer: Answer) => readonly number[],
): Promise<Answer> {
  for (;;) {
    try {
      const { answer, isCurrent } = await link.ask(operation, api, version, request, codesOf);
      if (isCurrent) return answer;
      link.close();
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
    }
  }
}

export interface Committer {
  readonly groupId: string;
  readonly memberId: string;
  readonly epoch: number;
  readonly instanceId: string | undefined;
}

function byTopic<Item extends { readonly at: PartitionTrace }>(items: readonly Item[]): Map<string, Item[]> {
  const topics = new Map<string, Item[]>();
  for (const item of items) topics.set(item.at.topicId, [...(topics.get(item.at.topicId) ?? []), item]);
  return topics;
}

export interface OffsetOf {
  readonly at: PartitionTrace;
  readonly offset: number;
}

/** The code of each partition. `byId`: by topic id (v10), else by name (v9). */
export async function commitOffsets(
  link: CoordinatorLink,
  { groupId, memberId, epoch, instanceId }: Committer,
  offsets: readonly OffsetOf[],
  byId: boolean,
): Promise<Answered<ReadonlyMap<PartitionTrace, number>>> {
  const topics = [...byTopic(offsets)].map(([topicId, own]) =>
    newOffsetCommitRequestTopic({
      ...(byId ? { topicId } : { name: own[0]?.at.topic ?? "" }),
      partitions: own.map(({ at, offset }) =>
        newOffsetCommitRequestPartition({ partitionIndex: at.partition, committedOffset: BigInt(offset), committedMetadata: "" }),
      ),
    }),
  );
  const fields = { groupId, memberId, generationIdOrMemberEpoch: epoch, groupInstanceId: instanceId ?? null, topics };
  const { answer, isCurrent, sentMs } = await link.ask(
    "offset-commit",
    offsetCommitApi,
    byId ? 10 : 9,
    newOffsetCommitRequest(fields),
    (one) => one.topics.flatMap(({ partitions }) => partitions.map(({ errorCode }) => errorCode)),
  );
  const codes = new Map<PartitionTrace, number>();
  for (const { at } of offsets) {
    const topic = answer.topics.find(({ topicId, name }) => (byId ? topicId === at.topicId : name === at.topic));
    codes.set(at, topic?.partitions.find(({ partitionIndex }) => partitionIndex === at.partition)?.errorCode ?? -1);
  }
  return { answer: codes, isCurrent, sentMs };
}

export interface FetchedOffset {
  readonly errorCode: number;
  /** -1: none is committed. */
  readonly offset: number;
}

/** What the group has committed. `member` undefined: asked as an administrator. */
export async function fetchOffsets(
  link: CoordinatorLink,
  groupId: string,
  member: Committer | undefined,
  partitions: readonly PartitionTrace[],
  byId: boolean,
): Promise<Answered<ReadonlyMap<PartitionTrace, FetchedOffset>>> {
  const topics = [...byTopic(partitions.map((at) => ({ at })))].map(([topicId, own]) =>
    newOffsetFetchRequestTopics({
      ...(byId ? { topicId } : { name: own[0]?.at.topic ?? "" }),
      partitionIndexes: own.map(({ at }) => at.partition),
    }),
  );
  const group = newOffsetFetchRequestGroup({ groupId, memberId: member?.memberId ?? null, memberEpoch: member?.epoch ?? -1, topics });
  const { answer, isCurrent, sentMs } = await link.ask(
    "offset-fetch",
    offsetFetchApi,
    byId ? 10 : 9,
    newOffsetFetchRequest({ groups: [group], requireStable: true }),
    ({ groups }) =>
      groups.flatMap((one) => [one.errorCode, ...one.topics.flatMap((topic) => topic.partitions.map((part) => part.errorCode))]),
  );
  const found = new Map<PartitionTrace, FetchedOffset>();
  const answered = answer.groups[0];
  for (const at of partitions) {
    const topic = answered?.topics.find(({ topicId, name }) => (byId ? topicId === at.topicId : name === at.topic));
    const part = topic?.partitions.find(({ partitionIndex }) => partitionIndex === at.partition);
    found.set(at, { errorCode: (answered?.errorCode ?? -1) || (part?.errorCode ?? 0), offset: Number(part?.committedOffset ?? -1n) });
  }
  return { answer: found, isCurrent, sentMs };
}

export async function describeGroup(link: CoordinatorLink, groupId: string): Promise<Answered<DescribedGroup>> {
  const request = newConsumerGroupDescribeRequest({ groupIds: [groupId] });
  const { answer, isCurrent, sentMs } = await link.ask(
    "group-describe",
    consumerGroupDescribeApi,
    DESCRIBE_VERSION,
    request,
    ({ groups }) => groups.map(({ errorCode }) => errorCode),
  );
  const [group] = answer.groups;
  if (group === undefined) throw new ConnectionLost("a describe without its group");
  return { answer: group, isCurrent, sentMs };
}

/** For whatever is tried again or given up. */
export function ignoreLoss(error: unknown): false {
  if (!(error instanceof ConnectionLost)) throw error;
  return false;
}

/** By who serves, once it does. */
export async function describeCurrent(link: CoordinatorLink, groupId: string): Promise<DescribedGroup> {
  for (;;) {
    const described = await describeGroup(link, groupId).catch(ignoreLoss);
    if (described !== false && described.isCurrent) return described.answer;
    link.close();
  }
}
