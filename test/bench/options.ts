/** What `npm run bench` takes, and its help. Throws UsageError with one line for what it does not take. */
import { parseArgs } from "node:util";
import type { StoreKind } from "./servers.ts";

export class UsageError extends Error {}

export interface BenchOptions {
  /** Ids of the rows to run, in this order; empty: all. */
  readonly rows: readonly string[];
  readonly pairs: number;
  /** Length of one measured run. */
  readonly seconds: number;
  /** Length of the mixed load before anything is measured. */
  readonly warmUpSeconds: number;
  /** Length of one idle run. */
  readonly idleSeconds: number;
  readonly kafka: "both" | "durable" | "none";
  readonly store: StoreKind;
  readonly data: "letters" | "random";
  /** Where data lies while it runs, and so the file system that is measured; undefined: the temporary folder. */
  readonly folder: string | undefined;
  /** Undefined: build/bench/<date>. */
  readonly out: string | undefined;
  /** Weight of servers and load program against the machine's other sessions. */
  readonly nice: number;
  readonly json: boolean;
  readonly list: boolean;
}

export const HELP = `npm run bench -- [OPTION...]      Weir beside Apache Kafka, in alternating pairs on one machine

  --rows A,B,...      the rows to measure (default: all); --list names them
  --pairs N           pairs a row, order swapped in each (default 5)
  --seconds S         length of one run (default 5)
  --warm-up S         mixed load on every server before the first row (default 60)
  --idle-seconds S    length of an idle run (default 60)
  --kafka WHICH       both, durable (log.flush.interval.messages=1) or none (default both)
  --store WHICH       Weir's object store: file or minio (default file)
  --data WHICH        what records hold: letters (zstd brings them to 0.61) or random (default letters)
  --folder DIR        where the servers' data lies while it runs, removed at the end (default: the temporary folder)
  --out DIR           where the raw runs and the table go (default build/bench/<date>)
  --nice=N            weight of all that it starts against the machine's other sessions, -20 to 19; below 0 needs root (default 0)
  --json              the summary as JSON on stdout instead of a table
  --list              the rows, and what each measures

TEST_WEIR_EXECUTABLE names another executable than dist/weir. Apache Kafka and its client come from test/support/kafka-peer/setup.sh, run once.
Figures of a machine that does other work at the same time are worth little; a run says how much there was (column "other cores").`;

/** Undefined when help was asked for. */
export function parseOptions(args: readonly string[]): BenchOptions | undefined {
  const { values } = (() => {
    try {
      return parseArgs({
        args: [...args],
        options: {
          rows: { type: "string", default: "" },
          pairs: { type: "string", default: "5" },
          seconds: { type: "string", default: "5" },
          "warm-up": { type: "string", default: "60" },
          "idle-seconds": { type: "string", default: "60" },
          kafka: { type: "string", default: "both" },
          store: { type: "string", default: "file" },
          data: { type: "string", default: "letters" },
          folder: { type: "string" },
          out: { type: "string" },
          nice: { type: "string", default: "0" },
          json: { type: "boolean", default: false },
          list: { type: "boolean", default: false },
          help: { type: "boolean", short: "h", default: false },
        },
      });
    } catch (error) {
      throw new UsageError(error instanceof Error ? error.message : String(error));
    }
  })();
  if (values.help) return undefined;
  return {
    rows: values.rows.split(",").filter((id) => id !== ""),
    pairs: numberOf("--pairs", values.pairs, 1, true),
    seconds: numberOf("--seconds", values.seconds, 0.1),
    warmUpSeconds: numberOf("--warm-up", values["warm-up"], 0),
    idleSeconds: numberOf("--idle-seconds", values["idle-seconds"], 0.1),
    kafka: oneOf("--kafka", values.kafka, ["both", "durable", "none"]),
    store: oneOf("--store", values.store, ["file", "minio"]),
    data: oneOf("--data", values.data, ["letters", "random"]),
    folder: values.folder,
    out: values.out,
    nice: numberOf("--nice", values.nice, -20, true),
    json: values.json,
    list: values.list,
  };
}

function numberOf(option: string, text: string, least: number, whole = false): number {
  const value = Number(text);
  if (text === "" || !Number.isFinite(value) || value < least || (whole && !Number.isInteger(value)))
    throw new UsageError(`${option} must be a${whole ? " whole" : ""} number of at least ${least}, not "${text}"`);
  return value;
}

function oneOf<const Choice extends string>(option: string, text: string, choices: readonly Choice[]): Choice {
  const choice = choices.find((each) => each === text);
  if (choice === undefined) throw new UsageError(`${option} must be ${choices.join(", ")}, not "${text}"`);
  return choice;
}
