/** Consumers of transactional records: one poll of either isolation level with its checks, and a client that goes on polling. */
import { fetchApi } from "../../src/protocol/messages/fetch.ts";
import { decodeTransactionalBatches, type SimBatch } from "./sim-batch.ts";
import type { ClientPlace } from "./sim-clients.ts";
import type { TxnChannel } from "./txn-channel.ts";
import type { TxnLog, TxnModel, WholeLog } from "./txn-model.ts";
import { abortedFilter, FETCH_VERSION, type FetchPlan, fetchRequest, readOffset } from "./txn-requests.ts";

const NO_SESSION = { id: 0, epoch: 0 };
const COMMITTED_PERCENT = 70;
const OFFSETS_PERCENT = 4;

export interface Polled {
  readonly sessionId: number;
  /** Whoever answered serves, as far as the simulator can tell. */
  readonly isCurrent: boolean;
  /** A session that the broker does not know any more, and nothing else. */
  readonly isSessionLost: boolean;
  /** Where to go on, of those that have moved. */
  readonly moved: ReadonlyMap<TxnLog, number>;
  readonly batches: ReadonlyMap<TxnLog, readonly SimBatch[]>;
  /** Keys by offset: what counts for this isolation level. */
  readonly taken: ReadonlyMap<TxnLog, ReadonlyMap<number, number>>;
  /** Last stable offset and high watermark. */
  readonly ends: ReadonlyMap<TxnLog, { readonly stable: number; readonly end: number }>;
}

/** `positions` may hold less than `known`: a session asks only for what has changed. */
export async function pollTransactional(
  channel: TxnChannel,
  model: TxnModel,
  reader: string,
  plan: FetchPlan & { readonly known?: ReadonlyMap<TxnLog, number> },
  session?: { readonly id: number; readonly epoch: number },
): Promise<Polled> {
  const before = new Map(model.logs.map((log) => [log, log.stableEnd]));
  const { answer, isCurrent } = await channel.ask("poll", fetchApi, FETCH_VERSION, fetchRequest(plan, session), (one) =>
    one.errorCode !== 0 ? [] : one.responses.flatMap(({ partitions }) => partitions.map(({ errorCode }) => errorCode)),
  );
  const moved = new Map<TxnLog, number>();
  const batches = new Map<TxnLog, readonly SimBatch[]>();
  const taken = new Map<TxnLog, ReadonlyMap<number, number>>();
  const ends = new Map<TxnLog, { readonly stable: number; readonly end: number }>();
  for (const { topic, partitions } of answer.responses) {
    for (const part of partitions) {
      const log = model.log(topic, part.partitionIndex);
      if (part.errorCode !== 0) {
        log.find("unexpected-error", `${reader}'s Fetch was answered with error ${part.errorCode}`);
        continue;
      }
      const stable = Number(part.lastStableOffset);
      const end = Number(part.highWatermark);
      ends.set(log, { stable, end });
      if (stable > end) log.find("unstable-read", `the last stable offset is ${stable}, and the log ends at ${end}`);
      const highest = before.get(log) ?? 0;
      if (isCurrent && stable >= 0 && stable < highest)
        log.find("nonmonotonic-lso", `${reader} is told that the last stable offset is ${stable}, and it was ${highest} before`);
      log.stableEnd = Math.max(log.stableEnd, stable);
      if (!(part.records instanceof Uint8Array) || part.records.length === 0) continue;
      const position = (plan.known ?? plan.positions).get(log) ?? 0;
      let found: SimBatch[];
      try {
        found = decodeTransactionalBatches(part.records);
      } catch (error) {
        log.find("corrupt-value", `${reader} at ${position}: ${error instanceof Error ? error.message : String(error)}`);
        continue;
      }
      const counts = plan.isCommitted ? abortedFilter(part.abortedTransactions ?? []) : () => true;
      const verdicts = new Map(found.map((batch) => [batch, counts(batch)]));
      const mine = new Map<number, number>();
      const next = log.poll(reader, position, found, (batch, key, offset) => {
        if (verdicts.get(batch) !== true) return;
        mine.set(offset, key);
        if (plan.isCommitted) model.seeCommitted(log, reader, key, offset);
      });
      if (plan.isCommitted && next > stable)
        log.find("unstable-read", `${reader} was given offsets up to ${next}, and the last stable offset is ${stable}`);
      if (next > position) moved.set(log, next);
      batches.set(log, found);
      taken.set(log, mine);
    }
  }
  return { sessionId: answer.sessionId, isCurrent, isSessionLost: answer.errorCode !== 0, moved, batches, taken, ends };
}

