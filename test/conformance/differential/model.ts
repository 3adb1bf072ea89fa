/**
 * What a sequence's author believes to be there: names it has given, offsets it expects, producers and members it can speak for. It only makes requests
 * plausible; what the servers really say is compared, never predicted.
 */
import type { Choice } from "./choice.ts";

export interface TopicModel {
  readonly name: string;
  partitions: number;
  isDeleted: boolean;
  /** Expected log end by partition. */
  readonly ends: number[];
  /** The transaction's writes are in it; then offsets are less certain. */
  readonly configs: Readonly<Record<string, string>>;
}

export interface ProducerModel {
  /** Binding of its id. */
  readonly reference: string;
  /** Binding of its epoch. */
  readonly epochReference: string;
  readonly transactionalId: string | null;
  /** By topic and partition. */
  readonly nextSequence: Map<string, number>;
  /** Begun by AddPartitionsToTxn or by a produce of version 12 and above. */
  isInTransaction: boolean;
}

export interface GroupModel {
  readonly name: string;
  /** Binding of the one member's id; undefined when the group has nobody. */
  member: string | undefined;
  /** group.instance.id of that member. */
  instance: string | null;
  protocolType: string;
  isSynced: boolean;
}

/** Versions that both servers serve, by API key. */
export type ServedVersions = ReadonlyMap<number, { readonly min: number; readonly max: number }>;

export class Model {
  /** Every name of the sequence begins with it; lists are compared within it. */
  readonly prefix: string;
  readonly served: ServedVersions;
  readonly topics: TopicModel[] = [];
  readonly producers: ProducerModel[] = [];
  readonly groups: GroupModel[] = [];
  #count = 0;

  constructor(prefix: string, served: ServedVersions) {
    this.prefix = prefix;
    this.served = served;
  }

  next(word: string): string {
    this.#count++;
    return `${this.prefix}-${word}${this.#count}`;
  }

  /** A reference that nothing else of the sequence has. */
  reference(word: string): string {
    this.#count++;
    return `${word}:${this.#count}`;
  }

  serves(key: number): boolean {
    return this.served.has(key);
  }

  /** Any version that both serve, the highest more often. */
  version(key: number, choice: Choice, min = 0, max = Number.MAX_SAFE_INTEGER): number {
    const range = this.served.get(key);
    if (range === undefined) throw new Error(`API ${key} is not served by both`);
    const low = Math.max(min, range.min);
    const high = Math.min(max, range.max);
    return choice.chance(0.35) ? high : choice.between(low, high);
  }

  liveTopics(): TopicModel[] {
    return this.topics.filter((topic) => !topic.isDeleted);
  }

  /** Mostly one that is there; else a deleted one or one that never was. */
  topicName(choice: Choice): string {
    const live = this.liveTopics();
    if (live.length > 0 && choice.chance(0.94)) return choice.pick(live).name;
    const gone = this.topics.filter((topic) => topic.isDeleted);
    return gone.length > 0 && choice.chance(0.5) ? choice.pick(gone).name : `${this.prefix}-absent`;
  }

  topicOf(name: string): TopicModel | undefined {
    return this.topics.find((topic) => topic.name === name && !topic.isDeleted);
  }

  partition(name: string, choice: Choice): number {
    const partitions = this.topicOf(name)?.partitions ?? 1;
    return choice.mostly(choice.int(partitions), [partitions, partitions + 3, -1], 0.96);
  }

  end(name: string, partition: number): number {
    return this.topicOf(name)?.ends[partition] ?? 0;
  }

  grow(name: string, partition: number, records: number): void {
    const ends = this.topicOf(name)?.ends;
    if (ends !== undefined && partition >= 0 && partition < ends.length) ends[partition] = (ends[partition] ?? 0) + records;
  }
}

/** Leader epochs a client may have heard of: unknown, the first one, and ones that are behind or ahead. */
export function leaderEpoch(choice: Choice): number {
  return choice.weighted([
    [8, -1],
    [4, 0],
    [1, 1],
    [1, 5],
    [0.5, -2],
  ]);
}
