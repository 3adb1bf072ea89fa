/** Real clients as groups on dist/weir: what becomes of their records, and what Kafka's own tools see. */
import { describe, expect } from "bun:test";
import { testIf } from "../support/tools.ts";
import { hasWeir, weirMissing } from "../support/weir-process.ts";
import { churn, restartStatic } from "./groups-churn.ts";
import { memberKinds } from "./groups-members.ts";

for (const kind of memberKinds) {
  describe(kind.name, () => {
    const run = testIf(hasWeir && kind.missing === undefined, kind.missing ?? weirMissing);
    run(
      "joins, leaves, kills, a broker killed with -9 and a rolling restart: no record skipped, none processed again below a commit",
      async () => {
        const verdict = await churn(kind);
        console.log(`${kind.name}: ${verdict.records} records processed, ${verdict.reprocessed} of them again, ${verdict.moves} moves`);
        expect(verdict.problems).toEqual([]);
      },
      240_000,
    );
    if (!kind.supportsStatic) return;
    run(
      "a static member restarts without a rebalance",
      async () => {
        const verdict = await restartStatic(kind);
        expect(verdict.problems).toEqual([]);
      },
      120_000,
    );
  });
}
