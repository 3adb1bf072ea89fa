/**
 * Incremental fetch sessions (KIP-227): the broker remembers which partitions a client follows and answers only with those that have something to say.
 * Kafka's rules for epochs, creation and eviction (FetchSessionCache), in one shard.
 *
 * A session is reached by id from any connection; its epoch orders requests. Answers are compared again when they are made, since a
 * long poll lies between.
 */
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";

/** A partition as one fetch asks for it. */
export interface FetchTarget {
  readonly topicName: string;
  readonly topicId: string;
  readonly partition: number;
  readonly fetchOffset: number;
  readonly maxBytes: number;
  /** -1: not checked. */
  readonly currentLeaderEpoch: number;
  readonly lastFetchedEpoch: number;
}

/** What the answer's comparison needs of a partition's result. */
export interface PartitionResult {
  readonly errorCode: number;
  /** -1 with an error: so what follows the error is news. */
  readonly highWatermark: bigint;
  readonly logStartOffset: bigint;
  readonly recordsBytes: number;
  readonly isDiverging: boolean;
}

interface SessionPartition {
  target: FetchTarget;
  highWatermark: bigint;
  logStartOffset: bigint;
}

export interface FetchSession {
  readonly id: number;
  readonly usesTopicIds: boolean;
  readonly createdMs: number;
  lastUsedMs: number;
  /** The epoch that the next request must carry. */
  epoch: number;
  /** In the order in which they are served; those that returned records go to the end. */
  readonly partitions: Map<string, SessionPartition>;
}

/** "full": a complete request that may found a session. "sessionless": complete, founds none. "incremental": `session` was advanced to `epoch`. */
export type FetchContext =
  | { readonly kind: "full"; readonly targets: readonly FetchTarget[] }
  | { readonly kind: "sessionless"; readonly targets: readonly FetchTarget[] }
  | { readonly kind: "incremental"; readonly targets: readonly FetchTarget[]; readonly session: FetchSession; readonly epoch: number }
  | { readonly kind: "unknown-session" | "wrong-epoch" | "topic-id-mismatch" };

export interface FetchSessionRequest {
  readonly sessionId: number;
  readonly sessionEpoch: number;
  readonly usesTopicIds: boolean;
  readonly targets: readonly FetchTarget[];
  readonly forgotten: readonly { readonly topicName: string; readonly topicId: string; readonly partition: number }[];
}

export const NO_SESSION = 0;
const FULL_EPOCH = 0;
const FINAL_EPOCH = -1;
/** A session younger than this is not evicted for a larger one; one unused for longer is evicted for any. */
export const MIN_EVICTION_AGE_MS = 120_000;

function keyOf(usesTopicIds: boolean, target: { topicName: string; topicId: string; partition: number }): string {
  return `${usesTopicIds ? target.topicId : target.topicName}:${target.partition}`;
}

export function nextSessionEpoch(epoch: number): number {
  return epoch === 0x7fffffff ? 1 : epoch + 1;
}

export class FetchSessions {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #maxSessions: number;
  /** Least recently used first. */
  readonly #sessions = new Map<number, FetchSession>();
  #evictions = 0;

  constructor(clock: Clock, random: Random, maxSessions: number) {
    this.#clock = clock;
    this.#random = random;
    this.#maxSessions = maxSessions;
  }

  get size(): number {
    return this.#sessions.size;
  }

  get evictions(): number {
    return this.#evictions;
  }

  /** What a request is about; an incremental one changes its session. */
  open(request: FetchSessionRequest): FetchContext {
    const targets = dropRepeated(request);
    if (request.sessionEpoch === FULL_EPOCH || request.sessionEpoch === FINAL_EPOCH) {
      if (request.sessionId !== NO_SESSION) this.#sessions.delete(request.sessionId);
      return { kind: request.sessionEpoch === FINAL_EPOCH ? "sessionless" : "full", targets };
    }
    const session = this.#sessions.get(request.sessionId);
    if (session === undefined) return { kind: "unknown-session" };
    if (session.epoch !== request.sessionEpoch) return { kind: "wrong-epoch" };
    if (session.usesTopicIds !== request.usesTopicIds) return { kind: "topic-id-mismatch" };
    this.#update(session, targets, request.forgotten);
    if (session.partitions.size === 0) {
      this.#sessions.delete(session.id);
      return { kind: "sessionless", targets };
    }
    this.#touch(session);
    session.epoch = nextSessionEpoch(session.epoch);
    const all = Array.from(session.partitions.values(), (partition) => partition.target);
    return { kind: "incremental", targets: all, session, epoch: session.epoch };
  }

