import { describe, expect, test } from "bun:test";
import { patchOffsetAndEpoch, readStoredBatch, viewOf } from "../../../src/partition/batch-layout.ts";
import { MARKER_BYTES, makeMarker, readMarker } from "../../../src/partition/control-batch.ts";
import { MARKER_BATCH_BYTES } from "../../../src/partition/transaction-ports.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";

/** MemoryRecords.withEndTransactionMarker(2^33 + 7, 1700000000123, 6, 2^40 + 7, 3, new EndTransactionMarker(type, 41)) of Apache Kafka 4.4.0. */
const KAFKA_COMMIT =
  "0000000200000007000000420000000602812e86300030000000000000018bcfe5687b0000018bcfe5687b00000100000000070003ffffffff000000012000000008000000010c00000000002900";
const KAFKA_ABORT =
  "0000000200000007000000420000000602751050780030000000000000018bcfe5687b0000018bcfe5687b00000100000000070003ffffffff000000012000000008000000000c00000000002900";

function make(isCommit: boolean): Uint8Array {
  const marker = { producerId: 2 ** 40 + 7, producerEpoch: 3, isCommit, coordinatorEpoch: 41, transactionVersion: 2 } as const;
  const bytes = makeMarker(marker, 1_700_000_000_123, false, tableCrc32c);
  patchOffsetAndEpoch(viewOf(bytes), 0, 2 ** 33 + 7, 6);
  return bytes;
}

describe("transaction markers", () => {
  test("are Kafka's, byte by byte", () => {
    expect(Buffer.from(make(true)).toString("hex")).toBe(KAFKA_COMMIT);
    expect(Buffer.from(make(false)).toString("hex")).toBe(KAFKA_ABORT);
    expect(MARKER_BYTES).toBeLessThanOrEqual(MARKER_BATCH_BYTES);
  });

  test("are read back; newer key and value versions too", () => {
    for (const isCommit of [true, false]) {
      const bytes = make(isCommit);
      const view = viewOf(bytes);
      view.setInt16(66, 9);
      expect(readMarker(bytes, view, readStoredBatch(view, 0))).toEqual({ isCommit, coordinatorEpoch: 41 });
    }
  });

  test("another control record, and a batch that compaction emptied, end no transaction", () => {
    const other = make(true);
    viewOf(other).setInt16(68, 2);
    expect(readMarker(other, viewOf(other), readStoredBatch(viewOf(other), 0))).toBeUndefined();
    const empty = make(true).slice(0, 61);
    viewOf(empty).setInt32(8, 49);
    viewOf(empty).setInt32(57, 0);
    expect(readMarker(empty, viewOf(empty), readStoredBatch(viewOf(empty), 0))).toBeUndefined();
  });
});
