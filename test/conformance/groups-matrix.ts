/**
 * The newest clients as groups on dist/weir, over TCP: a row for each client, protocol and scenario; judged by groups-checker.ts. Exits with 1 when any row fails.
 *
 *   bun test/conformance/groups-matrix.ts [--client NAME] [--protocol NAME] [--scenario NAME] [--short] [--state FILE [--seconds N]]
 *
 * With --state, rows that FILE has are not run again, and after N seconds no other row begins: a long run can be made of short ones.
 *
 * "rebalances" are generations of a classic group and epochs of a consumer group, as weir_group_rebalances_total counts them; "duplicates" are records
 * processed again; "moves", the times that a member began in a partition.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { churn, killBrokers, manyMembers, migrate, restartRolling, restartStatic, type ScenarioResult } from "./groups-churn.ts";
import { consumerKinds, franzWithRange, type MemberKind, memberKinds, readVersion } from "./groups-members.ts";
import { manyGroups } from "./groups-thousand.ts";

interface Row {
  readonly client: string;
  readonly protocol: string;
  readonly scenario: string;
  readonly kinds: readonly MemberKind[];
  run(): Promise<ScenarioResult>;
}

function kindNamed(name: string): MemberKind {
  const kind = [...memberKinds, ...consumerKinds, franzWithRange].find((each) => each.name === name);
  if (kind === undefined) throw new Error(`no kind of member is named ${name}`);
  return kind;
}

const [java, javaCooperative, librdkafka, librdkafkaCooperative, franz] = [
  "java",
  "java cooperative",
  "confluent-kafka",
  "confluent-kafka cooperative",
  "franz-go",
].map(kindNamed) as [MemberKind, MemberKind, MemberKind, MemberKind, MemberKind];
const [javaConsumer, librdkafkaConsumer, franzConsumer] = consumerKinds as [MemberKind, MemberKind, MemberKind];
const others = ["sarama", "kafka-python", "kafkajs"].map(kindNamed);

function scenariosOf(kind: MemberKind, isShort: boolean): readonly Row[] {
  const cooperative = kind.name.endsWith("cooperative");
  const row = (scenario: string, run: () => Promise<ScenarioResult>): Row => {
    return {
      client: kind.client,
      protocol: cooperative ? "classic, cooperative" : kind.protocol,
      scenario,
      kinds: [kind],
      run,
    };
  };
  return [
    row("rolling", () => restartRolling(kind, isShort ? 2 : 4)),
    ...(kind.supportsStatic ? [row("static", () => restartStatic(kind, isShort ? 2 : 3))] : []),
    row("kill9", () => killBrokers(kind, isShort ? 1 : 5)),
    row("churn", () => churn(kind)),
    ...(others.includes(kind) ? [] : [row("members-200", () => (isShort ? manyMembers(kind, 20, 2) : manyMembers(kind)))]),
    // Who is alone in its group has no use for an assignor.
    ...(others.includes(kind) || cooperative ? [] : [row("groups-1000", () => (isShort ? manyGroups(kind, 50, 2) : manyGroups(kind)))]),
  ];
}

function mixed(name: string, members: readonly (readonly [MemberKind, MemberKind, MemberKind])[]): Row {
  const kinds = members.map(([before, upgraded, after]) => ({ before, upgraded, after }));
  return { client: name, protocol: "classic, consumer", scenario: "mixed", kinds: [...new Set(members.flat())], run: () => migrate(kinds) };
}

function mixedRows(isShort: boolean): readonly Row[] {
  const several = <Item>(item: Item): readonly Item[] => Array.from({ length: isShort ? 2 : 3 }, () => item);
  return [
    mixed("java", several([java, javaConsumer, javaCooperative])),
    mixed("librdkafka", several([librdkafka, librdkafkaConsumer, librdkafka])),
    mixed("franz-go", several([franz, franzConsumer, franz])),
    mixed("java, librdkafka, franz-go", [
      [java, librdkafkaConsumer, franzWithRange],
      [librdkafka, franzConsumer, java],
      [franzWithRange, javaConsumer, librdkafka],
    ]),
  ];
}

const HEAD = ["client", "version", "protocol", "scenario", "members", "rebalances", "records", "duplicates", "moves", "seconds", "verdict"];

interface Outcome {
  /** Of the table. */
  readonly line: string;
  readonly problems: readonly string[];
}

