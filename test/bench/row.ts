/**
 * What a row of the benchmark is: runs of some participants in alternating order, the figures of each run, and what is compared. Bodies in `rows/`;
 * `report.ts` makes the table. A figure is a number with its unit at the end of its name ("megabytesPerSecond", "cpuSecondsPerGigabyte").
 */
import type { LoadProgram } from "./load-program.ts";
import type { BenchOptions } from "./options.ts";
import type { BenchServer, ServerName, WeirServer } from "./servers.ts";

/** A server, or the disk alone. */
export type Participant = ServerName | "device";

export interface Run {
  readonly row: string;
  readonly participant: Participant;
  /** Counted from 0; runs of one pair lie next to each other in time. */
  readonly pair: number;
  readonly figures: Readonly<Record<string, number>>;
  /** All that the load program and the measurement said. */
  readonly raw: Readonly<Record<string, unknown>>;
}

export interface Comparison {
  readonly figure: string;
  /** "ratio": weir / to; "difference": weir - to. */
  readonly kind: "ratio" | "difference";
  readonly to: Participant;
  /** What issue or product asks for; absent: shown without a target. */
  readonly target?: { readonly atLeast: number } | { readonly atMost: number };
  /** To be read beside the value: why the target may not be reachable here. */
  readonly note?: string;
}

/** A bound on a figure of Weir alone. */
export interface Bound {
  readonly figure: string;
  readonly atMost: number;
}

/** What the rows have to work with. Absent servers were switched off or cannot run here. */
export interface BenchContext {
  readonly options: BenchOptions;
  /** Data of the servers; on the file system that is measured. */
  readonly folder: string;
  readonly weir: WeirServer;
  readonly servers: readonly BenchServer[];
  /** Undefined without a JDK: rows that need it do not run. */
  readonly load: LoadProgram | undefined;
  progress(text: string): void;
  /** A topic name that was not used before. */
  newTopic(): string;
}

export interface Row {
  readonly id: string;
  readonly title: string;
  readonly needsLoadProgram: boolean;
  readonly figures: readonly string[];
  readonly comparisons: readonly Comparison[];
  readonly bounds?: readonly Bound[];
  /** Runs all pairs; each run is given to `record` when it is over. */
  measure(context: BenchContext, record: (run: Omit<Run, "row">) => void): Promise<void>;
}

/** Calls `run` for each item of each pair; every other pair goes backwards, so that no place in the order favours anyone. */
export async function alternate<Item>(
  pairs: number,
  items: readonly Item[],
  run: (item: Item, pair: number) => Promise<void>,
): Promise<void> {
  for (let pair = 0; pair < pairs; pair++) {
    for (const item of pair % 2 === 0 ? items : items.toReversed()) await run(item, pair);
  }
}

export function serversNamed(context: BenchContext, names: readonly ServerName[]): readonly BenchServer[] {
  return context.servers.filter(({ name }) => names.includes(name));
}

/** The load program, in rows that are not run without it. */
export function loadOf(context: BenchContext): LoadProgram {
  if (context.load === undefined) throw new Error("this row needs the load program");
  return context.load;
}
