import { describe, expect, test } from "bun:test";
import { PartitionLog } from "../../../src/partition/partition-log.ts";
import { ErrorCodes } from "../../../src/protocol/error-codes.ts";
import { ApiHarness } from "../support/api-harness.ts";
import { settle } from "../support/manual-clock.ts";
import { endTransaction, fetchCommitted, produce, ScriptedGate } from "../support/transactions.ts";

async function harness(): Promise<{ api: ApiHarness; gate: ScriptedGate; log: PartitionLog; topicId: string }> {
  const gate = new ScriptedGate();
  const api = new ApiHarness({}, undefined, undefined, gate);
  const { topicId } = api.metadata.addTopic("t", 2);
  return { api, gate, log: await open(api, topicId), topicId };
}

async function open(api: ApiHarness, topicId: string): Promise<PartitionLog> {
  const log = await api.partitions.open(topicId, 0);
  if (!(log instanceof PartitionLog)) throw new Error(`not open: ${log}`);
  return log;
}

/** The same storage and metadata under a new process. */
async function restart(api: ApiHarness, topicId: string): Promise<{ api: ApiHarness; log: PartitionLog }> {
  api.partitions.close();
  const again = new ApiHarness({}, api.storage, api.metadata, new ScriptedGate());
  return { api: again, log: await open(again, topicId) };
}

function saveCheckpoint(api: ApiHarness, log: PartitionLog): void {
  const checkpoint = log.takeCheckpoint(true);
  if (checkpoint === undefined) throw new Error("forced, and something was appended");
  api.storage.checkpoints.set(`${log.topicId}-${log.partition}`, checkpoint);
}

describe("the last stable offset", () => {
  test("R4: never passes an open transaction; read_committed sees what lies below the earliest, with the aborted ones", async () => {
    const { api, log } = await harness();
    await produce(api, { producerId: -1, sequence: -1, isTransactional: false });
    await produce(api, { producerId: 7, sequence: 0, records: 2 });
    await produce(api, { producerId: 8, sequence: 0 });
    expect([log.lastStableOffset, log.highWatermark]).toEqual([1, 4]);
    expect(await fetchCommitted(api, 0)).toMatchObject({ highWatermark: 4, lastStableOffset: 1, nextOffset: 1, aborted: [] });
    expect(endTransaction(api, log, { producerId: 8, producerEpoch: 1, isCommit: false })).toBe("appended at 4");
    expect(log.lastStableOffset).toBe(1);
    expect(endTransaction(api, log, { producerId: 7, producerEpoch: 1, isCommit: true })).toBe("appended at 5");
    expect(log.lastStableOffset).toBe(6);
    expect(await fetchCommitted(api, 0)).toMatchObject({ lastStableOffset: 6, nextOffset: 6, aborted: [[8, 3]] });
    expect(await fetchCommitted(api, 4)).toMatchObject({ nextOffset: 6, aborted: [[8, 3]] });
    expect(await fetchCommitted(api, 5)).toMatchObject({ nextOffset: 6, aborted: [] });
  });

  test("R4: an abort races with a read_committed fetch: as long as the marker is not durable nothing of it is seen", async () => {
    const { api, log } = await harness();
    await produce(api, { producerId: 7, sequence: 0 });
    api.storage.isDurableAtOnce = false;
    endTransaction(api, log, { producerId: 7, producerEpoch: 1, isCommit: false });
    expect(await fetchCommitted(api, 0)).toMatchObject({ lastStableOffset: 0, nextOffset: 0 });
    const waiting = fetchCommitted(api, 0, 1000);
    await settle();
    expect(api.waiters.size).toBe(1);
    api.storage.release();
    expect(await waiting).toMatchObject({ lastStableOffset: 2, nextOffset: 2, aborted: [[7, 0]] });
  });

  test("a waiting read_committed fetch is woken by the marker, not by what lies above the open transaction", async () => {
    const { api, log } = await harness();
    await produce(api, { producerId: 7, sequence: 0 });
    const waiting = fetchCommitted(api, 0, 1000);
    await settle();
    const before = api.storage.stream(log.topicId, 0).tryReads;
    for (let count = 0; count < 5; count++) await produce(api, { producerId: -1, sequence: -1, isTransactional: false });
    await settle();
    expect([api.waiters.size, api.storage.stream(log.topicId, 0).tryReads]).toEqual([1, before]);
    endTransaction(api, log, { producerId: 7, producerEpoch: 1, isCommit: true });
    expect((await waiting).nextOffset).toBe(7);
  });

  test("R4: read while the log start moves past it: the aborted transactions below are forgotten, so nothing of them is answered", async () => {
    const { api, log, topicId } = await harness();
    await produce(api, { producerId: 7, sequence: 0, records: 3 });
    endTransaction(api, log, { producerId: 7, producerEpoch: 1, isCommit: false });
    await produce(api, { producerId: -1, sequence: -1, isTransactional: false });
    const stream = api.storage.stream(topicId, 0);
    stream.coldBelow = 100;
    const read = stream.read.bind(stream);
    stream.read = async (from, limits) => {
      const slice = await read(from, limits);
      api.metadata.setPartition(topicId, 0, { logStartOffset: 4 });
      return slice;
    };
    expect(await fetchCommitted(api, 0)).toMatchObject({ errorCode: ErrorCodes.OFFSET_OUT_OF_RANGE });
    expect(await fetchCommitted(api, 4)).toMatchObject({ errorCode: 0, nextOffset: 5, aborted: [] });
  });
});

