/**
 * Planted bugs. Each one is a textual patch that must make one of the named tests fail; `scripts/mutants.ts` proves it. A room adds its own here when it has a
 * rule that no test may be allowed to lose. `find` occurs exactly once in the file.
 */
export interface Mutant {
  readonly name: string;
  /** What a user would see if this bug were real. */
  readonly harm: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Test files or folders of which at least one test must fail. */
  readonly tests: readonly string[];
}

const WAL_TESTS = [
  "test/unit/storage/wal/open-wal.test.ts",
  "test/unit/storage/wal/group-commit-wal.test.ts",
  "test/unit/storage/wal/crash-images.test.ts",
];

const READ_WATCH_TESTS = ["test/unit/storage/wal/read-watch.test.ts"];

export const MUTANTS: readonly Mutant[] = [
  {
    name: "wal-ack-at-submit",
    harm: "acks before the device has the record",
    file: "src/storage/wal/group-commit-wal.ts",
    find: "    commit.isSubmitted = true;\n",
    replace: "    commit.isSubmitted = true;\n    commit.isDurable = true;\n    queueMicrotask(() => this.#releaseInOrder());\n",
    tests: WAL_TESTS,
  },
  {
    name: "wal-no-dsync",
    harm: "acks what only the device's cache has",
    file: "test/unit/support/journaling-wal-device.ts",
    find: "const COMPLETION_IS_DURABLE = true;",
    replace: "const COMPLETION_IS_DURABLE = false as boolean;",
    tests: WAL_TESTS,
  },
  {
    name: "wal-no-predecessor-check",
    harm: "recovery takes a commit of another history",
    file: "src/storage/wal/scan.ts",
    find: "    if (found.header.predecessorChecksum !== position.predecessorChecksum) return",
    replace: "    if (position.lsn < 0) return",
    tests: WAL_TESTS,
  },
  {
    name: "wal-wrong-lap-check",
    harm: "recovery takes a commit of an earlier lap",
    file: "src/storage/wal/scan.ts",
    find: "    if (header.lsn !== lsn) return",
    replace: "    if (header.lsn % wal.capacityBlocks !== lsn % wal.capacityBlocks) return",
    tests: WAL_TESTS,
  },
  {
    name: "wal-ack-out-of-order",
    harm: "acks a record while an earlier one is not durable",
    file: "src/storage/wal/group-commit-wal.ts",
    find: "      commit.isDurable = true;\n",
    replace: "      commit.isDurable = true;\n      commit.waiting?.resolve(this.#released);\n",
    tests: WAL_TESTS,
  },
  {
    name: "wal-no-epoch-check",
    harm: "recovery takes a commit of a life that was cut off",
    file: "src/storage/wal/scan.ts",
    find: "    if (found.header.walEpoch < position.walEpoch) return",
    replace: "    if (position.lsn < 0) return",
    tests: WAL_TESTS,
  },
  {
    name: "wal-no-commit-checksum",
    harm: "recovery takes a torn commit",
    file: "src/storage/wal/scan.ts",
    find: "    if (!commitChecksumMatches(bytes, header, crc32c)) return {",
    replace: "    if (bytes.length < 0) return {",
    tests: WAL_TESTS,
  },
  {
    name: "wal-silent-truncation",
    harm: "a damaged stretch is taken for the end of the log",
    file: "src/storage/wal/scan.ts",
    find: "    if (proof === undefined) return undefined;",
    replace: "    if (proof !== undefined || proof === undefined) return undefined;",
    tests: WAL_TESTS,
  },
  {
    name: "wal-ring-reused-in-flight",
    harm: "a write in flight is overwritten in memory",
    file: "src/storage/ring/memory-ring.ts",
    find: "    return this.#head - this.#tail;",
    replace: "    return 0 * this.#tail;",
    tests: WAL_TESTS,
  },
  {
    name: "wal-no-flush-after-scan",
    harm: "recovery exposes what only the device's cache has",
    file: "src/storage/wal/open-wal.ts",
    find: "  await device.flush();\n",
    replace: "",
    tests: WAL_TESTS,
  },
  {
    name: "wal-lost-device-waited-out",
    harm: "a broker whose volume is gone serves on for ever when it writes nothing",
    file: "src/storage/wal/read-watch.ts",
    find: "    if (failingMs >= failAfterMs) {",
    replace: "    if (failingMs >= failAfterMs * Number.MAX_SAFE_INTEGER) {",
    tests: READ_WATCH_TESTS,
  },
  {
    name: "wal-bad-place-ends-broker",
    harm: "one bad sector that holds an old record takes the whole broker down",
    file: "src/storage/wal/read-watch.ts",
    find: "    this.#failingSinceMs = this.#hasFailedAgain ? clock.monotonicMs() : undefined;",
    replace: '    if (clock.monotonicMs() >= 0) this.#noteUnreadable(new Error("planted"));',
    tests: READ_WATCH_TESTS,
  },
  {
    name: "wal-trim-ignored-by-room",
    harm: "the head runs over what is not uploaded",
    file: "src/storage/wal/group-commit-wal.ts",
    find: "    return this.#headLsn - this.#trimLsn;",
    replace: "    return 0 * this.#trimLsn;",
    tests: WAL_TESTS,
  },
];
