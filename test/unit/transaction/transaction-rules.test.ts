import { describe, expect, test } from "bun:test";
import {
  newTransactionFields,
  TransactionEntry,
  type TransactionFields,
  type TransactionState,
} from "../../../src/transaction/transaction-entry.ts";
import { type Decision, decideAdd, decideEnd, decideInit, verifyPartitions } from "../../../src/transaction/transaction-rules.ts";

const NOW = { nowMs: 1_000, freshProducerId: undefined };
const at = { topic: "t", partition: 0 };

function entryIn(state: TransactionState, changes: Partial<TransactionFields> = {}): TransactionEntry {
  const partitions = state === "Ongoing" || state.startsWith("Prepare") ? new Map([["t/0", at]]) : new Map();
  return new TransactionEntry("x", { ...newTransactionFields(7, 100, 0), state, producerEpoch: 5, partitions, ...changes });
}

/** "bump" and "end": something is stored; else what is answered. */
function nameOf(decided: Decision): string {
  if (decided.kind === "refused") return decided.error;
  return decided.kind === "append" ? decided.next.state : decided.kind;
}

function end(state: TransactionState, epoch: number, isCommit: boolean, transactionVersion: 0 | 2): string {
  const request = { transactionalId: "x", producerId: 7, producerEpoch: epoch, isCommit, transactionVersion };
  return nameOf(decideEnd(entryIn(state), request, NOW));
}

const FENCED = "producer-fenced";
const INVALID = "invalid-transaction-state";
const CONCURRENT = "concurrent-transactions";

describe("EndTxn, [abort, commit] with the epoch [one below, the same]", () => {
  const table: readonly [TransactionState, readonly string[], readonly string[]][] = [
    ["Empty", [FENCED, "PrepareAbort", FENCED, INVALID], [FENCED, INVALID, FENCED, INVALID]],
    ["CompleteAbort", ["done", "PrepareAbort", INVALID, INVALID], [FENCED, "done", FENCED, INVALID]],
    ["CompleteCommit", [INVALID, "PrepareAbort", "done", INVALID], [FENCED, INVALID, FENCED, "done"]],
    ["Ongoing", [FENCED, "PrepareAbort", FENCED, "PrepareCommit"], [FENCED, "PrepareAbort", FENCED, "PrepareCommit"]],
    ["PrepareCommit", [INVALID, FENCED, CONCURRENT, FENCED], [FENCED, INVALID, FENCED, CONCURRENT]],
    ["PrepareAbort", [CONCURRENT, FENCED, INVALID, FENCED], [FENCED, CONCURRENT, FENCED, INVALID]],
  ];
  for (const [state, v2, v1] of table) {
    test(state, () => {
      const all = (version: 0 | 2) => [false, true].flatMap((isCommit) => [4, 5].map((epoch) => end(state, epoch, isCommit, version)));
      expect(all(2)).toEqual([...v2]);
      expect(all(0)).toEqual([...v1]);
    });
  }

  test("a pending change comes before who asks in version 2, after it before", () => {
    const entry = entryIn("Ongoing");
    entry.prepareAdd([{ topic: "t", partition: 1 }], 2, 1);
    const request = { transactionalId: "x", producerId: 8, producerEpoch: 5, isCommit: true };
    expect(nameOf(decideEnd(entry, { ...request, transactionVersion: 2 }, NOW))).toBe(CONCURRENT);
    expect(nameOf(decideEnd(entry, { ...request, transactionVersion: 0 }, NOW))).toBe("invalid-producer-id-mapping");
  });

  test("the epoch rises with version 2 alone; when there is none left the next transaction has another producer id", () => {
    const request = { transactionalId: "x", producerId: 7, producerEpoch: 32_766, isCommit: true, transactionVersion: 2 } as const;
    const entry = entryIn("Ongoing", { producerEpoch: 32_766 });
    expect(decideEnd(entry, request, NOW).kind).toBe("needs-producer-id");
    const decided = decideEnd(entry, request, { nowMs: 1, freshProducerId: 99 });
    if (decided.kind !== "append") throw new Error(decided.kind);
    expect(decided.next).toMatchObject({ producerId: 7, producerEpoch: 32_767, nextProducerId: 99 });
    entry.complete(decided.next);
    entry.complete(entry.prepareComplete(2));
    expect(entry.fields).toMatchObject({
      state: "CompleteCommit",
      producerId: 99,
      producerEpoch: 0,
      previousProducerId: 7,
      nextProducerId: -1,
    });
    // Asked again by the client that did not get the answer.
    expect(decideEnd(entry, request, NOW).kind).toBe("done");
  });
});