test("only the coordinator judges the epoch of a producer that the partition does not know", async () => {
  const { api, log } = await harness();
  const start = { producerId: 7, baseSequence: 0, supportsEpochBump: true };
  expect(log.startVerification({ ...start, producerEpoch: -1 }, 0)).toBeNumber();
  await produce(api, { producerId: 8, epoch: 3, sequence: 0 });
  expect(log.startVerification({ ...start, producerId: 8, producerEpoch: 2 }, 0)).toBe("stale-epoch");
});

describe("markers", () => {
  for (const [supportsEpochBump, code] of [
    [true, ErrorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER],
    [false, ErrorCodes.NONE],
  ] as const) {
    test(`take back the guard of a question; ${supportsEpochBump ? "one of its own epoch leaves" : "without epoch bumps they forget"} the lowest sequence`, async () => {
      const { api, log } = await harness();
      const question = { producerId: 7, producerEpoch: 0, baseSequence: 0, supportsEpochBump };
      const marker = { producerId: 7, producerEpoch: 0, isCommit: true, transactionVersion: 1 as const };
      await produce(api, { producerId: 7, sequence: 0 });
      endTransaction(api, log, marker);
      const guard = log.startVerification(question, 0);
      endTransaction(api, log, marker);
      expect(log.startVerification({ ...question, baseSequence: 1 }, 0)).not.toBe(guard);
      expect((await produce(api, { producerId: 7, sequence: 1 })).errorCode).toBe(code);
    });
  }

  test("transaction.version 2: an epoch that is not above that of the open transaction is stale; before, one that is below", async () => {
    const { api, log } = await harness();
    await produce(api, { producerId: 7, epoch: 3, sequence: 0 });
    expect(endTransaction(api, log, { producerId: 7, producerEpoch: 3, isCommit: true })).toBe("stale-epoch");
    expect(endTransaction(api, log, { producerId: 7, producerEpoch: 4, isCommit: true })).toBe("appended at 1");
    // Again, after a crash of the coordinator: nothing is open any more, so it is no mistake.
    expect(endTransaction(api, log, { producerId: 7, producerEpoch: 4, isCommit: true })).toBe("appended at 2");
    expect(endTransaction(api, log, { producerId: 7, producerEpoch: 3, isCommit: true })).toBe("stale-epoch");
    expect(endTransaction(api, log, { producerId: 7, producerEpoch: 3, isCommit: true, transactionVersion: 1 })).toBe("stale-epoch");
    expect(endTransaction(api, log, { producerId: 7, producerEpoch: 4, isCommit: true, transactionVersion: 1 })).toBe("appended at 3");
  });

  test("K1: a delayed marker of an ended transaction ends no later one: with an epoch per transaction it is stale", async () => {
    const { api, log } = await harness();
    await produce(api, { producerId: 7, sequence: 0 });
    const first = { producerId: 7, producerEpoch: 1, isCommit: true };
    expect(endTransaction(api, log, first)).toBe("appended at 1");
    await produce(api, { producerId: 7, epoch: 1, sequence: 0 });
    expect(endTransaction(api, log, first)).toBe("stale-epoch");
    expect(endTransaction(api, log, { ...first, isCommit: false })).toBe("stale-epoch");
    expect(log.lastStableOffset).toBe(2);
    expect(endTransaction(api, log, { ...first, producerEpoch: 2, isCommit: false })).toBe("appended at 3");
    expect(await fetchCommitted(api, 0)).toMatchObject({ nextOffset: 4, aborted: [[7, 2]] });
  });

  test("of an older coordinator are refused, and so is everything once the log is closed", async () => {
    const { api, log } = await harness();
    await produce(api, { producerId: 7, sequence: 0 });
    expect(endTransaction(api, log, { producerId: 7, producerEpoch: 1, isCommit: true, coordinatorEpoch: 5 })).toBe("appended at 1");
    expect(endTransaction(api, log, { producerId: 7, producerEpoch: 2, isCommit: true, coordinatorEpoch: 4 })).toBe("coordinator-fenced");
    expect(endTransaction(api, log, { producerId: 9, producerEpoch: 0, isCommit: false, coordinatorEpoch: -1 })).toBe("appended at 2");
    api.partitions.close();
    expect(endTransaction(api, log, { producerId: 7, producerEpoch: 9, isCommit: true })).toBe("not-owner");
  });

  test("are stamped as their topic stamps what is appended", async () => {
    for (const [type, bit] of [
      ["CreateTime", 0],
      ["LogAppendTime", 0x08],
    ] as const) {
      const api = new ApiHarness();
      const { topicId } = api.metadata.addTopic("t", 1, { "message.timestamp.type": type });
      const log = await open(api, topicId);
      endTransaction(api, log, { producerId: 7, producerEpoch: 1, isCommit: true });
      const stored = api.storage.stream(topicId, 0).batches[0];
      expect([stored?.bytes[22], stored?.maxTimestampMs]).toEqual([0x30 | bit, api.clock.wallMs()]);
    }
  });

  test("one without a transaction changes no last stable offset and aborts nothing", async () => {
    const { api, log } = await harness();
    await produce(api, { producerId: 8, sequence: 0 });
    endTransaction(api, log, { producerId: 7, producerEpoch: 1, isCommit: false });
    expect([log.lastStableOffset, log.listAborted(0, 100)]).toEqual([0, []]);
  });

  test("R5: a sequence used again after an abort is a new record with a new offset", async () => {
    const { api, log } = await harness();
    expect((await produce(api, { producerId: 7, sequence: 0 })).baseOffset).toBe(0n);
    endTransaction(api, log, { producerId: 7, producerEpoch: 1, isCommit: false });
    expect(await produce(api, { producerId: 7, epoch: 1, sequence: 0 })).toMatchObject({ errorCode: 0, baseOffset: 2n });
    expect(await produce(api, { producerId: 7, epoch: 1, sequence: 0 })).toMatchObject({ errorCode: 0, baseOffset: 2n });
    expect((await produce(api, { producerId: 7, epoch: 0, sequence: 1 })).errorCode).toBe(ErrorCodes.INVALID_PRODUCER_EPOCH);
    endTransaction(api, log, { producerId: 7, producerEpoch: 2, isCommit: true });
    expect(await fetchCommitted(api, 0)).toMatchObject({ nextOffset: 4, aborted: [[7, 0]] });
  });

  test("after a marker that raised the epoch the producer begins at 0; one without sequences yet cannot be overtaken", async () => {
    const { api, log } = await harness();
    endTransaction(api, log, { producerId: 7, producerEpoch: 4, isCommit: true });
    expect((await produce(api, { producerId: 7, epoch: 4, sequence: 3 })).errorCode).toBe(ErrorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER);
    expect((await produce(api, { producerId: 7, epoch: 4, sequence: 0 })).errorCode).toBe(0);
  });

  test("what is plain does not belong into an open transaction", async () => {
    const { api } = await harness();
    await produce(api, { producerId: 7, sequence: 0 });
    const plain = await produce(api, { producerId: 7, sequence: 1, isTransactional: false });
    expect(plain).toMatchObject({ errorCode: ErrorCodes.INVALID_TXN_STATE, logStartOffset: 0n });
  });
});

