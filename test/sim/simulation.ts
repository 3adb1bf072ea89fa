/**
 * One run of one seed: boots a broker, lets clients work while a nemesis breaks things, heals everything, and demands that each client's operations end and that
 * a reader of the whole log finds what was acknowledged.
 */
import { assert } from "../../src/base/assert.ts";
import { SeededRandom } from "../unit/support/seeded-random.ts";
import { BucketAudit } from "./bucket-audit.ts";
import { CALM, Faults, STORMY } from "./faults.ts";
import { type Finding, History, type LogModel } from "./history.ts";
import { Nemesis } from "./nemesis.ts";
import { Pace } from "./pace.ts";
import type { SimProcess } from "./process.ts";
import { checkRot } from "./rot-check.ts";
import { getScenario, type Scenario } from "./scenarios.ts";
import { Scheduler } from "./scheduler.ts";
import { SimAdmin } from "./sim-admin.ts";
import { ConnectionLost } from "./sim-client.ts";
import { type ClientPlace, createSimTopic, deleteSimTopic, insist, readEnd, SimConsumer, SimProducer } from "./sim-clients.ts";
import { SimCluster } from "./sim-cluster.ts";
import { SimConsumerGroups } from "./sim-consumer-group.ts";
import { fetchCommitted, GroupModel, SimGroupMember } from "./sim-group.ts";
import { SimNetwork } from "./sim-network.ts";
import { SimTransactions } from "./sim-transactions.ts";

export interface SimOptions {
  readonly seed: number;
  /** Virtual minutes under faults; default 2. */
  readonly minutes?: number | undefined;
  readonly scenario?: string | undefined;
  readonly wantsTrace?: boolean;
  /** False: a bug that ends a broker's process is a crash and no finding (mutation proof). Default true. */
  readonly crashesAreFindings?: boolean;
}

export interface SimResult {
  readonly seed: number;
  readonly scenario: string;
  readonly virtualMs: number;
  readonly operations: number;
  readonly operationsByKind: ReadonlyMap<string, number>;
  readonly faults: number;
  readonly load: Load;
  readonly strikes: ReadonlyMap<string, number>;
  readonly crashPoints: ReadonlyMap<string, number>;
  readonly traceHash: string;
  readonly findings: readonly Finding[];
  readonly recent: readonly string[];
  /** The closing line. */
  readonly line: string;
}

/** The time in which clients worked while things broke, without the start and what is checked after the faults have healed. */
export interface Load {
  readonly windowMs: number;
  /** Clients that work from the window's beginning to its end. Those that come and go are not among them, nor is what they do. */
  readonly clients: number;
  /** Answered operations of the client that had the fewest. */
  readonly leastOperations: number;
  readonly faults: number;
}

/** After the faults have healed, every operation must have ended by then. Repeats of a failing write or lost commit back off to a few seconds. */
const LIVENESS_BOUND_MS = 120_000;
const AUDIT_EVERY_MS = 7_000;
/** An audit reads all metadata, so a long run is audited as often as a short one, not as much more often as it is longer. */
const MAX_AUDITS = 20;
/** The longest that a request which its sender has given up may still be on its way to the bucket. */
const LATE_REQUEST_MS = 21_000;
/** After a start: the longest grace period of a scenario, and the sweep. */
const SWEEP_MS = 15_000;
/** Of 100 runs, so many end with a bit flipped on the volume. */
const ROT_PERCENT = 60;
const TOPICS = ["alpha", "beta"];
const PAIRED: ReadonlySet<string> = new Set(["producer", "consumer", "member"]);
/** From one operation to the next of clients that come and go with a topic of their own; they are not counted. */
const CHURN_PAUSE_MS = 200;
const LARGEST_CHURN_GAP_MS = 8_000;

export function runSimulation(options: SimOptions): SimResult {
  return new Simulation(options).run();
}

