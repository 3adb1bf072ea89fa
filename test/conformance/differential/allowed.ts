/**
 * Every way in which an answer of Weir may differ from Apache Kafka's, with the reason. What is not here is a divergence. A full run counts how often each
 * entry was needed and fails for one that never was, so that the list holds nothing but what is true.
 */
import type { Difference, Identities, Node } from "./compare.ts";

export interface Allowance {
  readonly id: string;
  readonly reason: string;
  /** API names; every API when absent. */
  readonly apis?: readonly string[];
  readonly path: RegExp;
  readonly permits: (difference: Difference, identities: Identities) => boolean;
}

/** Lists that show the whole server: only names of the sequence are compared. */
export const ownNameLists: ReadonlySet<string> = new Set(["Metadata.topics", "ListGroups.groups", "ListTransactions.transactionStates"]);
const ownNamesId = "lists-of-everything";

/** Around the run's clock: times that a server takes itself. */
const clockToleranceMs = 20 * 60_000;

function isNow(value: unknown): boolean {
  return Math.abs(Number(value) - Date.now()) < clockToleranceMs;
}

function withoutTimes(text: unknown): unknown {
  return typeof text === "string" ? text.replaceAll(/\b\d{13}\b/g, (digits) => (isNow(digits) ? "<now>" : digits)) : text;
}

/** A list of allowances that says which it is not about. */
const identity = (kind: string) => (difference: Difference, identities: Identities) =>
  isChosen(difference.weir) && isChosen(difference.kafka)
    ? identities.pair(kind, difference.weir, difference.kafka)
    : difference.weir === difference.kafka;

/** Ids that stand for "none" are not chosen by a server. */
function isChosen(value: unknown): boolean {
  return value !== null && value !== "" && value !== 0 && value !== -1 && value !== -1n && value !== "AAAAAAAAAAAAAAAAAAAAAA";
}

const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[A-Za-z0-9_-]{22}$/;

function innermost(owners: readonly Node[]): Node {
  return owners[0] ?? {};
}

export const allowed: readonly Allowance[] = [
  {
    id: "producer-id",
    reason: "producer ids are given out by each server from its own blocks; the same one stands for the same producer",
    path: /(?:^|\.)(?:producerId|ongoingTxnProducerId)$/,
    permits: identity("producer"),
  },
  {
    id: "topic-id",
    reason: "topic ids are random (KIP-516); the same one stands for the same topic",
    path: /(?:^|\.)topicId$/,
    permits: identity("topic"),
  },
  {
    id: "member-id",
    reason: "member ids end in a random UUID; what stands before it is compared, and the same one stands for the same member",
    path: /(?:^|\.)(?:memberId|leader)$/,
    permits: ({ weir, kafka }, identities) => {
      const before = (value: unknown) => String(value).replace(uuid, "");
      return before(weir) === before(kafka) && (weir === "" ? kafka === "" : identities.pair("member", weir, kafka));
    },
  },
  {
    id: "fetch-session-id",
    reason: "fetch session ids are random (KIP-227); the same one stands for the same session",
    apis: ["Fetch"],
    path: /^sessionId$/,
    permits: identity("session"),
  },
  {
    id: "cluster-id",
    reason: "two clusters, two ids",
    path: /^clusterId$/,
    permits: identity("cluster"),
  },
  {
    id: "endpoint",
    reason: "two servers, two ports",
    path: /(?:^|\.)port$/,
    permits: ({ weir, kafka }, identities) => identities.pair("port", weir, kafka),
  },
  {
    id: "append-time",
    reason: "a time that each server takes from its clock when it appends (LogAppendTime)",
    apis: ["Produce", "Fetch", "ListOffsets"],
    path: /(?:logAppendTimeMs|baseTimestamp|maxTimestamp|timestamp)$/,
    permits: ({ weir, kafka }) => isNow(weir) && isNow(kafka),
  },
  {
    id: "time-in-message",
    reason: "messages about timestamps name the bound, which moves with the server's clock",
    apis: ["Produce"],
    path: /(?:errorMessage|batchIndexErrorMessage)$/,
    permits: ({ weir, kafka }) => withoutTimes(weir) === withoutTimes(kafka),
  },
];

/** The list as one run uses it: looked up, and counted. */
export class Allowances {
  readonly counts = new Map<string, number>();
  #isCounting = true;

  #count(id: string): void {
    if (this.#isCounting) this.counts.set(id, (this.counts.get(id) ?? 0) + 1);
  }

  /** True for fields whose equal values must be looked at too, since they stand for identities. */
  isIdentity(path: string): boolean {
    return /(?:^|\.)(?:producerId|ongoingTxnProducerId|topicId|memberId)$|^sessionId$/.test(path);
  }

  permits(difference: Difference, identities: Identities): boolean {
    for (const allowance of allowed) {
      if (allowance.apis !== undefined && !allowance.apis.includes(difference.api)) continue;
      if (!allowance.path.test(difference.path) || !allowance.permits(difference, identities)) continue;
      if (difference.weir !== difference.kafka) this.#count(allowance.id);
      return true;
    }
    return false;
  }

  countOwnNames(): void {
    this.#count(ownNamesId);
  }

  /** Entries of the list that no difference has needed. */
  unused(): string[] {
    return [...allowed.map((one) => one.id), ownNamesId].filter((id) => !this.counts.has(id));
  }

  /** For replays, which say nothing about the run. */
  static uncounted(): Allowances {
    const allowances = new Allowances();
    allowances.#isCounting = false;
    return allowances;
  }
}

export { innermost };
