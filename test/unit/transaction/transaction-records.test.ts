/** The expected bytes were written by TransactionLog of Apache Kafka 4.4.0 (keyToBytes, valueToBytes). */
import { expect, test } from "bun:test";
import { newTransactionFields, type TransactionFields } from "../../../src/transaction/transaction-entry.ts";
import {
  buildTransactionBatch,
  encodeTombstone,
  encodeTransaction,
  replayTransactions,
} from "../../../src/transaction/transaction-records.ts";
import { decompressForTest } from "../support/record-batches.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";

const T = 1_700_000_000_000;
const hex = (bytes: Uint8Array | null): string => Buffer.from(bytes ?? []).toString("hex");
const partitions = new Map([["orders/2", { topic: "orders", partition: 2 }]]);
const base: TransactionFields = { ...newTransactionFields(7, 60_000, T), previousProducerId: 7, producerEpoch: 1 };
const ongoing: TransactionFields = { ...base, state: "Ongoing", partitions, startTimestampMs: T + 1, lastUpdateTimestampMs: T + 2 };
const prepared: TransactionFields = {
  ...ongoing,
  state: "PrepareCommit",
  nextProducerId: 9,
  producerEpoch: 32_767,
  lastUpdateTimestampMs: T + 3,
  clientVersion: 2,
};
const complete: TransactionFields = {
  ...prepared,
  state: "CompleteCommit",
  producerId: 9,
  nextProducerId: -1,
  producerEpoch: 0,
  partitions: new Map(),
  lastUpdateTimestampMs: T + 4,
};

test("keys and values are Kafka's, byte for byte", () => {
  const value = (fields: TransactionFields, version: 0 | 1 | 2) => hex(encodeTransaction("tx-1", fields, version).value);
  expect(hex(encodeTombstone("tx-1").key)).toBe("0000000474782d31");
  expect(value({ ...base, previousProducerId: -1, producerEpoch: 0 }, 0)).toBe(
    "0000000000000000000700000000ea6000ffffffff0000018bcfe56800ffffffffffffffff",
  );
  expect(value(base, 2)).toBe("0001000000000000000700010000ea6000000000018bcfe56800ffffffffffffffff0100080000000000000007");
  expect(value(ongoing, 0)).toBe(
    "0000000000000000000700010000ea60010000000100066f726465727300000001000000020000018bcfe568020000018bcfe56801",
  );
  expect(value(prepared, 2)).toBe(
    "000100000000000000077fff0000ea600202076f72646572730200000002000000018bcfe568030000018bcfe5680103000800000000000000070108000000000000000902020002",
  );
  expect(value(complete, 2)).toBe("0001000000000000000900000000ea6004010000018bcfe568040000018bcfe56801020008000000000000000702020002");
});

test("what is written is read back, and a tombstone forgets", () => {
  const records = [encodeTransaction("a", prepared, 2), encodeTransaction("b", ongoing, 0), encodeTombstone("a")];
  const batch = buildTransactionBatch(records, T, 1_000_000, tableCrc32c);
  const seen: [string, TransactionFields | undefined][] = [];
  replayTransactions(batch!.bytes, 0, decompressForTest, {
    onTransaction: (id, fields) => seen.push([id, fields]),
    onUnknown: () => {},
  });
  expect(seen).toEqual([
    ["a", prepared],
    ["b", { ...ongoing, previousProducerId: -1 }],
    ["a", undefined],
  ]);
  expect(buildTransactionBatch(records, T, 100, tableCrc32c)).toBeUndefined();
});