class Simulation {
  private readonly options: SimOptions;
  private readonly scenario: Scenario;
  private readonly scheduler: Scheduler;
  private readonly random: SeededRandom;
  private readonly faults: Faults;
  private readonly network: SimNetwork;
  private readonly history: History;
  private readonly cluster: SimCluster;
  private readonly nemesis: Nemesis;
  private readonly audit: BucketAudit;
  private readonly producers: SimProducer[] = [];
  private readonly consumers: SimConsumer[] = [];
  private readonly members: SimGroupMember[] = [];
  private readonly admins: SimAdmin[] = [];
  private readonly transactions: SimTransactions;
  private readonly consumerGroups: SimConsumerGroups;
  private group: GroupModel | undefined;
  private readonly unfinished = new Set<string>();
  private isOver = false;
  private auditsEnded = 0;
  private healedMs = 0;
  private clientCount = 0;
  /** Clients that stay. */
  private readonly paces: Pace[] = [];
  private readonly lastingPlaces = new Map<string, ClientPlace>();
  private load: Load = { windowMs: 0, clients: 0, leastOperations: 0, faults: 0 };

  constructor(options: SimOptions) {
    this.options = options;
    this.scenario = getScenario(options.scenario);
    this.scheduler = new Scheduler(options.seed, options.wantsTrace);
    this.random = new SeededRandom(options.seed ^ 0x5eed);
    this.faults = new Faults({ ...CALM });
    this.network = new SimNetwork(this.faults);
    this.history = new History(this.scheduler);
    const { scheduler, random, faults, network, history } = this;
    this.cluster = new SimCluster({
      scheduler,
      seed: random.nextInt(2 ** 31),
      faults,
      network,
      history,
      sizes: this.scenario.pickSizes(random),
      crashesAreFindings: options.crashesAreFindings ?? true,
    });
    this.nemesis = new Nemesis({ scheduler, random, faults, network, cluster: this.cluster, scenario: this.scenario, history });
    this.transactions = new SimTransactions({
      workers: this.scenario.transactionWorkers,
      random,
      history,
      lasting: (name) => this.lasting(name, 0),
      place: (name) => this.place(name),
      begin: (name, work) => this.begin(name, work),
    });
    this.consumerGroups = new SimConsumerGroups({
      subscribers: this.scenario.subscribers,
      mixedSubscribers: this.scenario.mixedSubscribers,
      isCooperative: options.seed % 2 === 1,
      haste: this.scenario.haste,
      history,
      lasting: (name) => this.lasting(name, 0),
      place: (name) => this.place(name),
      begin: (name, work) => this.begin(name, work),
      restart: () => this.cluster.current?.process.kill("takeover"),
    });
    const auditor = this.cluster.makeProcess("auditor", "auditor");
    // What an auditor finds is no client's finding.
    this.audit = new BucketAudit(this.cluster.bucket, auditor, (anomaly, detail) => {
      if (options.crashesAreFindings ?? true) history.find(anomaly, detail);
    });
  }

  /** Reads the bucket every few seconds, each time within one event. */
  private auditOften(): void {
    const everyMs = Math.max(AUDIT_EVERY_MS, (this.minutes * 60_000) / MAX_AUDITS);
    this.scheduler.post(undefined, everyMs, "audit", () => {
      if (this.isOver) return;
      const before = this.auditsEnded;
      void this.audit.run().then(() => this.auditsEnded++);
      this.scheduler.post(undefined, 0, "audit.check", () => assert(this.auditsEnded === before + 1, "an audit takes no time"));
      this.auditOften();
    });
  }

  run(): SimResult {
    const rejections: unknown[] = [];
    this.drive().catch((error: unknown) => rejections.push(error));
    const deadlineMs = this.minutes * 60_000 + 4 * LIVENESS_BOUND_MS;
    while (!this.isOver && this.history.findings.length < 5) {
      if (rejections.length > 0) throw rejections[0];
      if (!this.scheduler.step()) {
        this.history.find("stuck", "nothing is due any more");
        break;
      }
      if (this.scheduler.nowMs > deadlineMs) {
        this.history.find("stuck", `the run does not end; unfinished: ${[...this.unfinished].join(", ")}`);
        break;
      }
    }
    return this.result();
  }

