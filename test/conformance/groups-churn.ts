/**
 * A group under everything that happens to groups: members join, leave, are killed and restarted one after the other, the broker is killed with -9 and
 * comes back, while records keep coming. In the end the checker says what became of each record.
 */
import { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, listOffset, produceValues } from "../support/raw-client.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { WeirProcess } from "../support/weir-process.ts";
import { type GroupVerdict, judgeGroup } from "./groups-checker.ts";
import { type MemberEvent, type MemberKind, MemberProcess } from "./groups-members.ts";

export const PARTITIONS = 6;
const TOPIC = "churn";
const SESSION_MS = 6000;
/** Where nobody's session is meant to end: longer than a client takes to start on a busy machine. */
const LONG_SESSION_MS = 120_000;
const SETTINGS = { "group.initial.rebalance.delay.ms": "500" };
const DEADLINE_MS = 90_000;

export class GroupStage implements AsyncDisposable {
  readonly events: MemberEvent[] = [];
  readonly members: MemberProcess[] = [];
  readonly #kind: MemberKind;
  readonly #folder: TemporaryFolder;
  readonly #sessionMs: number;
  weir: WeirProcess;
  #isProducing = true;
  readonly #producing: Promise<void>;
  #names = 0;
  #endOffsets: readonly number[] = [];
  readonly #processed = Array.from({ length: PARTITIONS }, () => new Set<number>());

  private constructor(kind: MemberKind, sessionMs: number, folder: TemporaryFolder, weir: WeirProcess) {
    this.#kind = kind;
    this.#sessionMs = sessionMs;
    this.#folder = folder;
    this.weir = weir;
    this.#producing = this.#produce();
  }

  static async open(kind: MemberKind, sessionMs = SESSION_MS): Promise<GroupStage> {
    await kind.prepare();
    const folder = new TemporaryFolder("groups");
    const weir = await WeirProcess.start({ folder: folder.path, settings: SETTINGS });
    using connection = await KafkaConnection.open(weir.kafkaPort);
    await createTopicRaw(connection, TOPIC, { partitions: PARTITIONS });
    return new GroupStage(kind, sessionMs, folder, weir);
  }

  /** About 500 records a second, until `finish`, over whatever happens to the broker. */
  async #produce(): Promise<void> {
    let connection: KafkaConnection | undefined;
    for (let round = 0; this.#isProducing; round++) {
      const values = Array.from({ length: 10 }, (_, index) => `${round}-${index}`);
      const send = async (): Promise<void> => {
        connection ??= await KafkaConnection.open(this.weir.kafkaPort);
        await produceValues(connection, TOPIC, round % PARTITIONS, values);
      };
      await send().catch(() => {
        connection = undefined;
      });
      await Bun.sleep(20);
    }
    connection?.close();
  }

  start(instanceId = "-"): MemberProcess {
    const name = `member${++this.#names}`;
    const args = [this.weir.bootstrap, TOPIC, "g", instanceId, String(this.#sessionMs)];
    const member = new MemberProcess(this.#kind, name, args, (event) => {
      this.events.push(event);
      if (event.kind === "R") this.#processed[event.partition]?.add(event.offset);
    });
    this.members.push(member);
    return member;
  }

  /** Waits until each of these has processed records from now on, and so has every partition. */
  async working(members: readonly MemberProcess[], what: string): Promise<void> {
    const since = this.events.length;
    await this.until(what, () => {
      const fresh = this.events.slice(since).filter((event) => event.kind === "R");
      const isBusy = members.every((member) => fresh.some((event) => event.member === member.name));
      return isBusy && new Set(fresh.map((event) => event.partition)).size === PARTITIONS;
    });
  }

  async until(what: string, isDone: () => boolean | Promise<boolean>): Promise<void> {
    const deadline = performance.now() + DEADLINE_MS;
    while (!(await isDone())) {
      if (performance.now() > deadline) throw new Error(`${what}: not after ${DEADLINE_MS} ms\n${this.describe()}`);
      await Bun.sleep(50);
    }
  }

  describe(): string {
    const members = this.members.map((m) => `${m.name} ${m.isRunning ? "runs" : "ended"}: ${m.stderr.slice(-600)}`);
    const progress = this.#processed.map((seen, p) => `${p}: ${seen.size} of ${this.#endOffsets[p] ?? "?"}`);
    return `processed ${progress.join(", ")}\n${members.join("\n")}\n${this.weir.logTail()}`;
  }

  async killBroker(): Promise<void> {
    const { kafkaPort, httpPort } = this.weir;
    await this.weir.kill();
    this.weir = await WeirProcess.start({
      folder: this.#folder.path,
      kafkaPort,
      httpPort,
      settings: SETTINGS,
    });
  }

  /** No more records; waits until all are processed, lets everybody leave, and judges. */
  async finish(): Promise<GroupVerdict> {
    this.#isProducing = false;
    await this.#producing;
    using connection = await KafkaConnection.open(this.weir.kafkaPort);
    const endOffsets: number[] = [];
    for (let p = 0; p < PARTITIONS; p++) endOffsets.push(Number((await listOffset(connection, TOPIC, p, -1n)).offset));
    this.#endOffsets = endOffsets;
    await this.until("all records processed", () => endOffsets.every((end, p) => (this.#processed[p]?.size ?? 0) >= end));
    await Promise.all(this.members.filter((member) => member.isRunning).map((member) => member.leave()));
    return judgeGroup(this.events, endOffsets);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isProducing = false;
    await Promise.all(this.members.map((member) => member.kill()));
    await this.#producing;
    await this.weir.kill();
    this.#folder[Symbol.dispose]();
  }
}

/** Joins, leaves, a killed member, a killed broker, a rolling restart. */
export async function churn(kind: MemberKind): Promise<GroupVerdict> {
  await using stage = await GroupStage.open(kind);
  let members = [stage.start(), stage.start()];
  await stage.working(members, "two members share the partitions");
  const third = stage.start();
  await stage.working([...members, third], "a third joins");
  await members.shift()?.leave();
  await stage.working([...members, third], "the first has left");
  await third.kill();
  await stage.working(members, "a killed member's partitions move");
  members.push(stage.start());
  await stage.working(members, "another takes its place");
  await stage.killBroker();
  await stage.working(members, "the broker was killed and came back");
  for (const member of members) {
    await member.leave();
    members = [...members.filter((other) => other !== member), stage.start()];
    await stage.working(members, "a rolling restart");
  }
  return await stage.finish();
}

/** Static members that restart within their session keep their partitions: no rebalance (KIP-345). */
export async function restartStatic(
  kind: MemberKind,
): Promise<{ readonly verdict: GroupVerdict; readonly rebalances: readonly [number, number] }> {
  await using stage = await GroupStage.open(kind, LONG_SESSION_MS);
  const members = [stage.start("one"), stage.start("two")];
  await stage.working(members, "two static members share the partitions");
  const before = (await stage.weir.readMetric("weir_group_rebalances_total")) ?? Number.NaN;
  await members[0]?.kill();
  const back = stage.start("one");
  await stage.working([back, members[1] as MemberProcess], "a static member came back");
  const after = (await stage.weir.readMetric("weir_group_rebalances_total")) ?? Number.NaN;
  return { verdict: await stage.finish(), rebalances: [before, after] };
}
