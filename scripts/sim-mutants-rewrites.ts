/** Planted bugs of the rewriting of coordinators' logs that the simulator's clients must notice; part of `sim-mutants-list.ts`. */
import type { SimMutant } from "./sim-mutants-list.ts";

const REWRITE = "src/coordinator/log-rewrite.ts";

export const REWRITE_MUTANTS: readonly SimMutant[] = [
  {
    name: "log-cut-before-rewrite",
    scenario: "groups",
    harm: "a coordinator's log begins later before its state is written anew",
    file: REWRITE,
    find: "    const written = await this.#write();",
    replace: "    await this.#moveStart(startOffset, 0);\n    const written = await this.#write();",
  },
  {
    name: "log-cut-before-durable",
    scenario: "groups",
    harm: "a coordinator's log begins later when its state is on the way to the log, but not durable",
    file: REWRITE,
    find: "    if (!(await log.allDurable())) return;\n",
    replace: "",
    also: [
      { find: "      if (!(await this.#log.allDurable())) return progress;\n", replace: "" },
      { find: "      await clock.sleep(Math.max(MIN_PAUSE_MS, PAUSE_TIMES * tookMs));\n", replace: "" },
      {
        find: "    while (!this.#log.isClosed && log.stream.committedEndOffset < writtenEnd) await",
        replace: "    if (writtenEnd < 0) await",
      },
    ],
  },
  {
    name: "log-cut-in-transaction",
    scenario: "crowded",
    harm: "a coordinator's log is cut off above the offsets of an open transaction",
    file: REWRITE,
    find: "    const startOffset = log.log.lastStableOffset;",
    replace: "    const startOffset = log.log.highWatermark;",
  },
  {
    name: "rewritten-offset-outdates-transaction",
    scenario: "crowded",
    harm: "an offset that was written anew counts as newer than what a transaction is about to commit",
    file: "src/group/coordinator-shard.ts",
    find: "    if (!isRestated) this.pending.outdate(groupId, at);",
    replace: "    this.pending.outdate(groupId, at);",
  },
  {
    name: "changing-id-rewritten",
    scenario: "crowded",
    harm: "a transactional id whose change is on its way to the log is written anew as it was",
    file: "src/transaction/transaction-state-records.ts",
    find: " || onTheirWay.has(transactionalId)",
    replace: "",
  },
  {
    name: "idle-ids-alone-rewritten",
    scenario: "crowded",
    harm: "transactional ids that are open or ending are left out when their log is written anew",
    file: "src/transaction/transaction-state-records.ts",
    find: " || onTheirWay.has(transactionalId)",
    replace: ' || onTheirWay.has(transactionalId) || fields.state === "Ongoing"',
  },
];