describe("transactions over a restart", () => {
  test("R6: nothing is fetched or produced before the tail has been read: an aborted transaction in it is never taken for a committed one", async () => {
    const { api, log, topicId } = await harness();
    await produce(api, { producerId: 7, sequence: 0 });
    endTransaction(api, log, { producerId: 7, producerEpoch: 1, isCommit: false });
    api.partitions.close();
    const again = new ApiHarness({}, api.storage, api.metadata, new ScriptedGate());
    const reading = Promise.withResolvers<void>();
    const openStream = api.storage.openStream.bind(api.storage);
    api.storage.openStream = (id, options) => {
      const stream = openStream(id, options);
      const read = stream.read.bind(stream);
      stream.tryRead = () => undefined;
      stream.read = (from, limits) => reading.promise.then(() => read(from, limits));
      return stream;
    };
    let answered = 0;
    const count = <Value>(value: Value): Value => {
      answered += 1;
      return value;
    };
    const fetched = fetchCommitted(again, 0).then(count);
    const produced = produce(again, { producerId: 7, epoch: 1, sequence: 0 }).then(count);
    await settle();
    expect(answered).toBe(0);
    reading.resolve();
    expect(await fetched).toMatchObject({ errorCode: 0, nextOffset: 2, aborted: [[7, 0]] });
    expect(await produced).toMatchObject({ errorCode: 0, baseOffset: 2n });
    expect(await open(again, topicId)).toBeInstanceOf(PartitionLog);
  });

  test("R3, M4: who was replaced appends nothing more, also what already waited for room; the next owner goes on with all producers", async () => {
    const { api, log, topicId } = await harness();
    await produce(api, { producerId: 7, sequence: 0, isTransactional: false });
    await produce(api, { producerId: 8, sequence: 0 });
    api.storage.hasRoom = false;
    const waiting = produce(api, { producerId: 7, sequence: 1, isTransactional: false });
    await settle();
    api.metadata.setPartition(topicId, 0, { ownerNodeId: 2, term: 1 });
    api.storage.grant();
    expect((await waiting).errorCode).toBe(ErrorCodes.NOT_LEADER_OR_FOLLOWER);
    expect(endTransaction(api, log, { producerId: 8, producerEpoch: 1, isCommit: true })).toBe("not-owner");
    const next = new ApiHarness({}, api.storage, api.metadata, new ScriptedGate());
    api.metadata.setPartition(topicId, 0, { ownerNodeId: 1, term: 2 });
    const moved = await open(next, topicId);
    expect([moved.term, moved.logEndOffset, moved.lastStableOffset]).toEqual([2, 2, 1]);
    expect((await produce(next, { producerId: 7, sequence: 0, isTransactional: false })).baseOffset).toBe(0n);
    expect((await produce(next, { producerId: 7, sequence: 1, isTransactional: false })).baseOffset).toBe(2n);
    expect((await produce(next, { producerId: 8, sequence: 1 })).errorCode).toBe(0);
    expect(api.storage.stream(topicId, 0).batches.map((batch) => [batch.baseOffset, batch.lastOffset])).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
  });

  for (const withCheckpoint of [false, true]) {
    test(`R4, R5: open and aborted ones are there again, ${withCheckpoint ? "from a checkpoint and the batches above" : "from the batches alone"}`, async () => {
      const { api, log, topicId } = await harness();
      await produce(api, { producerId: 8, sequence: 0, records: 2 });
      endTransaction(api, log, { producerId: 8, producerEpoch: 1, isCommit: false, coordinatorEpoch: 3 });
      await produce(api, { producerId: 7, sequence: 0 });
      if (withCheckpoint) saveCheckpoint(api, log);
      await produce(api, { producerId: 9, sequence: 0 });
      endTransaction(api, log, { producerId: 9, producerEpoch: 1, isCommit: false });
      const again = await restart(api, topicId);
      expect([again.log.lastStableOffset, again.log.highWatermark]).toEqual([3, 6]);
      expect((await produce(again.api, { producerId: 7, sequence: 1 })).errorCode).toBe(0);
      expect((again.api.services.gate as ScriptedGate).questions).toEqual([]);
      expect(endTransaction(again.api, again.log, { producerId: 8, producerEpoch: 2, isCommit: true, coordinatorEpoch: 2 })).toBe(
        "coordinator-fenced",
      );
      endTransaction(again.api, again.log, { producerId: 7, producerEpoch: 1, isCommit: true });
      expect(await fetchCommitted(again.api, 0)).toMatchObject({
        lastStableOffset: 8,
        aborted: [
          [8, 0],
          [9, 4],
        ],
      });
    });
  }

  test("a log start beyond the checkpoint: what is unknown of producers is forgotten, and no transaction stays open for ever", async () => {
    const { api, log, topicId } = await harness();
    await produce(api, { producerId: 7, sequence: 0 });
    saveCheckpoint(api, log);
    await produce(api, { producerId: 7, sequence: 1 });
    endTransaction(api, log, { producerId: 7, producerEpoch: 1, isCommit: true });
    await produce(api, { producerId: 8, sequence: 0, records: 4 });
    api.metadata.setPartition(topicId, 0, { logStartOffset: 5 });
    const again = await restart(api, topicId);
    expect([again.log.lastStableOffset, again.log.producerCount]).toEqual([5, 1]);
    endTransaction(again.api, again.log, { producerId: 8, producerEpoch: 1, isCommit: false });
    expect(again.log.lastStableOffset).toBe(8);
  });
});

