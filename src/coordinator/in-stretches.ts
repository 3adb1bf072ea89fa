/** Long walks through a shard's state in short turns, so that others are answered in between. */
import type { Clock } from "../base/clock.ts";

/** How long one turn of a walk, or of a load, lasts. */
export const STRETCH_MS = 5;

/**
 * Visits each item in order; between two visits anything else may run, and change what the items stand for. The first stretch is part of the caller's turn. Ends early when
 * `isOver` says so after a pause.
 */
export async function inStretches<Item>(
  clock: Clock,
  items: Iterable<Item>,
  visit: (item: Item) => void,
  isOver: () => boolean,
): Promise<void> {
  let startedMs = clock.monotonicMs();
  for (const item of items) {
    visit(item);
    if (clock.monotonicMs() - startedMs < STRETCH_MS) continue;
    await clock.sleep(0);
    if (isOver()) return;
    startedMs = clock.monotonicMs();
  }
}
