import { describe, expect, test } from "bun:test";
import {
  FetchSessions,
  type FetchTarget,
  MIN_EVICTION_AGE_MS,
  NO_SESSION,
  nextSessionEpoch,
  type PartitionResult,
} from "../../../src/api/fetch-sessions.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { SeededRandom } from "../support/seeded-random.ts";

function target(partition: number, fetchOffset = 0): FetchTarget {
  return { topicName: "t", topicId: "", partition, fetchOffset, maxBytes: 100, currentLeaderEpoch: -1, lastFetchedEpoch: -1 };
}

function result(fields: Partial<PartitionResult> = {}): PartitionResult {
  return { errorCode: 0, highWatermark: 0n, logStartOffset: 0n, recordsBytes: 0, isDiverging: false, ...fields };
}

function made(maxSessions: number) {
  const clock = new ManualClock();
  return { clock, sessions: new FetchSessions(clock, new SeededRandom(3), maxSessions) };
}

const create = (sessions: FetchSessions, size: number) =>
  sessions.create(
    Array.from({ length: size }, (_, index) => target(index)),
    Array.from({ length: size }, () => result()),
    false,
  );

const request = (fields: object) => ({ sessionId: 0, sessionEpoch: 0, usesTopicIds: false, targets: [], forgotten: [], ...fields });

describe("the session cache", () => {
  test("full: a young session is not evicted; a stale one goes first; else the smallest old one, for a larger one only", async () => {
    const { clock, sessions } = made(2);
    const small = create(sessions, 1);
    const large = create(sessions, 5);
    expect(create(sessions, 9)).toBe(NO_SESSION);
    await clock.advance(MIN_EVICTION_AGE_MS - 10);
    sessions.open(request({ sessionId: large, sessionEpoch: 1 }));
    sessions.open(request({ sessionId: small, sessionEpoch: 1 }));
    await clock.advance(20);
    expect(create(sessions, 1)).toBe(NO_SESSION);
    expect(create(sessions, 2)).not.toBe(NO_SESSION);
    expect(sessions.open(request({ sessionId: small, sessionEpoch: 2 })).kind).toBe("unknown-session");
    await clock.advance(MIN_EVICTION_AGE_MS + 1);
    expect(create(sessions, 1)).not.toBe(NO_SESSION);
    expect(sessions.open(request({ sessionId: large, sessionEpoch: 2 })).kind).toBe("unknown-session");
    expect(sessions.evictions).toBe(2);
    expect(sessions.size).toBe(2);
  });

  test("no slots: no session, and nothing breaks", () => {
    expect(create(made(0).sessions, 3)).toBe(NO_SESSION);
  });

  test("a full request ends the session it names; the final epoch founds none; epochs wrap to 1", () => {
    const { sessions } = made(4);
    const id = create(sessions, 1);
    expect(sessions.open(request({ sessionId: id, sessionEpoch: -1 })).kind).toBe("sessionless");
    expect(sessions.size).toBe(0);
    expect(sessions.open(request({ sessionEpoch: 0 })).kind).toBe("full");
    expect([nextSessionEpoch(0), nextSessionEpoch(0x7fffffff)]).toEqual([1, 1]);
  });

  test("a partition named twice counts once, as it was named last", () => {
    const context = made(1).sessions.open(request({ sessionEpoch: -1, targets: [target(0, 1), target(1, 2), target(0, 3)] }));
    expect("targets" in context && context.targets.map((one) => [one.partition, one.fetchOffset])).toEqual([
      [0, 3],
      [1, 2],
    ]);
  });

  for (let seed = 1; seed <= 20; seed++) {
    test(`a client that only hears news knows everything, seed ${seed}`, () => {
      const random = new SeededRandom(seed);
      const { sessions } = made(3);
      const broker = Array.from({ length: 8 }, () => ({ highWatermark: 0, logStart: 0, errorCode: 0 }));
      const client = new Map<number, { highWatermark: bigint; logStartOffset: bigint; errorCode: number }>();
      const asked = new Map<number, number>();
      const first = [0, 1, 2, 3].map((partition) => target(partition));
      for (const one of first) asked.set(one.partition, 0);
      const look = (targets: readonly FetchTarget[]): PartitionResult[] =>
        targets.map((one) => {
          const state = broker[one.partition];
          if (state === undefined || state.errorCode !== 0)
            return result({ errorCode: state?.errorCode ?? 3, highWatermark: -1n, logStartOffset: -1n });
          const recordsBytes = state.highWatermark > one.fetchOffset ? 10 : 0;
          return result({ highWatermark: BigInt(state.highWatermark), logStartOffset: BigInt(state.logStart), recordsBytes });
        });
      const initial = look(first);
      const id = sessions.create(first, initial, false);
      first.forEach((one, index) => {
        client.set(one.partition, initial[index] as PartitionResult);
      });
      for (let epoch = 1; epoch < 200; epoch++) {
        const changed = broker[random.nextInt(8)];
        if (changed !== undefined) {
          if (random.chance(60)) changed.highWatermark += 1;
          if (random.chance(20)) changed.logStart = changed.highWatermark;
          changed.errorCode = random.chance(10) ? 6 : 0;
        }
        const targets: FetchTarget[] = [];
        const forgotten: { topicName: string; topicId: string; partition: number }[] = [];
        for (let partition = 0; partition < 8; partition++) {
          if (random.chance(15)) {
            targets.push(target(partition, broker[partition]?.highWatermark ?? 0));
            asked.set(partition, broker[partition]?.highWatermark ?? 0);
          } else if (asked.size > 1 && asked.has(partition) && random.chance(5)) {
            forgotten.push({ topicName: "t", topicId: "", partition });
            asked.delete(partition);
            client.delete(partition);
          }
        }
        const context = sessions.open(request({ sessionId: id, sessionEpoch: epoch, targets, forgotten }));
        if (context.kind !== "incremental") throw new Error(`epoch ${epoch}: ${context.kind}`);
        expect(new Map(context.targets.map((one) => [one.partition, one.fetchOffset]))).toEqual(asked);
        const results = look(context.targets);
        const selected = sessions.select(context.session, context.epoch, context.targets, results);
        context.targets.forEach((one, index) => {
          if (selected?.[index] === true) client.set(one.partition, results[index] as PartitionResult);
        });
        context.targets.forEach((one, index) => {
          const { errorCode, highWatermark, logStartOffset } = results[index] as PartitionResult;
          expect(client.get(one.partition)).toMatchObject({ errorCode, highWatermark, logStartOffset });
          if (results[index]?.recordsBytes) expect(selected?.[index]).toBe(true);
        });
      }
    });
  }
});