  private get minutes(): number {
    return this.options.minutes ?? 2;
  }

  private async drive(): Promise<void> {
    const driver = this.place("driver");
    this.cluster.start();
    for (const topic of TOPICS) await createSimTopic(driver, topic, this.scenario.partitions);
    await this.transactions.prepare(driver);
    await this.consumerGroups.prepare(driver);
    this.startClients();
    this.auditOften();
    this.faults.rates = { ...STORMY, ...this.scenario.rates };
    this.nemesis.start();
    if (this.scenario.churnsTopics) this.begin("churn", this.churn());
    const beginMs = this.scheduler.nowMs;
    await driver.process.clock.sleep(this.minutes * 60_000);
    this.load = {
      windowMs: this.scheduler.nowMs - beginMs,
      clients: this.paces.length,
      leastOperations: Math.min(...this.paces.map((pace) => pace.operations)),
      faults: this.faultCount,
    };
    await this.heal(driver.process);
    await this.finish(driver);
    this.isOver = true;
  }

  private startClients(): void {
    const logs = TOPICS.flatMap((topic) =>
      Array.from({ length: this.scenario.partitions }, (_, partition) => this.history.log(topic, partition)),
    );
    for (let index = 0; index < this.scenario.producers; index++) {
      const { largePercent, evenBatchBytes } = this.scenario;
      const producer = new SimProducer(this.lasting("producer", index), index + 1, logs, largePercent, evenBatchBytes);
      this.producers.push(producer);
      this.begin(`producer-${index}`, producer.run());
    }
    for (let index = 0; index < this.scenario.consumers; index++) {
      const own = index === 0 ? logs : logs.filter(() => this.random.chance(60));
      const consumer = new SimConsumer(this.lasting("consumer", index), `consumer-${index}`, own.length === 0 ? logs : own);
      this.consumers.push(consumer);
      this.begin(`consumer-${index}`, consumer.run());
    }
    for (let index = 0; index < this.scenario.admins; index++) {
      const admin = new SimAdmin(this.lasting("admin", index), `admin-${index}`);
      this.admins.push(admin);
      this.begin(`admin-${index}`, admin.run());
    }
    for (let index = 0; index < this.scenario.visitors; index++) this.begin(`visitors-${index}`, this.visit(index, logs));
    if (this.scenario.members > 0) this.startMembers(logs);
    this.transactions.start();
    this.consumerGroups.start();
  }

  private startMembers(logs: readonly LogModel[]): void {
    this.group = new GroupModel("sim-group", logs);
    for (let index = 0; index < this.scenario.members; index++) {
      const member = new SimGroupMember(this.lasting("member", index), `member-${index}`, this.group);
      this.members.push(member);
      this.begin(`member-${index}`, member.run());
    }
  }

  /** What was acknowledged as committed is answered, also by a coordinator that begins anew. */
  private async checkCommitted(driver: ClientPlace): Promise<void> {
    const { group } = this;
    if (group === undefined || this.members.length === 0) return;
    await insist(driver, async (connection) => {
      const committed = await fetchCommitted(connection, group, group.logs);
      const answers = [...committed];
      if (!driver.isCurrent(connection.host) || answers.some(([, { errorCode }]) => errorCode !== 0)) {
        await driver.process.clock.sleep(100);
        throw new ConnectionLost("again");
      }
      for (const [log, { offset }] of answers) {
        const due = group.getAcknowledged(log);
        if (offset < due)
          log.find("nonmonotonic-offset", `the group's committed offset is ${offset} at the end, and ${due} was acknowledged`);
      }
    });
  }

