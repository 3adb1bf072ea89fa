/** One running broker: its start-up line, its readiness, what fences it, and its drain. Made by `wire-up.ts`. */
import type { ApiHandler } from "../api/handler.ts";
import { Trouble } from "../base/trouble.ts";
import type { Config, ListenerConfig } from "../config/config.ts";
import type { HttpServer } from "../console/http-server.ts";
import type { BrokerMetadata } from "../controller/broker-metadata.ts";
import type { GroupCoordinator } from "../group/group-coordinator.ts";
import type { ObjectStore } from "../objectstore/object-store.ts";
import type { FetchWaiters } from "../partition/fetch-waiters.ts";
import type { PartitionRegistry } from "../partition/partition-registry.ts";
import type { RecoveredOpening } from "../partition/recovered-opening.ts";
import type { Retention } from "../partition/retention.ts";
import type { KafkaServer } from "../server/kafka-server.ts";
import type { LocalStorage } from "../storage/local-storage.ts";
import type { Wal } from "../storage/wal/wal.ts";
import type { TransactionCoordinator } from "../transaction/transaction-coordinator.ts";
import type { World } from "./world.ts";

export interface BrokerParts {
  readonly config: Config;
  readonly world: World;
  readonly store: ObjectStore;
  readonly metadata: BrokerMetadata;
  readonly wal: Wal;
  readonly storage: LocalStorage;
  readonly partitions: PartitionRegistry;
  readonly recovered: RecoveredOpening;
  readonly groups: GroupCoordinator;
  readonly transactions: TransactionCoordinator;
  readonly waiters: FetchWaiters;
  readonly retention: Retention;
  readonly server: KafkaServer;
  readonly http: HttpServer | undefined;
  readonly handlers: readonly ApiHandler[];
}

export interface StartFacts {
  readonly version: string;
  /** When the start began, by the monotonic clock. */
  readonly startedMs: number;
  /** With their real ports. */
  readonly listeners: readonly ListenerConfig[];
  readonly advertised: readonly ListenerConfig[];
  readonly walDescription: string;
  readonly walId: string;
  /** WALs of this node that partitions wait for. */
  readonly missingWalIds: readonly string[];
}

/** Of the drain's time, what requests in flight get to end by themselves. */
const REQUESTS_SHARE = 0.4;

const placeOf = ({ name, host, port }: ListenerConfig): string => `${name}://${host.includes(":") ? `[${host}]` : host}:${port}`;

export class Broker {
  /** Resolves when this broker may release nothing more: it was replaced, or its WAL failed. */
  readonly whenFenced: Promise<Trouble>;
  private readonly parts: BrokerParts;
  private readonly fence = Promise.withResolvers<Trouble>();
  private isDraining = false;
  private missingWalIds: readonly string[] = [];

  constructor(parts: BrokerParts) {
    this.parts = parts;
    this.whenFenced = this.fence.promise;
    parts.metadata.onFenced((reason) => this.fenceOff(reason));
    parts.wal.onStateChange((state) => {
      if (state.kind !== "failed") return;
      const trouble = walFailed(state.reason);
      parts.world.logger.error("broker.fenced", trouble.message);
      this.fenceOff(trouble);
    });
  }

  /** Serves, and says so in one line; what recovery found is opened in the background. */
  async start(facts: StartFacts): Promise<void> {
    const { config, world, store, metadata, storage, recovered, groups, transactions, server, http, handlers } = this.parts;
    this.missingWalIds = facts.missingWalIds;
    for (const id of storage.getRecoveredStreams()) {
      if (metadata.image.getTopicById(id.topicId) === undefined) storage.dropRecovered(id);
    }
    server.startServing(handlers);
    groups.loadOwned();
    transactions.loadOwned();
    world.logger.info("broker.started", `Weir ${facts.version} serves`, {
      version: facts.version,
      readyMs: Math.round(world.clock.monotonicMs() - facts.startedMs),
      clusterId: metadata.image.clusterId,
      nodeId: config.nodeId,
      brokerEpoch: metadata.brokerEpoch,
      listeners: facts.listeners.map(placeOf).join(","),
      advertised: facts.advertised.map(placeOf).join(","),
      http: http === undefined ? "none" : `${http.host}:${http.port}`,
      wal: facts.walDescription,
      walId: facts.walId,
      store: store.description,
      probed: "conditional writes",
      ringBytes: config.ringCapacityBytes,
      recovering: storage.getRecoveredStreams().length,
    });
    // Groups and transactions of which nothing but a tail was there are found once that is open.
    recovered.run(storage.getRecoveredStreams()).then(() => {
      groups.loadOwned();
      transactions.loadOwned();
    }, world.onBug);
  }

