/**
 * The cases that docs/cases.md maps to tests: real bugs of other systems, each with what ours must show. `later` names the feature without which a case cannot
 * occur here yet; `simulated`, the scenarios whose checkers would notice it.
 */
export interface Case {
  readonly id: string;
  readonly foundIn: string;
  readonly mustShow: string;
  readonly later?: string;
  readonly simulated?: string;
  /** Tests that show it without carrying its id. */
  readonly shownBy?: string;
}

export const CASES: readonly Case[] = [
  {
    id: "R1",
    foundIn: "Redpanda #3039",
    mustShow: "a batch retried after a kill between WAL write and ack has one offset, once",
    simulated: "crashes, restarts, laps, mixed",
  },
  {
    id: "R2",
    foundIn: "Redpanda #3038",
    mustShow: "five in flight, any suffix replayed: the duplicate window is rebuilt from storage",
    simulated: "restarts, crashes, mixed",
  },
  {
    id: "R3",
    foundIn: "Redpanda #3003",
    mustShow: "a paused owner that wakes after a takeover: at most one value per offset",
    simulated: "zombies, topics, mixed",
  },
  {
    id: "R4",
    foundIn: "Redpanda #3036",
    mustShow: "the LSO never passes an open transaction",
    simulated: "transactions, crowded",
  },
  {
    id: "R5",
    foundIn: "Redpanda #5026",
    mustShow: "a sequence reused after an abort is a new record",
    simulated: "transactions, crowded",
  },
  {
    id: "R6",
    foundIn: "Redpanda #5090",
    mustShow: "no fetch or produce until the recovered tail is readable",
    simulated: "restarts, crashes, zombies",
  },
  { id: "R7", foundIn: "Redpanda #5355", mustShow: "UNKNOWN_SERVER_ERROR is never the answer to a Produce", simulated: "all" },
  {
    id: "R8",
    foundIn: "Redpanda #9571",
    mustShow: "EndTxn's reply lost: OffsetFetch waits or shows the new offset",
    simulated: "transactions, crowded",
  },
  { id: "R9", foundIn: "Redpanda (Jepsen)", mustShow: "brokers join and leave under load; every crash is a bug", later: "several brokers" },
  { id: "B1", foundIn: "Bufstream 0.1.0 (Jepsen)", mustShow: "after faults heal, every client operation ends", simulated: "all" },
  {
    id: "B2",
    foundIn: "Bufstream 0.1.0",
    mustShow: 'ListOffsets and OffsetFetch never answer 0 for "don\'t know"',
    simulated: "all, groups, consumers",
  },
  {
    id: "B3",
    foundIn: "Bufstream 0.1.0",
    mustShow: "upload x commit x trim interleavings with a slow store lose nothing",
    simulated: "store, laps, mixed",
  },
  {
    id: "K1",
    foundIn: "Kafka's protocol (Jepsen)",
    mustShow: "a delayed EndTxn ends no later transaction",
    simulated: "transactions, crowded (producers of generation 2)",
  },
  {
    id: "N1",
    foundIn: "NATS 2.12 (Jepsen)",
    mustShow: "a power cut drops every unflushed write; nothing acknowledged is lost",
    simulated: "crashes, laps, device",
  },
  { id: "M1", foundIn: "AutoMQ #1718 #2681", mustShow: "acks only for the contiguous durable prefix", simulated: "device, laps" },
  { id: "M2", foundIn: "AutoMQ #3033", mustShow: "slow store, offsets strictly rise", simulated: "store, laps" },
  { id: "M3", foundIn: "AutoMQ #2040", mustShow: "a committed end never moves back", simulated: "all (the bucket's audit)" },
  {
    id: "M4",
    foundIn: "AutoMQ #369 #437 #509 #584 #1865",
    mustShow: "producer state travels with the partition",
    later: "moves between brokers",
  },
  { id: "N2", foundIn: "NATS", mustShow: "flipped bits are detected, named, never spread", simulated: "all (reads of device and objects)" },
  {
    id: "N3",
    foundIn: "NATS",
    mustShow: "no delete without a committed decision; unreadable is not absent",
    simulated: "restarts (objects of a living writer), all (the bucket's audit)",
  },
  { id: "M5", foundIn: "AutoMQ #3336", mustShow: "offsets beyond 2^31 and 2^32" },
  { id: "M6", foundIn: "AutoMQ #2653 #2654", mustShow: "images are immutable" },
  { id: "M7", foundIn: "AutoMQ #3063 #3057 #3059", mustShow: "trim x read agree with a model" },
  {
    id: "M8",
    foundIn: "AutoMQ #3378 #3370 #1357",
    mustShow: "snapshot + log = same image, by hash, always on",
    simulated: "all (the bucket's audit, from two snapshots)",
  },
  {
    id: "M9",
    foundIn: "AutoMQ-for-RocketMQ #682",
    mustShow: "a WAL of another cluster, broker or epoch is refused",
    shownBy: "test/unit/storage/wal/open-wal.test.ts",
  },
  { id: "S1", foundIn: "SlateDB #124", mustShow: "clock jumps of an hour either way delete nothing live", simulated: "mixed" },
  {
    id: "M10",
    foundIn: "AutoMQ #3177 #3198 #3245",
    mustShow: "503 for minutes, also during recovery: waits, reports, comes up",
    simulated: "store, mixed",
  },
  {
    id: "M11",
    foundIn: "AutoMQ #201 #354 #529 #1034",
    mustShow: "a fixed memory budget derived from the cgroup",
    shownBy: "test/unit/config/memory-defaults.test.ts",
  },
  { id: "M12", foundIn: "AutoMQ #2938 #3085 #3028", mustShow: "leak counters at zero after each test run" },
  { id: "M13", foundIn: "AutoMQ #3470 #3485 #3508", mustShow: "no unbounded wait", simulated: "all (liveness)" },
  { id: "M14", foundIn: "AutoMQ #2057 #603", mustShow: "every multi-record change is chunked" },
  { id: "M15", foundIn: "AutoMQ #1446 #1686", mustShow: "heartbeats have their own lane", later: "several brokers" },
  { id: "M16", foundIn: "AutoMQ #3477 #2407", mustShow: "create and delete 10,000 topics" },
  { id: "M17", foundIn: "AutoMQ #2326", mustShow: "an idle hour writes about nothing" },
  {
    id: "M18",
    foundIn: "AutoMQ #1606 #1607",
    mustShow: "a group load reads to the log end as it was at open",
    simulated: "groups, consumers, rebalances",
  },
  { id: "M19", foundIn: "AutoMQ #1612", mustShow: "what is keyed by a broker goes with it", later: "several brokers" },
  { id: "M20", foundIn: "AutoMQ #3460 #3380", mustShow: "requests are held during a handover", later: "moves between brokers" },
  {
    id: "M21",
    foundIn: "AutoMQ #2660 #3392 #2692 #3310 #3416",
    mustShow: "two independent S3 servers in the tests",
    shownBy: "test/conformance/objectstore/s3-store.test.ts",
  },
  { id: "M22", foundIn: "AutoMQ #790 #3509", mustShow: "a drain has a hard deadline", simulated: "mixed, restarts" },
  { id: "M23", foundIn: "AutoMQ #2718 #2720 #3242", mustShow: "large offsets and DeleteRecords are fuzzed" },
];