  /** Topics that come and go: produced to, read and deleted again. */
  private async churn(): Promise<void> {
    for (let round = 1; !this.nemesis.isOver; round++) {
      const place = this.place(`churn-${round}`, CHURN_PAUSE_MS);
      const topic = `churn-${round}`;
      await createSimTopic(place, topic, 1);
      const log = this.history.log(topic, 0);
      const producer = new SimProducer(place, 1000 + round, [log]);
      const producing = producer.run();
      await place.process.clock.sleep(2000 + this.random.nextFloat() * 8000);
      producer.stop();
      await producing;
      await this.readWhole(place, log);
      await deleteSimTopic(place, topic);
      await place.process.clock.sleep(this.random.nextFloat() * LARGEST_CHURN_GAP_MS);
      place.process.kill("done");
    }
  }

  /** Idempotent producers with ids of their own that come and go. */
  private async visit(index: number, logs: readonly LogModel[]): Promise<void> {
    for (let round = 1; !this.nemesis.isOver; round++) {
      const place = this.place(`visitor-${index}-${round}`);
      const producer = new SimProducer(place, 10_000 * (index + 1) + round, logs);
      const producing = producer.run();
      await place.process.clock.sleep(300 + this.random.nextFloat() * 3000);
      producer.stop();
      await producing;
      place.process.kill("done");
    }
  }

  private async heal(driver: SimProcess): Promise<void> {
    this.scheduler.remember("everything heals");
    this.history.disturbedMs = this.scheduler.nowMs;
    this.nemesis.stop();
    this.faults.heal();
    this.network.heal(this.scheduler.nowMs);
    this.healedMs = this.scheduler.nowMs;
    for (const zombie of this.cluster.zombies) zombie.process.wake();
    this.cluster.current?.process.wake();
    await driver.clock.sleep(1);
  }

  /** Every operation ends, and the whole log is there, also for a process that begins with volume and bucket alone. */
  private async finish(driver: ClientPlace): Promise<void> {
    for (const producer of this.producers) producer.stop();
    for (const member of this.members) member.stop();
    for (const admin of this.admins) admin.stop();
    this.transactions.stop();
    await this.consumerGroups.settle(driver);
    this.consumerGroups.stop();
    const sleep = (ms: number): Promise<void> => driver.process.clock.sleep(ms);
    const endMs = this.scheduler.nowMs + LIVENESS_BOUND_MS;
    const isBusy = (): boolean => [...this.unfinished].some((name) => !name.startsWith("consumer"));
    while (isBusy() && this.scheduler.nowMs < endMs) await sleep(250);
    if (isBusy())
      this.history.find("stuck", `${[...this.unfinished].join(", ")} did not end within ${LIVENESS_BOUND_MS} ms after the faults`);
    await this.readOn(driver);
    await this.checkCommitted(driver);
    // Over the sessions that they have: a restart would found new ones.
    while (this.unfinished.size > 0 && this.scheduler.nowMs < endMs + LIVENESS_BOUND_MS) await sleep(250);
    if (this.unfinished.size > 0) this.history.find("stuck", `${[...this.unfinished].join(", ")} did not end`);
    for (const consumer of this.consumers) consumer.checkComplete();
    await this.transactions.whenEnded(driver);
    await sleep(Math.max(0, this.healedMs + LATE_REQUEST_MS - this.scheduler.nowMs));
    this.cluster.current?.process.kill("last restart");
    await this.readEverything(driver);
    await this.checkCommitted(driver);
    for (const admin of this.admins) await admin.check();
    await this.transactions.checkEnd(driver);
    await this.consumerGroups.checkEnd(driver);
    await sleep(SWEEP_MS);
    while (this.cluster.zombies.length > 0 && this.scheduler.nowMs < endMs + LIVENESS_BOUND_MS) await sleep(250);
    for (const zombie of this.cluster.zombies) this.history.find("stuck", `${zombie.process.name} was replaced and has not stopped`);
    await this.audit.run(true);
    const { cluster, faults, random } = this;
    const logs = [...this.history.logs.values()].filter((log) => TOPICS.includes(log.topic));
    if (random.chance(ROT_PERCENT)) await checkRot({ cluster, faults, logs, random, place: (name) => this.place(name) });
  }

