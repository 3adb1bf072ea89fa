/**
 * Which topics patterns match, for all groups of a coordinator: found once for each pattern, and brought up to date with the topics that came and went since. With
 * many topics and patterns that takes long, so it is done in stretches, others are served in between, and who has not asked before waits for it.
 *
 * Invariant: what `find` answers is what all topics of now, matched anew, would give, in order.
 *
 * Neighbours: `topic-watch.ts` (the topics), `pattern-topics.ts` (what a group makes of it), `base/linear-pattern.ts` (the engine).
 */
import type { Clock } from "../../base/clock.ts";
import { compilePattern, type InvalidPattern, type LinearPattern } from "../../base/linear-pattern.ts";
import { inStretches } from "../../coordinator/in-stretches.ts";
import type { TopicWatch } from "./topic-watch.ts";

/** Names that are looked at between two looks at the clock. */
const PIECE = 200;
/** So many names are matched without a pause: a millisecond or two. */
const MOST_AT_ONCE = 2_000;
const MOST_PATTERNS = 1_000;

/** Names in order, as they were when the watch was at `position`. */
interface Names {
  names: readonly string[];
  position: number;
}

interface Entry {
  readonly pattern: LinearPattern;
  matched: Names | undefined;
  /** While it is in the queue. */
  waiting: PromiseWithResolvers<void> | undefined;
}

export class PatternMatches {
  readonly #clock: Clock;
  readonly #watch: TopicWatch;
  /** The one that was asked for last comes last. */
  readonly #entries = new Map<string, Entry>();
  /** To be found out in stretches; the first is under way. */
  readonly #queue: Entry[] = [];
  #all: Names | undefined;

  constructor(clock: Clock, watch: TopicWatch) {
    this.#clock = clock;
    this.#watch = watch;
  }

  /** The topics of now. Takes as long as it takes: `prepare` before keeps that short. */
  find(pattern: string): readonly string[] | InvalidPattern {
    const entry = this.#entryOf(pattern);
    if ("kind" in entry) return entry;
    const work = this.#bringUp(entry);
    while (work.next().done !== true);
    return entry.matched?.names ?? [];
  }

  /** False: `find` would take long, and it is prepared from now on, one pattern after the other. */
  isReady(patterns: Iterable<string>): boolean {
    const unready = this.#listUnready(patterns);
    for (const pattern of unready) void this.#enqueue(pattern, false);
    return unready.length === 0;
  }

  /** Before what nobody waits for. Undefined: there is nothing to wait for. */
  prepare(pattern: string): Promise<void> | undefined {
    return this.#listUnready([pattern]).length === 0 ? undefined : this.#enqueue(pattern, true);
  }