describe("the list of aborted transactions", () => {
  const ABORTED = 50;

  async function abortMany(): Promise<{ api: ApiHarness; log: PartitionLog; topicId: string; logStart: number }> {
    const { api, log, topicId } = await harness();
    for (let epoch = 0; epoch < ABORTED; epoch++) {
      await produce(api, { producerId: 7, epoch, sequence: 0 });
      endTransaction(api, log, { producerId: 7, producerEpoch: epoch + 1, isCommit: false });
    }
    // The 41st transaction's marker is the first that is not below.
    return { api, log, topicId, logStart: 81 };
  }

  /** One is taken only when something was appended since the last. */
  async function checkpointBytes(api: ApiHarness, log: PartitionLog): Promise<number> {
    await produce(api, { producerId: -1, sequence: -1, isTransactional: false });
    return log.takeCheckpoint(true)?.length ?? 0;
  }
  const count = (log: PartitionLog): number => log.listAborted(0, log.highWatermark).length;

  test("is trimmed with the log start, and so are the checkpoints: 32 bytes for each whose marker is still there", async () => {
    const { api, log, topicId, logStart } = await abortMany();
    const before = await checkpointBytes(api, log);
    expect(count(log)).toBe(ABORTED);
    api.metadata.setPartition(topicId, 0, { logStartOffset: logStart });
    await settle();
    expect([count(log), before - (await checkpointBytes(api, log))]).toEqual([10, 40 * 32]);
    expect((await fetchCommitted(api, logStart)).aborted).toEqual(Array.from({ length: 10 }, (_, index) => [7, 80 + 2 * index]));
    api.metadata.setPartition(topicId, 0, { logStartOffset: log.highWatermark });
    await settle();
    expect([count(log), before - (await checkpointBytes(api, log))]).toEqual([0, ABORTED * 32]);
  });

  test("is read back from a checkpoint that was written before the log start moved, without what went since", async () => {
    const { api, log, topicId, logStart } = await abortMany();
    saveCheckpoint(api, log);
    const before = log.listAborted(logStart, log.highWatermark);
    api.metadata.setPartition(topicId, 0, { logStartOffset: logStart });
    const again = await restart(api, topicId);
    expect(again.log.listAborted(0, again.log.highWatermark)).toEqual(before);
    expect(before).toHaveLength(10);
  });
});
