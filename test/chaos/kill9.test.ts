/** kill -9 under load, a short run; `bun test/chaos/kill9.ts --kills 50` is the full one. Also: the checker finds what it is for. */
import { describe, expect, test } from "bun:test";
import { canUseLoopDevices, noLoopDevices } from "../support/loop-device.ts";
import { testIf } from "../support/tools.ts";
import { hasWeir, weirMissing } from "../support/weir-process.ts";
import type { IdempotentProducer } from "./idempotent-producer.ts";
import { runKill9 } from "./kill9.ts";
import { checkLog } from "./log-checker.ts";

const kills = Number(process.env.CHAOS_KILLS ?? 5);

describe("kill -9", () => {
  const run = async (wal: "loop" | "file"): Promise<void> => {
    const result = await runKill9({ kills, seed: 1, wal, store: "file" });
    console.log(result.summary);
    expect(result.findings).toEqual([]);
  };
  testIf(hasWeir, weirMissing)("file WAL: no acknowledged record lost, none twice, order kept", () => run("file"));
  testIf(hasWeir && canUseLoopDevices, hasWeir ? noLoopDevices : weirMissing)("block device: the same", () => run("loop"));
});

describe("the checker", () => {
  const record = (offset: number, value: string) => ({ offset, value: Buffer.from(value) });
  const producer = (acknowledged: readonly { firstCounter: number; count: number; baseOffset: number }[]) =>
    [{ name: "p", acknowledged }] as unknown as IdempotentProducer[];
  const check = (records: ReturnType<typeof record>[], count = records.length) =>
    checkLog(0, records, producer([{ firstCounter: 0, count, baseOffset: 0 }]), new Map());

  test("a clean log gives nothing", () => {
    expect(check([record(0, "p:0:"), record(1, "p:1:")])).toEqual([]);
  });
  test("loss is found", () => expect(check([record(0, "p:0:")], 2)).toHaveLength(1));
  test("a duplicate is found", () => expect(check([record(0, "p:0:"), record(1, "p:0:")], 1).length).toBeGreaterThan(0));
  test("disorder is found", () => expect(check([record(0, "p:1:"), record(1, "p:0:")]).length).toBeGreaterThan(0));
  test("a gap in the offsets is found", () => expect(check([record(0, "p:0:"), record(2, "p:1:")]).length).toBeGreaterThan(0));
  test("another offset than the acknowledged one is found", () => {
    expect(checkLog(0, [record(0, "p:0:")], producer([{ firstCounter: 0, count: 1, baseOffset: 5 }]), new Map())).toHaveLength(1);
  });
  test("a record that was read and is gone, or changed, is found", () => {
    expect(checkLog(0, [record(0, "p:0:")], producer([]), new Map([[1, "x"]]))).toHaveLength(1);
    expect(checkLog(0, [record(0, "p:0:")], producer([]), new Map([[0, "x"]]))).toHaveLength(1);
  });
});
