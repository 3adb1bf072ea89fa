/** A broker over fakes with the coordinators of transactional id "x" and group "g", a crash of it, and a transaction with records' partition and offsets. */
import { expect } from "bun:test";
import type { Committer } from "../../../src/group/offsets/consumer-offset-checks.ts";
import type { EndRequest, InitRequest, ProducerIdentity } from "../../../src/transaction/transaction-types.ts";
import { ApiHarness, loseVolatile } from "./api-harness.ts";
import { settle } from "./manual-clock.ts";

const SETTINGS = { "transaction.state.log.num.partitions": "1", "offsets.topic.num.partitions": "1" };

export function start(storage?: ApiHarness["storage"], metadata?: ApiHarness["metadata"]): ApiHarness {
  const h = new ApiHarness(SETTINGS, storage, metadata);
  h.metadata.features.set("transaction.version", 2);
  return h;
}

export async function rounds(count: number): Promise<void> {
  for (let round = 0; round < count; round++) await settle();
}

/** The same storage under a new process: what was not durable is gone. `prepare` sees it before its coordinators load. */
export async function crash(h: ApiHarness, prepare: (next: ApiHarness) => void = () => {}): Promise<ApiHarness> {
  h.services.groups.close();
  h.services.transactions.close();
  // Closing takes the streams away.
  const streams = [...h.storage.streams];
  h.partitions.close();
  loseVolatile(h, streams);
  const next = start(h.storage, h.metadata);
  prepare(next);
  next.services.groups.loadOwned();
  next.services.transactions.loadOwned();
  await rounds(50);
  return next;
}

/** Whoever asks for the id without a name of its own. */
export const TAKE_OVER: InitRequest = {
  transactionalId: "x",
  timeoutMs: 60_000,
  expected: undefined,
  enableTwoPhaseCommit: false,
  keepPreparedTransaction: false,
};

export async function init(h: ApiHarness): Promise<ProducerIdentity> {
  await h.services.transactions.findCoordinator("x");
  await h.services.groups.findCoordinator("g");
  const who = await h.services.transactions.initProducerId(TAKE_OVER);
  if (typeof who === "string") throw new Error(who);
  return who;
}

export function topicIdOf(h: ApiHarness): string {
  return (h.metadata.topics.get("t") ?? h.metadata.addTopic("t", 1)).topicId;
}

/** A partition of "t" and offsets of group "g" go into the producer's transaction. */
export async function join(h: ApiHarness, who: ProducerIdentity, offset = 42n): Promise<void> {
  const topicId = topicIdOf(h);
  const [code] = await h.services.gate.verify({
    transactionalId: "x",
    ...who,
    partitions: [{ topicName: "t", topicId, partition: 0 }],
    mode: "add",
  });
  expect(code).toBe(0);
  await addOffset(h, who, offset);
}

const NO_MEMBER: Committer = { memberId: "", groupInstanceId: undefined, generation: -1 };

/** An offset of group "g" alone goes into the producer's transaction. */
export async function addOffset(h: ApiHarness, who: ProducerIdentity, offset: bigint, committer = NO_MEMBER): Promise<void> {
  const topicId = topicIdOf(h);
  const committed = await h.services.groups.commitTransactional({
    groupId: "g",
    ...committer,
    transactionalId: "x",
    ...who,
    addsPartition: true,
    isVerified: true,
    isNewClient: true,
    offsets: [{ topic: "t", topicId, partition: 0, offset, leaderEpoch: -1, metadata: "" }],
  });
  expect(committed).toEqual([undefined]);
}

export async function begin(h: ApiHarness): Promise<{ who: ProducerIdentity; topicId: string }> {
  const topicId = topicIdOf(h);
  const who = await init(h);
  await join(h, who);
  return { who, topicId };
}

export function end(h: ApiHarness, who: ProducerIdentity, isCommit: boolean, transactionVersion: EndRequest["transactionVersion"] = 2) {
  return h.services.transactions.end({ transactionalId: "x", ...who, isCommit, transactionVersion });
}

/** The committed offset of group "g"; undefined when it has none. */
export async function offsetOf(h: ApiHarness, requireStable: boolean) {
  const found = await h.services.groups.fetch("g", [{ topic: "t", topicId: topicIdOf(h), partitions: [0] }], requireStable);
  if (typeof found === "string") return found;
  const at = found[0]?.partitions[0];
  return at?.isUnstable === true ? "unstable" : at?.committed?.offset;
}

export async function describeState(h: ApiHarness): Promise<string> {
  const found = await h.services.transactions.describe("x");
  return typeof found === "string" ? found : found.state;
}