  /** Why clients are not served well now; empty when they are. */
  getReadinessProblems(): readonly string[] {
    const problems: string[] = [];
    if (this.isDraining) problems.push("the broker is draining");
    const { state, storeTrouble } = this.parts.storage;
    if (state.kind !== "serving") problems.push(`storage is ${state.kind}${state.reason === undefined ? "" : `: ${state.reason}`}`);
    const { outage } = this.parts.store;
    if (outage !== undefined) problems.push(`the object store is away: ${outage.message}`);
    else if (storeTrouble !== undefined) {
      const awaited = storeTrouble.code.startsWith("wal-") ? "the WAL's device" : "the object store";
      problems.push(`uploads wait for ${awaited}: ${storeTrouble.message}`);
    }
    const { count, trouble } = this.parts.recovered.left;
    if (count > 0) problems.push(`${count} recovered partitions are not open yet${trouble === undefined ? "" : `: ${trouble.message}`}`);
    const held = this.parts.storage.heldStreamCount;
    if (this.missingWalIds.length > 0) {
      problems.push(`partitions are offline until WAL ${this.missingWalIds.join(", ")} is back: see wal.missing in the log`);
    }
    if (held > 0) problems.push(`the WAL is damaged, and ${held} partitions are held: see wal.damaged in the log`);
    return problems;
  }

  /**
   * Stops accepting, answers what has come, uploads the tail, closes. False when the deadline cut it short: nothing acknowledged is lost then either, the
   * WAL has it.
   */
  async drain(reason: string, deadlineMs: number): Promise<boolean> {
    this.isDraining = true;
    const { world, server, storage, partitions, recovered, groups, transactions, waiters, retention, metadata, store, http } = this.parts;
    const startedMs = world.clock.monotonicMs();
    world.logger.info("broker.draining", `${reason}: no new connections, requests end, the tail is uploaded`, {
      deadlineMs,
      connections: server.connectionCount,
    });
    const abort = new AbortController();
    const deadline = Promise.withResolvers<"late">();
    const timer = world.clock.schedule(deadlineMs, () => {
      abort.abort(new Trouble({ code: "drain-deadline", message: `the drain took longer than ${deadlineMs} ms`, retryable: false }));
      deadline.resolve("late");
    });
    const work = async (): Promise<"done"> => {
      // Members that wait for a rebalance would hold up the drain: they are told to look for another coordinator.
      groups.close();
      transactions.close();
      retention.close();
      const answered = server.drain(deadlineMs * REQUESTS_SHARE);
      waiters.drain();
      await answered;
      await storage.flushToObjects(abort.signal);
      recovered.close();
      partitions.close();
      await storage.close();
      await metadata.close();
      await store.close();
      await http?.close();
      return "done";
    };
    const ended = await Promise.race([work().catch((error: unknown) => error), deadline.promise]);
    timer.cancel();
    const isClean = ended === "done";
    const tookMs = Math.round(world.clock.monotonicMs() - startedMs);
    world.logger.info("broker.stopped", this.describeEnd(ended), { tookMs });
    return isClean;
  }

  private describeEnd(ended: unknown): string {
    if (ended === "late") return "the deadline came first; the rest of the tail stays in the WAL";
    if (ended !== "done") return ended instanceof Error ? ended.message : String(ended);
    const { count } = this.parts.recovered.left;
    return count === 0
      ? "everything is in the object store"
      : `${count} recovered partitions were never open, and their tail stays in the WAL; everything else is in the object store`;
  }

  private fenceOff(reason: Trouble): void {
    this.parts.server.abort();
    this.fence.resolve(reason);
  }
}

function walFailed(reason: string | undefined): Trouble {
  return new Trouble({
    code: "wal-failed",
    message: `the WAL has failed${reason === undefined ? "" : `: ${reason}`}; this broker has stopped acknowledging`,
    remedy: "restart it: it recovers from the device, or names what is wrong with it",
    retryable: false,
    exitCode: 70,
  });
}
