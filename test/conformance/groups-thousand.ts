/**
 * Many groups with one member each, by few processes: each reads a small topic and commits, leaves, and comes back for what was written meanwhile, from
 * where it was.
 */
import { listGroupsApi, newListGroupsRequest } from "../../src/protocol/messages/list-groups.ts";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, produceValues } from "../support/raw-client.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { WeirProcess } from "../support/weir-process.ts";
import { judgeGroup } from "./groups-checker.ts";
import type { ScenarioResult } from "./groups-churn.ts";
import { type MemberEvent, type MemberKind, MemberProcess } from "./groups-members.ts";
import { groupSettings, LONG_SESSION_MS } from "./groups-stage.ts";

const TOPIC = "small";
const PARTITIONS = 2;
const BATCH = 10;
/** Kafka's default: nobody here waits for another member. */
const HEARTBEAT_MS = 5000;
const DEADLINE_MS = 120_000;

interface Crowd {
  readonly kind: MemberKind;
  readonly groups: number;
  readonly processes: number;
  readonly weir: WeirProcess;
  /** By group. */
  readonly events: MemberEvent[][];
}

/** In the middle the broker is killed with -9. */
export async function manyGroups(kind: MemberKind, groups = 1000, processes = 4): Promise<ScenarioResult> {
  await kind.prepare();
  using folder = new TemporaryFolder("thousand");
  const options = { folder: folder.path, settings: groupSettings(LONG_SESSION_MS, HEARTBEAT_MS) };
  const events = Array.from({ length: groups }, (): MemberEvent[] => []);
  let weir = await WeirProcess.start(options);
  try {
    using connection = await KafkaConnection.open(weir.kafkaPort);
    await createTopicRaw(connection, TOPIC, { partitions: PARTITIONS });
    await write(weir);
    await readToEnd({ kind, groups, processes, weir, events }, BATCH, "before");
    const rebalances = (await weir.readMetric("weir_group_rebalances_total")) ?? Number.NaN;
    await weir.kill();
    weir = await WeirProcess.start({ ...options, kafkaPort: weir.kafkaPort, httpPort: weir.httpPort });
    await write(weir);
    await readToEnd({ kind, groups, processes, weir, events }, 2 * BATCH, "after");
    await mustBeOfType(weir, kind.protocol, groups);
    const more = (await weir.readMetric("weir_group_rebalances_total")) ?? Number.NaN;
    return { ...judgeAll(events), members: groups, rebalances: rebalances + more };
  } finally {
    await weir.kill();
  }
}

/** A client may fall back to the classic protocol and not say so. */
async function mustBeOfType(weir: WeirProcess, type: string, groups: number): Promise<void> {
  using connection = await KafkaConnection.open(weir.kafkaPort);
  const listed = await connection.request(listGroupsApi, 5, newListGroupsRequest({ typesFilter: [type] }));
  if (listed.groups.length !== groups) throw new Error(`${listed.groups.length} of ${groups} groups are of type ${type}`);
}

async function write(weir: WeirProcess): Promise<void> {
  using connection = await KafkaConnection.open(weir.kafkaPort);
  const values = Array.from({ length: BATCH }, (_, index) => `value ${index}`);
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const { errorCode } = await produceValues(connection, TOPIC, partition, values);
    if (errorCode !== 0) throw new Error(`produce answered ${errorCode}`);
  }
}

/** All groups at once; each has committed up to `end` in every partition before its process leaves. */
async function readToEnd({ kind, groups, processes, weir, events }: Crowd, end: number, name: string): Promise<void> {
  const each = groups / processes;
  const waiting = new Set(Array.from({ length: groups * PARTITIONS }, (_, index) => index));
  const take = (event: MemberEvent): void => {
    events[event.number]?.push(event);
    if (event.kind === "C" && event.offset === end) waiting.delete(event.number * PARTITIONS + event.partition);
  };
  const args = [weir.bootstrap, TOPIC, "g", "-", String(LONG_SESSION_MS), "groups=each"];
  const crowd = Array.from({ length: processes }, (_, index) => {
    return new MemberProcess(kind, `${name}${index}`, args, take, { members: each, first: index * each });
  });
  try {
    const deadline = performance.now() + DEADLINE_MS;
    while (waiting.size > 0) {
      if (performance.now() > deadline || crowd.some((process) => !process.isRunning)) {
        const said = crowd.map((process) => process.stderr.slice(-600)).join("\n");
        throw new Error(`${waiting.size} of ${groups * PARTITIONS} partitions are not read and committed\n${said}\n${weir.logTail()}`);
      }
      await Bun.sleep(50);
    }
    await Promise.all(crowd.map((process) => process.leave(DEADLINE_MS)));
    if (crowd.some((process) => process.child.signalCode === "SIGKILL"))
      throw new Error(`a process did not leave within ${DEADLINE_MS} ms`);
  } finally {
    await Promise.all(crowd.map((process) => process.kill()));
  }
}

function judgeAll(events: readonly (readonly MemberEvent[])[]): Omit<ScenarioResult, "members" | "rebalances"> {
  const ends = Array.from({ length: PARTITIONS }, () => 2 * BATCH);
  const verdicts = events.map((own) => judgeGroup(own, ends));
  const sum = (field: "records" | "reprocessed" | "moves") => verdicts.map((verdict) => verdict[field]).reduce((a, b) => a + b, 0);
  const problems = verdicts.flatMap((verdict, group) => verdict.problems.map((problem) => `group ${group}: ${problem}`));
  return { records: sum("records"), reprocessed: sum("reprocessed"), moves: sum("moves"), problems };
}
