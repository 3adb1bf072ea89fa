/**
 * The newest clients as groups on dist/weir, over TCP: a row for each client, protocol and scenario; judged by groups-checker.ts. Exits with 1 when any row fails.
 *
 *   bun test/conformance/groups-matrix.ts [--client NAME] [--protocol NAME] [--scenario NAME] [--short]
 *
 * "rebalances" are generations of a classic group and epochs of a consumer group, as weir_group_rebalances_total counts them; "duplicates" are records
 * processed again; "moves", the times that a member began in a partition.
 */
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
  const row = (scenario: string, run: () => Promise<ScenarioResult>): Row => {
    return {
      client: kind.client,
      protocol: kind.name.endsWith("cooperative") ? "classic, cooperative" : kind.protocol,
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
    ...(kind.supportsMany
      ? [
          row("members-200", () => (isShort ? manyMembers(kind, 20, 2) : manyMembers(kind))),
          row("groups-1000", () => (isShort ? manyGroups(kind, 50, 2) : manyGroups(kind))),
        ]
      : []),
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

async function runRow(row: Row, versions: ReadonlyMap<string, string>): Promise<boolean> {
  const started = performance.now();
  const version = [...new Set(row.kinds.map(({ client }) => client))].map((client) => versions.get(client) ?? "?").join("; ");
  const names = [row.client, version, row.protocol, row.scenario];
  try {
    const { members, rebalances, records, reprocessed, moves, problems } = await row.run();
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const verdict = problems.length === 0 ? "ok" : "FAILED";
    console.log(`| ${[...names, members, rebalances, records, reprocessed, moves, seconds, verdict].join(" | ")} |`);
    for (const problem of problems) console.log(`  ${problem}`);
    return problems.length === 0;
  } catch (error) {
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`| ${[...names, "", "", "", "", "", seconds, "FAILED"].join(" | ")} |`);
    console.log(error);
    return false;
  }
}

export interface MatrixOptions {
  readonly client?: string;
  readonly protocol?: string;
  readonly scenario?: string;
  readonly short: boolean;
}

/** Answers how many rows failed. */
export async function runMatrix({ client, protocol, scenario, short }: MatrixOptions): Promise<number> {
  const kinds = [
    java,
    javaCooperative,
    javaConsumer,
    librdkafka,
    librdkafkaCooperative,
    librdkafkaConsumer,
    franz,
    franzConsumer,
    ...others,
  ];
  const all = [...kinds.flatMap((kind) => scenariosOf(kind, short)), ...mixedRows(short)];
  const isWanted = (wanted: string | undefined, found: string): boolean => wanted === undefined || wanted === found;
  const rowIsWanted = (row: Row) => isWanted(client, row.client) && isWanted(protocol, row.protocol) && isWanted(scenario, row.scenario);
  const rows = all.filter(rowIsWanted);
  if (rows.length === 0) throw new Error("no such row");
  const usable = rows.filter((row) => row.kinds.every(({ missing }) => missing === undefined));
  const versions = new Map<string, string>();
  for (const kind of new Set(usable.flatMap((row) => row.kinds))) {
    if (!versions.has(kind.client)) versions.set(kind.client, await readVersion(kind));
  }
  console.log(`| ${HEAD.join(" | ")} |\n|${HEAD.map(() => "---").join("|")}|`);
  let failed = 0;
  for (const row of usable) if (!(await runRow(row, versions))) failed += 1;
  const skipped = rows.length - usable.length;
  console.log(`${usable.length} rows, ${failed} failed, ${skipped} skipped for want of their clients`);
  return failed;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      client: { type: "string" },
      protocol: { type: "string" },
      scenario: { type: "string" },
      short: { type: "boolean", default: false },
    },
  });
  process.exit((await runMatrix(values)) === 0 ? 0 : 1);
}
