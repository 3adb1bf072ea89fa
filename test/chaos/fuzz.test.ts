/** Bad input, a short run; `bun test/chaos/fuzz.ts --rounds 20` is a longer one. */
import { expect } from "bun:test";
import { testIf } from "../support/tools.ts";
import { hasWeir, weirMissing } from "../support/weir-process.ts";
import { runFuzz } from "./fuzz.ts";

testIf(hasWeir, weirMissing)("bad input ends in an answer or a closed connection, and disturbs nobody", async () => {
  const result = await runFuzz({ rounds: Number(process.env.CHAOS_FUZZ_ROUNDS ?? 2), seed: 1 });
  console.log(result.summary);
  expect(result.findings).toEqual([]);
});