async function runRow(row: Row, versions: ReadonlyMap<string, string>): Promise<Outcome> {
  const started = performance.now();
  const version = [...new Set(row.kinds.map(({ client }) => client))].map((client) => versions.get(client) ?? "?").join("; ");
  const conclude = (numbers: readonly (number | string)[], problems: readonly string[]): Outcome => {
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const cells = [row.client, version, row.protocol, row.scenario, ...numbers, seconds, problems.length === 0 ? "ok" : "FAILED"];
    return { line: `| ${cells.join(" | ")} |`, problems };
  };
  try {
    const { members, rebalances, records, reprocessed, moves, problems } = await row.run();
    return conclude([members, rebalances, records, reprocessed, moves], problems);
  } catch (error) {
    return conclude(["", "", "", "", ""], [error instanceof Error ? (error.stack ?? error.message) : String(error)]);
  }
}

function allRows(short: boolean): readonly Row[] {
  const withJava = [java, javaCooperative, javaConsumer];
  const kinds = [...withJava, librdkafka, librdkafkaCooperative, librdkafkaConsumer, franz, franzConsumer, ...others];
  return [...kinds.flatMap((kind) => scenariosOf(kind, short)), ...mixedRows(short)];
}

async function readVersions(rows: readonly Row[]): Promise<ReadonlyMap<string, string>> {
  const versions = new Map<string, string>();
  for (const kind of rows.flatMap((row) => row.kinds)) {
    if (!versions.has(kind.client)) versions.set(kind.client, await readVersion(kind));
  }
  return versions;
}

/** Outcomes by row, in a file that is written after each. */
class MatrixState {
  readonly #file: string | undefined;
  readonly #outcomes: Map<string, Outcome>;

  constructor(file: string | undefined) {
    this.#file = file;
    const text = file !== undefined && existsSync(file) ? readFileSync(file, "utf8") : "[]";
    this.#outcomes = new Map(JSON.parse(text) as [string, Outcome][]);
  }

  get({ client, protocol, scenario }: Row): Outcome | undefined {
    return this.#outcomes.get(`${client} ${protocol} ${scenario}`);
  }

  set({ client, protocol, scenario }: Row, outcome: Outcome): void {
    this.#outcomes.set(`${client} ${protocol} ${scenario}`, outcome);
    if (this.#file !== undefined) writeFileSync(this.#file, JSON.stringify([...this.#outcomes]));
  }
}

interface MatrixOptions {
  readonly client?: string;
  readonly protocol?: string;
  readonly scenario?: string;
  readonly short: boolean;
  readonly state?: string;
  readonly seconds?: string;
}

/** Whether all rows have been run, and none failed. */
async function runMatrix(options: MatrixOptions): Promise<boolean> {
  const isWanted = (name: "client" | "protocol" | "scenario", row: Row): boolean => (options[name] ?? row[name]) === row[name];
  const rows = allRows(options.short).filter((row) => isWanted("client", row) && isWanted("protocol", row) && isWanted("scenario", row));
  if (rows.length === 0) throw new Error("no such row");
  const usable = rows.filter((row) => row.kinds.every(({ missing }) => missing === undefined));
  const versions = await readVersions(usable);
  const state = new MatrixState(options.state);
  const deadline = performance.now() + Number(options.seconds ?? Number.POSITIVE_INFINITY) * 1000;
  console.log(`| ${HEAD.join(" | ")} |\n|${HEAD.map(() => "---").join("|")}|`);
  let [failed, left] = [0, 0];
  for (const row of usable) {
    if (state.get(row) === undefined && performance.now() < deadline) state.set(row, await runRow(row, versions));
    const outcome = state.get(row);
    if (outcome === undefined) {
      left += 1;
      continue;
    }
    console.log([outcome.line, ...outcome.problems.map((problem) => `  ${problem}`)].join("\n"));
    if (outcome.problems.length > 0) failed += 1;
  }
  const skipped = rows.length - usable.length;
  console.log(`${usable.length - left} rows, ${failed} failed, ${left} not run yet, ${skipped} skipped for want of their clients`);
  return failed === 0 && left === 0;
}

const text = { type: "string" } as const;
const { values } = parseArgs({
  options: {
    ...{ client: text, protocol: text, scenario: text, state: text, seconds: text },
    short: { type: "boolean", default: false },
  },
});
process.exit((await runMatrix(values)) ? 0 : 1);