describe("InitProducerId", () => {
  const rule = { timeoutMs: 50, expected: undefined, serverVersion: 2 } as const;

  test("raises the epoch, and says when the last producer is fenced or another change is under way", () => {
    expect(decideInit(entryIn("CompleteCommit"), rule, NOW)).toMatchObject({
      next: { producerEpoch: 6, lastProducerEpoch: -1, timeoutMs: 50 },
    });
    expect(nameOf(decideInit(entryIn("PrepareAbort"), rule, NOW))).toBe(CONCURRENT);
    const stranger = { ...rule, expected: { producerId: 8, producerEpoch: 5 } };
    expect(nameOf(decideInit(entryIn("Empty"), stranger, NOW))).toBe(FENCED);
    const old = { ...rule, expected: { producerId: 7, producerEpoch: 3 } };
    expect(nameOf(decideInit(entryIn("Empty", { lastProducerEpoch: 4 }), old, NOW))).toBe(FENCED);
    const repeated = { ...rule, expected: { producerId: 7, producerEpoch: 4 } };
    expect(decideInit(entryIn("Empty", { lastProducerEpoch: 4 }), repeated, NOW)).toMatchObject({ next: { producerEpoch: 5 } });
  });

  test("an ongoing transaction is aborted first, under an epoch that the client never had", () => {
    for (const serverVersion of [0, 2] as const) {
      const decided = decideInit(entryIn("Ongoing"), { ...rule, serverVersion }, NOW);
      expect(decided).toMatchObject({
        kind: "abort-first",
        next: { state: "PrepareAbort", producerEpoch: 6, clientVersion: serverVersion },
      });
    }
  });

  test("used-up epochs give another producer id; an older epoch of it nothing", () => {
    const entry = entryIn("Empty", { producerEpoch: 32_766 });
    expect(decideInit(entry, rule, NOW).kind).toBe("needs-producer-id");
    expect(nameOf(decideInit(entry, { ...rule, expected: { producerId: 7, producerEpoch: 32_765 } }, NOW))).toBe("epochs-exhausted");
    const known = { ...rule, expected: { producerId: 7, producerEpoch: 32_766 } };
    const decided = decideInit(entry, known, { nowMs: 1, freshProducerId: 99 });
    expect(decided).toMatchObject({ next: { producerId: 99, producerEpoch: 0, previousProducerId: 7, lastProducerEpoch: 32_766 } });
    if (decided.kind === "append") entry.complete(decided.next);
    expect(decideInit(entry, known, NOW)).toMatchObject({ next: { producerId: 99, producerEpoch: 0 } });
  });
});

test("partitions are added, are there already, or are refused; verification looks and adds nothing", () => {
  const request = { transactionalId: "x", producerId: 7, producerEpoch: 5, partitions: [at], transactionVersion: 2 } as const;
  expect(nameOf(decideAdd(entryIn("Empty"), request, NOW))).toBe("Ongoing");
  expect(nameOf(decideAdd(entryIn("Ongoing"), request, NOW))).toBe("done");
  expect(nameOf(decideAdd(entryIn("PrepareCommit"), request, NOW))).toBe(CONCURRENT);
  expect(nameOf(decideAdd(entryIn("Empty"), { ...request, producerEpoch: 4 }, NOW))).toBe(FENCED);
  expect(nameOf(decideAdd(entryIn("Empty"), { ...request, producerId: 8 }, NOW))).toBe("invalid-producer-id-mapping");
  expect(verifyPartitions(entryIn("Ongoing"), { ...request, partitions: [at, { topic: "t", partition: 1 }] })).toEqual([
    undefined,
    "transaction-abortable",
  ]);
  expect(verifyPartitions(entryIn("PrepareAbort"), request)).toBe(CONCURRENT);
});
