/**
 * Offsets that producers have sent within transactions (KIP-98), until the marker comes: taken into the group on commit, dropped on abort. The partition
 * they are for is unstable meanwhile (KIP-447).
 *
 * Invariant: an offset that was stored later in the log is never replaced by one that was stored earlier, whichever transaction ends first; so what a
 * replay of the log finds is what was there before.
 */
import type { TopicPartition } from "../../coordinator/topic-partition.ts";
import type { CommittedOffset } from "../group-types.ts";

interface PendingOffset {
  readonly groupId: string;
  readonly at: TopicPartition;
  readonly committed: CommittedOffset;
  /** Place among all pending offsets; meaningless otherwise. */
  readonly order: number;
  /** Something later has been stored for the same partition. */
  isOutdated: boolean;
}

export interface EndedOffset {
  readonly groupId: string;
  readonly at: TopicPartition;
  readonly committed: CommittedOffset;
}

type ByPlace = Map<string, PendingOffset>;

function placeOf(groupId: string, { topic, partition }: TopicPartition): string {
  // A topic's name has no slash.
  return `${topic}/${partition}/${groupId}`;
}

export class PendingOffsets {
  readonly #byProducer = new Map<number, ByPlace>();
  /** Which producers have something pending at a place. */
  readonly #byPlace = new Map<string, Map<number, PendingOffset>>();
  readonly #countByGroup = new Map<string, number>();
  #order = 0;

  get count(): number {
    return this.#byPlace.size;
  }

  has(groupId: string, at: TopicPartition): boolean {
    return this.#byPlace.size > 0 && this.#byPlace.has(placeOf(groupId, at));
  }

  hasGroup(groupId: string): boolean {
    return this.#countByGroup.has(groupId);
  }

  put(producerId: number, groupId: string, at: TopicPartition, committed: CommittedOffset): void {
    const place = placeOf(groupId, at);
    this.#remove(producerId, place);
    this.#order += 1;
    const pending = { groupId, at, committed, order: this.#order, isOutdated: false };
    getOrCreate(this.#byProducer, producerId).set(place, pending);
    getOrCreate(this.#byPlace, place).set(producerId, pending);
    this.#countByGroup.set(groupId, (this.#countByGroup.get(groupId) ?? 0) + 1);
  }

  /** A plain commit came after what is pending here. */
  outdate(groupId: string, at: TopicPartition): void {
    if (this.#byPlace.size === 0) return;
    for (const pending of this.#byPlace.get(placeOf(groupId, at))?.values() ?? []) pending.isOutdated = true;
  }

  /** The partition's offset is deleted: what is pending goes too. */
  clear(groupId: string, at: TopicPartition): void {
    if (this.#byPlace.size === 0) return;
    const place = placeOf(groupId, at);
    for (const producerId of [...(this.#byPlace.get(place)?.keys() ?? [])]) this.#remove(producerId, place);
  }

  /** The producer's transaction has ended. Answers the offsets that count now. */
  end(producerId: number, isCommit: boolean): EndedOffset[] {
    const mine = this.#byProducer.get(producerId);
    if (mine === undefined) return [];
    const counting: EndedOffset[] = [];
    for (const [place, pending] of [...mine]) {
      this.#remove(producerId, place);
      if (!isCommit || pending.isOutdated) continue;
      counting.push(pending);
      for (const other of this.#byPlace.get(place)?.values() ?? []) if (other.order < pending.order) other.isOutdated = true;
    }
    return counting;
  }

  *ofGroup(groupId: string): Generator<TopicPartition> {
    if (!this.hasGroup(groupId)) return;
    for (const producers of this.#byPlace.values()) {
      const first = producers.values().next().value;
      if (first?.groupId === groupId) yield first.at;
    }
  }

  *all(): Generator<EndedOffset> {
    for (const producers of this.#byPlace.values()) yield* producers.values();
  }

  #remove(producerId: number, place: string): void {
    const mine = this.#byProducer.get(producerId);
    const pending = mine?.get(place);
    if (mine === undefined || pending === undefined) return;
    mine.delete(place);
    if (mine.size === 0) this.#byProducer.delete(producerId);
    const here = this.#byPlace.get(place);
    here?.delete(producerId);
    if (here?.size === 0) this.#byPlace.delete(place);
    const left = (this.#countByGroup.get(pending.groupId) ?? 0) - 1;
    if (left > 0) this.#countByGroup.set(pending.groupId, left);
    else this.#countByGroup.delete(pending.groupId);
  }
}

function getOrCreate<Key, K, V>(maps: Map<Key, Map<K, V>>, key: Key): Map<K, V> {
  let map = maps.get(key);
  if (map === undefined) {
    map = new Map();
    maps.set(key, map);
  }
  return map;
}