/** Follows all logs in both isolation levels over fetch sessions, now and then begins anew, and asks what the group has committed. */
export class TxnReader {
  private readonly place: ClientPlace;
  private readonly model: TxnModel;
  private readonly channel: TxnChannel;
  private readonly name: string;
  private isStopping = false;

  constructor(place: ClientPlace, name: string, model: TxnModel, channel: TxnChannel) {
    this.place = place;
    this.name = name;
    this.model = model;
    this.channel = channel;
  }

  stop(): void {
    this.isStopping = true;
  }

  async run(): Promise<void> {
    const { random } = this.place.process;
    const positions = { committed: new Map<TxnLog, number>(), uncommitted: new Map<TxnLog, number>() };
    for (const log of this.model.logs) for (const own of Object.values(positions)) own.set(log, 0);
    const sessions = { committed: NO_SESSION, uncommitted: NO_SESSION };
    const toSend = { committed: new Map(positions.committed), uncommitted: new Map(positions.uncommitted) };
    while (!this.isStopping) {
      await this.place.pace.next();
      if (random.chance(OFFSETS_PERCENT)) {
        await this.checkOffsets();
        continue;
      }
      const isCommitted = random.chance(COMMITTED_PERCENT);
      const kind = isCommitted ? "committed" : "uncommitted";
      const own = positions[kind];
      const maxWaitMs = this.place.pace.isBehind ? 0 : random.nextInt(150);
      const losses = this.channel.losses;
      const plan = { positions: toSend[kind], known: own, isCommitted, maxBytes: 131_072, maxWaitMs };
      const polled = await pollTransactional(this.channel, this.model, this.name, plan, sessions[kind]);
      for (const [log, next] of polled.moved) own.set(log, next);
      const isLost = polled.isSessionLost || this.channel.losses > losses;
      const { sessionId } = polled;
      sessions[kind] = isLost || sessionId === 0 ? NO_SESSION : { id: sessionId, epoch: sessions[kind].epoch + 1 };
      toSend[kind] = sessions[kind] === NO_SESSION ? new Map(own) : new Map(polled.moved);
    }
  }

  private async checkOffsets(): Promise<void> {
    const slot = this.place.process.random.pick(this.model.slots);
    const { committedTo } = slot;
    // An end is answered when it is decided; until its markers are written, who does not ask for stable offsets is told the one before.
    const isStable = this.place.process.random.chance(30);
    const { offset, isCurrent } = await readOffset(this.channel, slot, isStable);
    this.model.seeOffset(slot, this.name, offset, isCurrent && isStable ? committedTo : undefined);
  }
}

/** All of a log in both isolation levels; it must not grow any more. A broker that was replaced and does not know it yet cannot say where the log ends. */
export async function readWholeLog(channel: TxnChannel, model: TxnModel, log: TxnLog): Promise<WholeLog> {
  const batches: SimBatch[] = [];
  const committed = new Map<number, number>();
  for (const isCommitted of [false, true]) {
    for (let position = 0; ; ) {
      const plan = { positions: new Map([[log, position]]), isCommitted, maxBytes: 262_144, maxWaitMs: 0 };
      const polled = await pollTransactional(channel, model, `reader of ${log.name}`, plan);
      const { moved, batches: found, taken, ends, isCurrent } = polled;
      if (!isCurrent) {
        await channel.turnAway();
        continue;
      }
      if (isCommitted) for (const [offset, key] of taken.get(log) ?? []) committed.set(offset, key);
      else batches.push(...(found.get(log) ?? []).filter(({ baseOffset }) => baseOffset >= position));
      const next = moved.get(log);
      if (next !== undefined) position = next;
      else if (position >= (ends.get(log)?.[isCommitted ? "stable" : "end"] ?? 0)) break;
    }
  }
  return { batches, committed };
}
