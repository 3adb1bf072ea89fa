/** A produced record wakes only its waiters; a short run, the CPU figure is printed and judged by `bun test/chaos/long-poll.ts` alone. */
import { expect } from "bun:test";
import { testIf } from "../support/tools.ts";
import { hasWeir, weirMissing } from "../support/weir-process.ts";
import { runLongPoll } from "./long-poll.ts";

testIf(hasWeir, weirMissing)("a thousand long polls: a record wakes those who wait for it, and nobody else", async () => {
  const result = await runLongPoll({ waiters: 1000, partitions: 100, seconds: 3 });
  console.log(result.summary);
  expect(result.findings).toEqual([]);
});