  /** None when all of them together are a matter of a few names. */
  #listUnready(patterns: Iterable<string>): string[] {
    const unready: string[] = [];
    let names = 0;
    for (const pattern of patterns) {
      const missing = this.#countMissing(pattern);
      names += missing;
      if (missing > 0) unready.push(pattern);
    }
    return names <= MOST_AT_ONCE ? [] : unready;
  }

  #enqueue(pattern: string, isAwaited: boolean): Promise<void> {
    const entry = this.#entryOf(pattern);
    if ("kind" in entry) return Promise.resolve();
    const at = this.#queue.indexOf(entry);
    entry.waiting ??= Promise.withResolvers();
    if (at < 0) this.#queue.push(entry);
    if (this.#queue.length === 1 && at < 0) void this.#work();
    if (isAwaited && this.#queue[0] !== entry) {
      this.#queue.splice(this.#queue.indexOf(entry), 1);
      this.#queue.splice(1, 0, entry);
    }
    return entry.waiting.promise;
  }

  async #work(): Promise<void> {
    const pause = (): void => {};
    for (let entry = this.#queue[0]; entry !== undefined; entry = this.#queue[0]) {
      await inStretches(this.#clock, this.#bringUp(entry), pause, () => false);
      this.#queue.shift();
      entry.waiting?.resolve();
      entry.waiting = undefined;
    }
  }

  #entryOf(pattern: string): Entry | InvalidPattern {
    const known = this.#entries.get(pattern);
    if (known !== undefined) {
      this.#entries.delete(pattern);
      this.#entries.set(pattern, known);
      return known;
    }
    const compiled = compilePattern(pattern);
    if (compiled.kind === "invalid-pattern") return compiled;
    const entry: Entry = { pattern: compiled, matched: undefined, waiting: undefined };
    this.#entries.set(pattern, entry);
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > MOST_PATTERNS && oldest !== undefined) this.#entries.delete(oldest);
    return entry;
  }

  /** Names that have to be looked at. */
  #countMissing(pattern: string): number {
    const matched = this.#entries.get(pattern)?.matched;
    const changes = matched === undefined ? undefined : this.#watch.position - matched.position;
    return Math.min(changes ?? Number.POSITIVE_INFINITY, this.#watch.topicCount);
  }

  // --- the work, in pieces ---

  *#bringUp(entry: Entry): Generator<void> {
    const matches = (name: string): boolean => entry.pattern.matches(name);
    for (;;) {
      const { position } = this.#watch;
      const names = entry.matched === undefined ? undefined : yield* this.#update(entry.matched, matches);
      if (names !== undefined) {
        entry.matched = newest(entry.matched, { names, position });
        return;
      }
      const all = yield* this.#bringUpAll();
      entry.matched = newest(entry.matched, { names: yield* filterInPieces(all.names, matches), position: all.position });
    }
  }

  *#bringUpAll(): Generator<void, Names> {
    const { position } = this.#watch;
    const updated = this.#all === undefined ? undefined : yield* this.#update(this.#all, () => true);
    const names = updated ?? (yield* sortInPieces(this.#watch.names()));
    this.#all = newest(this.#all, { names, position });
    return this.#all;
  }

  /** Undefined: too much has changed. The same names when none has come or gone among them. */
  *#update({ names, position }: Names, matches: (name: string) => boolean): Generator<void, readonly string[] | undefined> {
    const changes = this.#watch.changesSince(position);
    if (changes === undefined || changes.size === 0) return changes === undefined ? undefined : names;
    const come = yield* filterInPieces([...changes.keys()], (name) => changes.get(name) === true && matches(name));
    const changed = come.length > 0 || names.some((name) => changes.get(name) === false);
    if (!changed) return names;
    const kept = names.filter((name) => !changes.has(name));
    return merge(kept, come.sort());
  }
}

function newest(a: Names | undefined, b: Names): Names {
  return a !== undefined && a.position > b.position ? a : b;
}

function* filterInPieces(names: readonly string[], isTaken: (name: string) => boolean): Generator<void, string[]> {
  const taken: string[] = [];
  for (let index = 0; index < names.length; index++) {
    const name = names[index] as string;
    if (isTaken(name)) taken.push(name);
    if (index % PIECE === PIECE - 1) yield;
  }
  return taken;
}

/** Sorts as Array.prototype.sort does. The last merge is the longest piece: some milliseconds for 100,000 names. */
function* sortInPieces(names: string[]): Generator<void, string[]> {
  let runs: string[][] = [];
  for (let start = 0; start < names.length; start += PIECE) {
    runs.push(names.slice(start, start + PIECE).sort());
    yield;
  }
  while (runs.length > 1) {
    const merged: string[][] = [];
    for (let index = 0; index < runs.length; index += 2) {
      merged.push(merge(runs[index] ?? [], runs[index + 1] ?? []));
      yield;
    }
    runs = merged;
  }
  return runs[0] ?? [];
}

function merge(a: readonly string[], b: readonly string[]): string[] {
  if (b.length === 0) return [...a];
  const merged: string[] = [];
  let next = 0;
  for (const name of a) {
    while (next < b.length && (b[next] as string) < name) merged.push(b[next++] as string);
    merged.push(name);
  }
  while (next < b.length) merged.push(b[next++] as string);
  return merged;
}
