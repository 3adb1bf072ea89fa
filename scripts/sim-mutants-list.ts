/**
 * Planted bugs that the simulator's clients must notice: `bun scripts/sim-mutants.ts [NAME-PART]...`. What notices them is never an assertion beside the
 * planted line: a crash counts as nothing but a crash.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Mutant } from "./mutants-list.ts";
import { CONSUMER_MUTANTS } from "./sim-mutants-consumers.ts";
import { REWRITE_MUTANTS } from "./sim-mutants-rewrites.ts";
import { TRANSACTION_MUTANTS } from "./sim-mutants-transactions.ts";

export interface SimMutant extends Omit<Mutant, "tests"> {
  /** More edits, of the same file unless it is named: assertions that the bug would leave undone beside it, or the second check that stands behind it. */
  readonly also?: readonly { readonly file?: string; readonly find: string; readonly replace: string }[];
  /** Clients cannot see it alone: what stands behind it, and the entry of this list in which both are gone. It is run only when it is named. */
  readonly hiddenBy?: string;
  /** Where to look first: the scenario, and virtual minutes a seed. Default: all in turn, one minute. */
  readonly scenario?: string;
  readonly minutes?: number;
}

/** By name of the bug: where clients noticed it when it was last run. */
export interface Noticed {
  readonly edit: string;
  readonly seed: number;
  readonly scenario: string;
  readonly anomaly: string;
}

export const NOTICED_FILE = join(import.meta.dir, "../test/sim/mutants-noticed.json");

export function readNoticed(): Readonly<Record<string, Noticed>> {
  return existsSync(NOTICED_FILE) ? (JSON.parse(readFileSync(NOTICED_FILE, "utf8")) as Record<string, Noticed>) : {};
}

/** All of a bug's edits, each with its file. */
export function editsOf(mutant: SimMutant): { file: string; find: string; replace: string }[] {
  return [mutant, ...(mutant.also ?? [])].map(({ file = mutant.file, find, replace }) => ({ file, find, replace }));
}

type Edits = NonNullable<SimMutant["also"]>;
const CONTROLLER = "src/controller/controller.ts";

/** The log does not tell a change that it holds from one that is asked for again. */
const EACH_CHANGE_IS_NEW: Edits = [
  { file: CONTROLLER, find: "  if (sequence === asker.lastSequence) return", replace: "  if (sequence < 0) return" },
  { file: CONTROLLER, find: "  assert(sequence === asker.lastSequence + 1,", replace: "  assert(sequence > 0," },
  {
    file: CONTROLLER,
    find: "brokerEpoch, sequence, outcomes: encodeOutcomes(outcomes)",
    replace: "brokerEpoch, sequence: asker.lastSequence + 1, outcomes: encodeOutcomes(outcomes)",
  },
];

/** A broker does not notice that it was replaced, and the controller does not mind. */
const NO_FENCE: Edits = [
  {
    file: "src/controller/log-keeper.ts",
    find: "    if (current !== brokerEpoch) {",
    replace: "    if (current === undefined || current < 0 * brokerEpoch) {",
  },
  { file: CONTROLLER, find: "  assert(sequence === asker.lastSequence + 1,", replace: "  assert(sequence > 0," },
  {
    file: CONTROLLER,
    find: "brokerEpoch, sequence, outcomes: encodeOutcomes(outcomes)",
    replace: "brokerEpoch: asker.brokerEpoch, sequence: asker.lastSequence + 1, outcomes: encodeOutcomes(outcomes)",
  },
];