  /** Consumers go on to where the logs end now; where there are none, somebody reads it all. */
  private async readOn(driver: ClientPlace): Promise<void> {
    if (this.consumers.length === 0) return this.readEverything(driver);
    const ends = await this.readEnds(driver);
    for (const consumer of this.consumers) consumer.stopAt(ends);
  }

  /** All logs from their beginning, with one reader, as a new consumer does. */
  private async readEverything(driver: ClientPlace): Promise<void> {
    const ends = await this.readEnds(driver);
    const reader = new SimConsumer(driver, "reader of all", [...ends.keys()]);
    reader.stopAt(ends);
    await reader.run();
    reader.checkComplete();
  }

  private async readEnds(driver: ClientPlace): Promise<Map<LogModel, number>> {
    const ends = new Map<LogModel, number>();
    for (const log of this.history.logs.values()) if (TOPICS.includes(log.topic)) ends.set(log, await readEnd(driver, log));
    return ends;
  }

  /** Reads a log from its beginning and checks that nothing is missing. */
  private async readWhole(place: ClientPlace, log: LogModel): Promise<void> {
    const end = await readEnd(place, log);
    const reader = new SimConsumer(place, `reader of ${log.name}`, [log]);
    reader.stopAt(new Map([[log, end]]));
    await reader.run();
    reader.checkComplete();
  }

  /** The place of a client that stays for the whole run; see `Scenario.pairsClients`. */
  private lasting(role: string, index: number): ClientPlace {
    const name = `${this.scenario.pairsClients && PAIRED.has(role) ? "client" : role}-${index}`;
    const known = this.lastingPlaces.get(name);
    if (known !== undefined) return known;
    const place = this.place(name);
    this.paces.push(place.pace);
    this.lastingPlaces.set(name, place);
    return place;
  }

  private place(name: string, pauseMs = this.scenario.pauseMs): ClientPlace {
    const process = this.cluster.makeProcess(name, `client-${++this.clientCount}`);
    const pace = new Pace(process, pauseMs);
    return {
      process,
      network: this.network,
      history: this.history,
      pace,
      done: (operation) => {
        pace.operations++;
        this.history.done(operation);
      },
      pickHost: () => this.cluster.pickHost(process.random),
      isCurrent: (host) => this.cluster.isCurrent(host),
    };
  }

  private begin(name: string, work: Promise<void>): void {
    this.unfinished.add(name);
    work.then(
      () => this.unfinished.delete(name),
      (error: unknown) => this.history.find("crash", `${name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`),
    );
  }

  private get faultCount(): number {
    return this.faults.strikes.total + this.faults.crashPoints.total;
  }

  private result(): SimResult {
    const { seed } = this.options;
    const { findings, operationCount, operations } = this.history;
    const faults = this.faultCount;
    const virtual = formatTime(this.scheduler.nowMs);
    const verdict = findings.length === 0 ? "ok" : "FAILED";
    return {
      seed,
      scenario: this.scenario.name,
      virtualMs: this.scheduler.nowMs,
      operations: operationCount,
      operationsByKind: operations,
      faults,
      load: this.load,
      strikes: this.faults.strikes.counts,
      crashPoints: this.faults.crashPoints.counts,
      traceHash: this.scheduler.traceHash,
      findings,
      recent: this.scheduler.getRecent(),
      line: `seed ${seed}: ${virtual}, ${operationCount} operations, ${faults} faults, trace ${this.scheduler.traceHash}, ${verdict}`,
    };
  }
}

function formatTime(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, "0")}s`;
}
