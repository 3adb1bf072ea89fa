/**
 * The topics that subscriptions by pattern match (KIP-848, RE2's syntax). A pattern is resolved when its first member comes with it; all patterns of a group are
 * looked at again together when topics have come or gone, at most every ten seconds, and when they have not been looked at for
 * `group.consumer.regex.refresh.interval.ms`, so that one change makes one rebalance.
 */
import type { InvalidPattern } from "../../base/linear-pattern.ts";
import type { ConsumerGroup } from "./consumer-group.ts";
import type { GroupChange, Refusal, ResolvedPattern } from "./consumer-group-types.ts";
import type { PatternMatches } from "./pattern-matches.ts";

const REFRESH_AT_MOST_EVERY_MS = 10_000;

export interface PatternContext {
  /** Wall clock, ms. */
  readonly nowMs: number;
  readonly patternRefreshIntervalMs: number;
  /** Rises when topics come, go or grow. */
  readonly topicsVersion: number;
  readonly patterns: Pick<PatternMatches, "find" | "isReady">;
}

export interface PatternUpdate {
  readonly changes: readonly GroupChange[];
  /** What each pattern that is followed matches, after the changes. */
  readonly resolved: ReadonlyMap<string, ResolvedPattern>;
  /** A pattern matches other topics than before; a new one: any at all. */
  readonly haveTopicsChanged: boolean;
}

/** `counts`: the patterns that are followed, with the change of the member that asks. */
export function updatePatterns(
  group: ConsumerGroup,
  counts: ReadonlyMap<string, number>,
  context: PatternContext,
): PatternUpdate | Refusal {
  const known = group.patterns();
  if (counts.size === 0 && known.size === 0) return { changes: [], resolved: known, haveTopicsChanged: false };
  const changes: GroupChange[] = [];
  for (const pattern of known.keys()) if (!counts.has(pattern)) changes.push({ kind: "pattern", pattern, value: undefined });
  // What is not ready is looked at again with a later heartbeat.
  const isAllDue = isRefreshDue(group, context) && context.patterns.isReady(counts.keys());
  const resolved = new Map<string, ResolvedPattern>();
  let haveTopicsChanged = false;
  for (const pattern of counts.keys()) {
    const before = known.get(pattern);
    if (before !== undefined && !isAllDue) {
      resolved.set(pattern, before);
      continue;
    }
    const topics = context.patterns.find(pattern);
    if ("kind" in topics) return refuseInvalid(pattern, topics);
    const value = { topics, version: BigInt(context.topicsVersion), timestampMs: context.nowMs };
    resolved.set(pattern, value);
    changes.push({ kind: "pattern", pattern, value });
    if (!isSameList(before?.topics ?? [], topics)) haveTopicsChanged = true;
  }
  return { changes, resolved, haveTopicsChanged };
}

function isRefreshDue(group: ConsumerGroup, { nowMs, topicsVersion, patternRefreshIntervalMs }: PatternContext): boolean {
  let oldestVersion = Number.POSITIVE_INFINITY;
  let newestMs = 0;
  for (const { version, timestampMs } of group.patterns().values()) {
    oldestVersion = Math.min(oldestVersion, Number(version));
    newestMs = Math.max(newestMs, timestampMs);
  }
  // By a clock that was ahead: another broker's, or this one's before it was set back.
  const isFromAhead = nowMs < newestMs;
  if (nowMs <= newestMs + REFRESH_AT_MOST_EVERY_MS && !isFromAhead) return false;
  return oldestVersion < topicsVersion || nowMs > newestMs + patternRefreshIntervalMs;
}

function refuseInvalid(pattern: string, { reason }: InvalidPattern): Refusal {
  const message = `SubscribedTopicRegex \`${pattern}\` is not a valid regular expression: ${reason}.`;
  return { error: "invalid-regular-expression", message };
}

function isSameList(a: readonly string[], b: readonly string[]): boolean {
  return a === b || (a.length === b.length && a.every((element, index) => element === b[index]));
}