  #update(session: FetchSession, targets: readonly FetchTarget[], forgotten: FetchSessionRequest["forgotten"]): void {
    for (const target of targets) {
      const key = keyOf(session.usesTopicIds, target);
      const known = session.partitions.get(key);
      if (known === undefined) session.partitions.set(key, { target, highWatermark: -1n, logStartOffset: -1n });
      else known.target = target;
    }
    for (const partition of forgotten) session.partitions.delete(keyOf(session.usesTopicIds, partition));
  }

  #touch(session: FetchSession): void {
    session.lastUsedMs = this.#clock.monotonicMs();
    this.#sessions.delete(session.id);
    this.#sessions.set(session.id, session);
  }

  /** Founds a session on a full request's answer; answers its id, or NO_SESSION when there is no room. */
  create(targets: readonly FetchTarget[], results: readonly PartitionResult[], usesTopicIds: boolean): number {
    const nowMs = this.#clock.monotonicMs();
    if (this.#sessions.size >= this.#maxSessions && !this.#tryEvict(targets.length, nowMs)) return NO_SESSION;
    const partitions = new Map<string, SessionPartition>();
    targets.forEach((target, index) => {
      const result = results[index] as PartitionResult;
      partitions.set(keyOf(usesTopicIds, target), { target, highWatermark: result.highWatermark, logStartOffset: result.logStartOffset });
    });
    const id = this.#newId();
    this.#sessions.set(id, { id, usesTopicIds, createdMs: nowMs, lastUsedMs: nowMs, epoch: nextSessionEpoch(FULL_EPOCH), partitions });
    return id;
  }

  #newId(): number {
    for (;;) {
      const id = 1 + this.#random.nextInt(0x7fffffff - 1);
      if (!this.#sessions.has(id)) return id;
    }
  }

  /** The longest unused when it is stale, else the smallest that is old enough and smaller than the newcomer. */
  #tryEvict(newSize: number, nowMs: number): boolean {
    const oldest = this.#sessions.values().next().value;
    if (oldest === undefined) return false;
    let victim: FetchSession | undefined;
    if (nowMs - oldest.lastUsedMs > MIN_EVICTION_AGE_MS) victim = oldest;
    else {
      for (const session of this.#sessions.values()) {
        if (nowMs - session.createdMs <= MIN_EVICTION_AGE_MS) continue;
        if (victim === undefined || session.partitions.size < victim.partitions.size) victim = session;
      }
      if (victim === undefined || newSize <= victim.partitions.size) return false;
    }
    this.#sessions.delete(victim.id);
    this.#evictions += 1;
    return true;
  }

  /**
   * Which of an incremental answer's partitions the client has to see; remembers what it is told. Undefined when another request has used the session
   * meanwhile (INVALID_FETCH_SESSION_EPOCH). `results` are those of `targets`, in order.
   */
  select(
    session: FetchSession,
    epoch: number,
    targets: readonly FetchTarget[],
    results: readonly PartitionResult[],
  ): boolean[] | undefined {
    if (session.epoch !== epoch) return undefined;
    return targets.map((target, index) => {
      const result = results[index] as PartitionResult;
      const key = keyOf(session.usesTopicIds, target);
      const known = session.partitions.get(key);
      if (known === undefined) return true;
      const isNews =
        result.recordsBytes > 0 ||
        result.errorCode !== 0 ||
        result.isDiverging ||
        known.highWatermark !== result.highWatermark ||
        known.logStartOffset !== result.logStartOffset;
      known.highWatermark = result.highWatermark;
      known.logStartOffset = result.logStartOffset;
      if (result.recordsBytes > 0) {
        session.partitions.delete(key);
        session.partitions.set(key, known);
      }
      return isNews;
    });
  }
}

/** A partition named twice counts once: the last one, at the first one's place. */
function dropRepeated(request: FetchSessionRequest): readonly FetchTarget[] {
  if (request.targets.length < 2) return request.targets;
  const byKey = new Map<string, FetchTarget>();
  for (const target of request.targets) byKey.set(keyOf(request.usesTopicIds, target), target);
  return byKey.size === request.targets.length ? request.targets : [...byKey.values()];
}