export const SIM_MUTANTS: readonly SimMutant[] = [
  {
    name: "ack-before-flush",
    harm: "acks before the device has the record",
    file: "src/storage/wal/group-commit-wal.ts",
    find: "    commit.isSubmitted = true;\n",
    replace: "    commit.isSubmitted = true;\n    commit.isDurable = true;\n    queueMicrotask(() => this.#releaseInOrder());\n",
  },
  {
    name: "ack-without-waiting",
    harm: "a produce is answered when it is appended",
    file: "src/api/00-produce.ts",
    find: "    if (!produce.needsDurability) return Promise.resolve(produce.response);",
    replace: "    if (produce.acks !== 0) return Promise.resolve(produce.response);",
  },
  {
    name: "duplicate-acked-at-once",
    harm: "a repeated batch is acknowledged while the first is not durable",
    file: "src/api/00-produce.ts",
    find: '      case "duplicate":\n        produce.needsDurability = true;',
    replace: '      case "duplicate":',
  },
  {
    name: "release-out-of-order",
    scenario: "device",
    minutes: 2,
    harm: "a record is exposed while an earlier one is not durable",
    file: "src/storage/wal/group-commit-wal.ts",
    find: "      commit.isDurable = true;\n      this.#releaseInOrder();",
    replace:
      "      commit.isDurable = true;\n      for (const other of this.#commits) {\n        if (!other.isSubmitted) break;\n        other.isDurable = true;\n        if (other === commit) break;\n      }\n      this.#releaseInOrder();",
  },
  {
    name: "readers-see-undurable",
    scenario: "device",
    harm: "readers are shown what a crash may still take back",
    file: "src/storage/stream/stream-log.ts",
    find: "  durableEndOffset: number;\n",
    replace: "  get durableEndOffset(): number {\n    return this.nextOffset;\n  }\n  set durableEndOffset(_end: number) {}\n",
    also: [{ find: "assert(endOffset >= this.durableEndOffset && endOffset <= this.nextOffset,", replace: "assert(endOffset >= 0," }],
  },
  {
    name: "range-reused-before-commit",
    scenario: "laps",
    harm: "the WAL's head runs over what is in no object yet",
    file: "src/storage/wal/group-commit-wal.ts",
    find: "    return this.#headLsn - this.#trimLsn;",
    replace: "    return 0 * this.#trimLsn;",
  },
  {
    name: "trim-before-commit",
    harm: "the log says that the WAL is committed further than objects hold",
    file: "src/storage/upload/uploader.ts",
    find: "    const walCommitted = part.advances ? await part.durable : this.committedPosition;",
    replace: "    const walCommitted = await this.wal.cut().durable;\n    part = { ...part, advances: true };",
  },
  {
    name: "advance-over-recovered",
    scenario: "restarts",
    harm: "the committed position passes what recovery found and nobody has opened",
    file: "src/storage/stream/recovered-tails.ts",
    find: "    return this.waiting.size === 0 && this.damageHold.size === 0;",
    replace: "    return this.waiting.size >= 0;",
  },
  {
    name: "drop-recovered-tail",
    harm: "a restart forgets what is not in objects yet",
    file: "src/storage/stream/recovered-tails.ts",
    find: "    const entries = this.entries.get(key) ?? [];",
    replace: "    const entries: RecoveredEntry[] = [];",
  },
  {
    name: "drop-the-checkpoint",
    scenario: "restarts",
    harm: "producer state is not brought back from the checkpoint",
    file: "src/partition/partition-registry.ts",
    find: "      if (checkpoint !== undefined) log.restoreCheckpoint(checkpoint, replayStart);",
    replace:
      "      if (checkpoint !== undefined) log.restoreCheckpoint({ ...checkpoint, leaderEpochs: [], producers: [], aborted: [] }, replayStart);",
  },
  {
    name: "window-cleared-on-recovery",
    harm: "a batch that is sent again after a restart is taken for a new one",
    file: "src/partition/partition-log.ts",
    find: "        this.#noteProduced({ ...batch, lastSequence, isTransactional }, batch.baseOffset, batch.lastOffset, nowMs);",
    replace: "        if (lastSequence === -2 && isTransactional) nowMs++;",
  },
  {
    name: "no-duplicate-window",
    harm: "a batch that is sent again is appended again",
    file: "src/partition/producer-state.ts",
    find: "      if (duplicate !== undefined) return duplicate;",
    replace: "      if (duplicate !== undefined) return NEXT;",
  },
  {
    name: "sequence-gaps-allowed",
    scenario: "store",
    minutes: 2,
    harm: "batches are taken in any order",
    file: "src/partition/producer-state.ts",
    find: "    if (isFromClient && !isInSequence(entry, epoch, batch.baseSequence, verification)) return OUT_OF_ORDER;\n",
    replace: "",
  },
  {
    name: "slot-overwritten",
    scenario: "zombies",
    harm: "a slot of the metadata log is written over",
    file: "src/metadata/slot-writer.ts",
    find: 'async () => (await store.createOnce(key, bytes, options)).outcome === "created");',
    replace: "async () => store.put(key, bytes, options).then(() => true));",
  },
  {
    name: "412-ignored",
    scenario: "zombies",
    harm: "a slot that somebody else has is taken for won",
    file: "src/metadata/slot-writer.ts",
    find: '      if (decodeLogBatch(found, key, this.#deps.crc32c).nonce !== nonce) return "lost";',
    replace: "",
  },
  {
    name: "412-means-lost",
    hiddenBy: "what was applied is known by its sequence number when it is evaluated again; without both: change-made-twice-after-412",
    scenario: "store",
    harm: "one's own slot, its answer lost, is taken for somebody else's and its changes are made twice",
    file: "src/metadata/slot-writer.ts",
    find: "decodeLogBatch(found, key, this.#deps.crc32c).nonce !== nonce",
    replace: 'decodeLogBatch(found, key, this.#deps.crc32c).nonce !== ""',
  },
  {
    name: "change-made-twice-after-412",
    scenario: "topics",
    harm: "one's own slot, its answer lost, is taken for somebody else's, and the log does not remember whose change it holds",
    file: "src/metadata/slot-writer.ts",
    find: "decodeLogBatch(found, key, this.#deps.crc32c).nonce !== nonce",
    replace: 'decodeLogBatch(found, key, this.#deps.crc32c).nonce !== ""',
    also: EACH_CHANGE_IS_NEW,
  },
  {
    name: "unknown-means-lost",
    hiddenBy:
      "a slot given up is read again before anything else, and what was applied is known by its sequence number; without both: change-made-twice-after-404",
    scenario: "zombies",
    harm: "a PUT of unknown outcome is taken for one that failed",
    file: "src/metadata/slot-writer.ts",
    find: "        if (signal.aborted) throw signal.reason;",
    replace:
      '        if (error instanceof Trouble && error.code === "store-outcome-unknown") return false as T;\n        if (signal.aborted) throw signal.reason;',
  },
  {
    name: "change-made-twice-after-404",
    scenario: "topics",
    harm: "a PUT of unknown outcome whose slot is not there yet counts as not written, arrives late, and the log does not remember whose change it holds",
    file: "src/metadata/slot-writer.ts",
    find: "        if (signal.aborted) throw signal.reason;",
    replace:
      '        if (error instanceof Trouble && error.code === "store-outcome-unknown") return false as T;\n        if (signal.aborted) throw signal.reason;',
    also: EACH_CHANGE_IS_NEW,
  },
  {
    name: "floor-not-checked",
    scenario: "topics",
    harm: "a slot below the floor is taken for won",
    file: "src/metadata/slot-writer.ts",
    find: '    return slot >= lowest ? "won" : "lost";',
    replace: '    return lowest >= 0 ? "won" : "lost";',
  },
  {
    name: "answered-before-certain",
    scenario: "topics",
    harm: "a change of the metadata log is answered before its slot is won",
    file: "src/controller/controller.ts",
    find: "      const outcome = await log.propose(proposal, this.#abort.signal);",
    replace:
      '      this.#pending.slice(0, answers.length).forEach(({ request, resolve }, index) => request.kind === "changes" && resolve(answers[index]!));\n      const outcome = await log.propose(proposal, this.#abort.signal);',
    also: [{ find: "  assert(sequence === asker.lastSequence + 1,", replace: "  assert(sequence > 0," }],
  },
  {
    name: "term-not-checked",
    hiddenBy: "terms do not rise before partitions move between brokers (later: several brokers)",
    harm: "a broker commits objects for a partition that it owned under another term",
    file: "src/controller/evaluate.ts",
    find: "partition.term === range.term && ",
    replace: "",
  },
  {
    name: "broker-epoch-not-checked",
    hiddenBy:
      "whoever loses a slot reads on, sees the registration of the process that replaced it and ends before it asks for anything; without both: replaced-broker-goes-on",
    scenario: "zombies",
    harm: "a broker that was replaced goes on changing the log",
    file: "src/controller/controller.ts",
    find: "  if (asker === undefined || asker.brokerEpoch !== brokerEpoch) {",
    replace: "  if (asker === undefined) {",
  },
  {
    name: "replaced-broker-goes-on",
    scenario: "topics",
    harm: "a broker that was replaced goes on changing the log",
    file: "src/controller/controller.ts",
    find: "  if (asker === undefined || asker.brokerEpoch !== brokerEpoch) {",
    replace: "  if (asker === undefined) {",
    also: NO_FENCE,
  },
  {
    name: "commit-base-not-checked",
    hiddenBy:
      "only one process at a time commits for a partition, and it counts right; with the fence gone as well: replaced-broker-commits",
    scenario: "zombies",
    harm: "objects are committed over each other or with holes between them",
    file: "src/controller/evaluate.ts",
    find: "      if (range.baseOffset !== end || range.endOffset <= end) {",
    replace: "      if (range.endOffset < 0) {",
  },
  {
    name: "replaced-broker-commits",
    scenario: "zombies",
    minutes: 2,
    harm: "two processes commit objects of one partition, over each other",
    file: "src/controller/evaluate.ts",
    find: "      if (range.baseOffset !== end || range.endOffset <= end) {",
    replace: "      if (range.endOffset < 0) {",
    also: [
      {
        file: "src/controller/controller.ts",
        find: "  if (asker === undefined || asker.brokerEpoch !== brokerEpoch) {",
        replace: "  if (asker === undefined) {",
      },
      ...NO_FENCE,
      {
        file: "src/metadata/image-draft.ts",
        find: "    assert(baseOffset === end && endOffset > end,",
        replace: "    assert(end >= 0,",
      },
      { find: "    if (walCommitted.lsn < position.lsn)\n", replace: "    if (walCommitted.lsn < 0 * position.lsn)\n" },
      {
        file: "src/metadata/image-draft.ts",
        find: "    assert(walCommitted.lsn >= wal.committed.lsn,",
        replace: "    assert(wal.committed.lsn >= 0,",
      },
    ],
  },
  {
    name: "recovery-not-flushed",
    scenario: "laps",
    harm: "a restart builds upon what the scan saw in the device's cache alone",
    file: "src/storage/wal/open-wal.ts",
    find: "  await device.flush();\n",
    replace: "",
  },
  {
    name: "torn-commit-taken",
    scenario: "laps",
    harm: "recovery takes a commit that is not whole",
    file: "src/storage/wal/scan.ts",
    find: "    if (!commitChecksumMatches(bytes, header, crc32c)) return {",
    replace: "    if (bytes.length < 0) return {",
  },
  {
    name: "no-predecessor-check",
    hiddenBy: "a commit of another history is of an earlier epoch too; without both checks: chain-not-checked",
    scenario: "crashes",
    minutes: 2,
    harm: "recovery takes a commit of another history",
    file: "src/storage/wal/scan.ts",
    find: "    if (found.header.predecessorChecksum !== position.predecessorChecksum) return",
    replace: "    if (position.lsn < 0) return",
  },
  {
    name: "chain-not-checked",
    scenario: "chain",
    harm: "recovery goes on with what an earlier life wrote beyond the hole at which it ended",
    file: "src/storage/wal/scan.ts",
    find: "    if (found.header.predecessorChecksum !== position.predecessorChecksum) return",
    replace: "    if (position.lsn < 0) return",
    also: [{ find: "    if (found.header.walEpoch < position.walEpoch) return", replace: "    if (position.walEpoch < 0) return" }],
  },
  {
    name: "stale-lap-taken",
    hiddenBy: "a commit of an earlier lap names another predecessor; without both checks: stale-lap-taken-unchained",
    scenario: "crashes",
    minutes: 4,
    harm: "recovery takes a commit of an earlier lap",
    file: "src/storage/wal/scan.ts",
    find: "    if (header.lsn !== lsn) return",
    replace: "    if (header.lsn % wal.capacityBlocks !== lsn % wal.capacityBlocks) return",
  },
  {
    name: "stale-lap-taken-unchained",
    scenario: "laps",
    harm: "recovery goes on with commits of an earlier lap",
    file: "src/storage/wal/scan.ts",
    find: "    if (header.lsn !== lsn) return",
    replace: "    if (header.lsn % wal.capacityBlocks !== lsn % wal.capacityBlocks) return",
    also: [
      {
        find: "    if (found.header.predecessorChecksum !== position.predecessorChecksum) return",
        replace: "    if (position.lsn < 0) return",
      },
      {
        find: "      position = positionAfter(found.header);",
        replace: "      position = { ...positionAfter(found.header), lsn: (position.lsn + found.header.blockCount) as Lsn };",
      },
    ],
  },
  {
    name: "ring-view-after-reuse",
    harm: "a reader is given memory that holds something else by now",
    file: "src/storage/ring/memory-ring.ts",
    find: "    if (firstBlock < this.#head - this.capacityBlocks) return undefined;",
    replace: "    if (firstBlock < this.#head - 2 * this.capacityBlocks) return undefined;",
  },
  {
    name: "ring-reused-in-flight",
    scenario: "laps",
    harm: "a write in flight is overwritten in memory",
    file: "src/storage/ring/memory-ring.ts",
    find: "    return this.#head - this.#tail;",
    replace: "    return 0 * this.#tail;",
  },
  {
    name: "device-reuse-not-checked",
    harm: "a reader is given what lies in a reused range of the device",
    file: "src/storage/wal/payload-reader.ts",
    find: "    if (isExpected && crc32c(bytes, payloadAt, payloadAt + location.length) === header.payloadChecksum) return;",
    replace: "    if (isExpected || bytes.length >= 0) return;",
  },
  {
    name: "bad-crc-ignored-on-device",
    harm: "a flipped bit of the device reaches a reader",
    file: "src/storage/wal/payload-reader.ts",
    find: "crc32c(bytes, payloadAt, payloadAt + location.length) === header.payloadChecksum",
    replace: "bytes.length >= 0",
  },
  {
    name: "bad-crc-ignored-in-object",
    harm: "a flipped bit of an object reaches a reader",
    file: "src/storage/segment/open-block.ts",
    find: "  if (crc32c(stored, 0, stored.length) !== entry.crc)",
    replace: "  if (crc32c(stored, 0, stored.length) < 0)",
  },
  {
    name: "pending-swept",
    scenario: "restarts",
    harm: "objects of a living writer are deleted before they are committed",
    file: "src/controller/orphan-sweep.ts",
    find: "    if (broker.brokerEpoch === epoch) return false;",
    replace: "    if (broker.brokerEpoch === -epoch) return false;",
  },
  {
    name: "absent-means-empty",
    harm: "a fetch skips what it cannot find",
    file: "src/storage/stream/stream-log.ts",
    find: "    const start = Math.max(committedEndOffset, logStartOffset);",
    replace: "    const start = Math.max(committedEndOffset + 1, logStartOffset);",
  },
  {
    name: "epoch-reused",
    scenario: "crashes",
    minutes: 2,
    harm: "a WAL is opened under the epoch of its former life",
    file: "src/storage/wal/open-wal.ts",
    find: "    walEpoch: header.walEpoch + 1,",
    replace: "    walEpoch: Math.max(1, header.walEpoch),",
  },
  {
    name: "producer-ids-given-twice",
    scenario: "restarts",
    harm: "two producers get one id",
    file: "src/controller/broker-metadata.ts",
    find: "      this.#nextProducerId = outcome.firstId;",
    replace: "      this.#nextProducerId = outcome.firstId % 1000;",
  },
  {
    name: "group-load-ends-early",
    scenario: "groups",
    harm: "a coordinator takes a short read of its log for its end",
    file: "src/coordinator/load-to-end.ts",
    find: "        at = nextOffset;",
    replace: "        at = Math.max(nextOffset, endOffset);",
  },
  {
    name: "offset-commit-answered-early",
    scenario: "groups",
    harm: "a committed offset is acknowledged before it is durable",
    file: "src/coordinator/shard-log.ts",
    find: "      this.#waiting.push({ batch, done: index === batches.length - 1 ? done : undefined });",
    replace: "      this.#waiting.push({ batch, done: undefined });\n      if (index === batches.length - 1) queueMicrotask(done);",
  },
  {
    name: "session-forgets-partitions",
    scenario: "restarts",
    harm: "a fetch session leaves out records of a partition that has no newer ones",
    file: "src/api/fetch-sessions.ts",
    find: "        result.recordsBytes > 0 ||\n",
    replace: "",
  },
  {
    name: "long-poll-not-woken",
    scenario: "calm",
    harm: "a fetch that waits sleeps over new records",
    file: "src/partition/partition-log.ts",
    find: "      if (!waiter.isReadCommitted || followsReleases) waiter.addBytes(released);",
    replace: "      if (!waiter.isReadCommitted || followsReleases) waiter.addBytes(released * 0);",
  },
  ...TRANSACTION_MUTANTS,
  ...CONSUMER_MUTANTS,
  ...REWRITE_MUTANTS,
];
