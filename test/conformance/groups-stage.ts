/**
 * One group on dist/weir and its members, who come and go as a scenario tells, while records keep coming. In the end the checker says what became of
 * each record.
 */
import { listGroupsApi, newListGroupsRequest } from "../../src/protocol/messages/list-groups.ts";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, listOffset, produceValues } from "../support/raw-client.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { WeirProcess } from "../support/weir-process.ts";
import { type GroupVerdict, judgeGroup } from "./groups-checker.ts";
import { type MemberEvent, type MemberKind, MemberProcess } from "./groups-members.ts";

const TOPIC = "churn";
const GROUP = "g";
const DEADLINE_MS = 90_000;
export const SHORT_SESSION_MS = 6000;
/** Where nobody's session is meant to end: longer than a client takes to start on a busy machine. */
export const LONG_SESSION_MS = 60_000;

/** A group is ready soon, and members of the consumer protocol, whose times are the broker's, are told of changes within a second. */
export function groupSettings(sessionMs: number, heartbeatMs = 1000): Readonly<Record<string, string>> {
  return {
    "group.initial.rebalance.delay.ms": "500",
    "group.consumer.min.heartbeat.interval.ms": String(heartbeatMs),
    "group.consumer.heartbeat.interval.ms": String(heartbeatMs),
    "group.consumer.min.session.timeout.ms": String(Math.min(sessionMs, 45_000)),
    "group.consumer.session.timeout.ms": String(sessionMs),
  };
}

export interface StageOptions {
  readonly sessionMs?: number;
  readonly partitions?: number;
}

export interface StartOptions {
  /** Makes it a static member. */
  readonly instanceId?: string;
  /** How many members the process is; 1. */
  readonly members?: number;
}

export class GroupStage implements AsyncDisposable {
  readonly partitions: number;
  readonly events: MemberEvent[] = [];
  readonly processes: MemberProcess[] = [];
  readonly #folder: TemporaryFolder;
  readonly #sessionMs: number;
  weir: WeirProcess;
  #isProducing = true;
  readonly #producing: Promise<void>;
  #names = 0;
  #mostMembers = 0;
  /** Of the brokers that were killed: a counter begins anew with each process. */
  #rebalancesBefore = 0;
  #endOffsets: readonly number[] = [];
  readonly #processed: readonly Set<number>[];

  private constructor(options: Required<StageOptions>, folder: TemporaryFolder, weir: WeirProcess) {
    this.partitions = options.partitions;
    this.#sessionMs = options.sessionMs;
    this.#folder = folder;
    this.weir = weir;
    this.#processed = Array.from({ length: this.partitions }, () => new Set<number>());
    this.#producing = this.#produce();
  }

  static async open(given: StageOptions = {}): Promise<GroupStage> {
    const options = { sessionMs: SHORT_SESSION_MS, partitions: 6, ...given };
    const folder = new TemporaryFolder("groups");
    const weir = await WeirProcess.start({ folder: folder.path, settings: groupSettings(options.sessionMs) });
    using connection = await KafkaConnection.open(weir.kafkaPort);
    await createTopicRaw(connection, TOPIC, { partitions: options.partitions });
    return new GroupStage(options, folder, weir);
  }

  /** About 500 records a second, until `finish`, over whatever happens to the broker. */
  async #produce(): Promise<void> {
    let connection: KafkaConnection | undefined;
    for (let round = 0; this.#isProducing; round++) {
      const values = Array.from({ length: 10 }, (_, index) => `${round}-${index}`);
      const send = async (): Promise<void> => {
        connection ??= await KafkaConnection.open(this.weir.kafkaPort);
        await produceValues(connection, TOPIC, round % this.partitions, values);
      };
      await send().catch(() => {
        connection = undefined;
      });
      await Bun.sleep(20);
    }
    connection?.close();
  }

  /** `kind` must have been prepared. */
  start(kind: MemberKind, options: StartOptions = {}): MemberProcess {
    const { instanceId = "-", members = 1 } = options;
    const name = `member${++this.#names}`;
    const args = [this.weir.bootstrap, TOPIC, GROUP, instanceId, String(this.#sessionMs)];
    const sink = (event: MemberEvent): void => {
      this.events.push(event);
      if (event.kind === "R") this.#processed[event.partition]?.add(event.offset);
    };
    const started = new MemberProcess(kind, name, args, sink, { members, first: 0 });
    this.processes.push(started);
    const running = this.processes.filter((process) => process.isRunning);
    this.#mostMembers = Math.max(
      this.#mostMembers,
      running.map((process) => process.members.length).reduce((a, b) => a + b),
    );
    return started;
  }

  /** At the same time. */
  get mostMembers(): number {
    return this.#mostMembers;
  }

  /** Waits until each of these has processed records from now on, and so has every partition. */
  async working(processes: readonly MemberProcess[], what: string): Promise<void> {
    const idle = new Set(processes.flatMap((process) => process.members));
    const untouched = new Set(this.#processed.keys());
    let next = this.events.length;
    await this.until(what, () => {
      for (; next < this.events.length; next++) {
        const event = this.events[next] as MemberEvent;
        if (event.kind !== "R") continue;
        idle.delete(event.member);
        untouched.delete(event.partition);
      }
      return idle.size === 0 && untouched.size === 0;
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
    const members = this.processes.map((m) => `${m.name} ${m.isRunning ? "runs" : "ended"}: ${m.stderr.slice(-600)}`);
    const progress = this.#processed.map((seen, p) => `${p}: ${seen.size} of ${this.#endOffsets[p] ?? "?"}`);
    return `processed ${progress.join(", ")}\n${members.join("\n")}\n${this.weir.logTail()}`;
  }

  /** "classic" or "consumer", as ListGroups tells. */
  async readGroupType(): Promise<string | undefined> {
    using connection = await KafkaConnection.open(this.weir.kafkaPort);
    const listed = await connection.request(listGroupsApi, 5, newListGroupsRequest());
    return listed.groups.find(({ groupId }) => groupId === GROUP)?.groupType;
  }

  /** Begun since the stage was opened: generations of a classic group, epochs of a consumer group. */
  async readRebalances(): Promise<number> {
    return this.#rebalancesBefore + ((await this.weir.readMetric("weir_group_rebalances_total")) ?? Number.NaN);
  }

  async killBroker(): Promise<void> {
    const { kafkaPort, httpPort } = this.weir;
    this.#rebalancesBefore = await this.readRebalances();
    await this.weir.kill();
    const settings = groupSettings(this.#sessionMs);
    // Hundreds of clients that look for it leave it little of a small machine.
    this.weir = await WeirProcess.start({ folder: this.#folder.path, kafkaPort, httpPort, settings, readyTimeoutMs: DEADLINE_MS });
  }

  /** No more records; waits until all are processed, lets everybody leave, and judges. */
  async finish(): Promise<GroupVerdict> {
    this.#isProducing = false;
    await this.#producing;
    using connection = await KafkaConnection.open(this.weir.kafkaPort);
    const endOffsets: number[] = [];
    for (let p = 0; p < this.partitions; p++) endOffsets.push(Number((await listOffset(connection, TOPIC, p, -1n)).offset));
    this.#endOffsets = endOffsets;
    await this.until("all records processed", () => endOffsets.every((end, p) => (this.#processed[p]?.size ?? 0) >= end));
    await Promise.all(this.processes.filter((process) => process.isRunning).map((process) => process.leave()));
    return judgeGroup(this.events, endOffsets);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isProducing = false;
    await Promise.all(this.processes.map((process) => process.kill()));
    await this.#producing;
    await this.weir.kill();
    this.#folder[Symbol.dispose]();
  }
}
