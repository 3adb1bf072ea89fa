/** Handlers over fakes: a broker of one without sockets. */
import type { ApiHandler, ConnectionView, RequestContext } from "../../../src/api/handler.ts";
import { createApiHandlers } from "../../../src/api/registry.ts";
import type { ApiServices } from "../../../src/api/services.ts";
import { POISON_BYTE } from "../../../src/base/buffer-pool.ts";
import { GROUPS_TOPIC, GroupCoordinator } from "../../../src/group/group-coordinator.ts";
import { FetchWaiters } from "../../../src/partition/fetch-waiters.ts";
import { PartitionRegistry } from "../../../src/partition/partition-registry.ts";
import { TopicRulesCache } from "../../../src/partition/topic-rules.ts";
import type { TransactionGate, TransactionMarker } from "../../../src/partition/transaction-ports.ts";
import { Reader } from "../../../src/protocol/reader.ts";
import { Writer } from "../../../src/protocol/writer.ts";
import type { CommittedRangesPort } from "../../../src/storage/ports.ts";
import type { Storage } from "../../../src/storage/storage.ts";
import { LocalMarkerWriter } from "../../../src/transaction/local-marker-writer.ts";
import { TransactionCoordinator } from "../../../src/transaction/transaction-coordinator.ts";
import { fakeConfig } from "./fake-config.ts";
import { FakeMetadata } from "./fake-metadata.ts";
import { FakeStorage, type FakeStream } from "./fake-storage.ts";
import { ManualClock } from "./manual-clock.ts";
import { decompressForTest } from "./record-batches.ts";
import { NO_METRICS, RecordingLogger } from "./recording-telemetry.ts";
import { SeededRandom } from "./seeded-random.ts";
import { tableCrc32c } from "./table-crc32c.ts";

/** What a harness takes from the test instead of making its own. */
export interface HarnessParts {
  readonly clock?: ManualClock;
  readonly ranges?: CommittedRangesPort;
}

/** Nothing below a log start is kept. */
const NO_RANGES: CommittedRangesPort = {
  findRange: () => undefined,
  getRanges: () => [],
  getCommittedEnd: () => Number.MAX_SAFE_INTEGER,
  getCheckpoint: () => undefined,
};

/** Handlers over the storage that the test brings. */
export class ApiHarnessOver<Held extends Storage> {
  readonly clock: ManualClock;
  readonly logger = new RecordingLogger();
  readonly metadata: FakeMetadata;
  readonly storage: Held;
  readonly partitions: PartitionRegistry;
  readonly waiters: FetchWaiters;
  readonly services: ApiServices;
  readonly handlers: ReadonlyMap<number, ApiHandler>;
  readonly closing = new AbortController();
  readonly connection: ConnectionView;

  constructor(
    settings: Readonly<Record<string, string>>,
    storage: Held,
    metadata: FakeMetadata,
    transactions?: TransactionGate,
    parts: HarnessParts = {},
  ) {
    this.clock = parts.clock ?? new ManualClock();
    this.storage = storage;
    this.metadata = metadata;
    const config = fakeConfig(settings);
    const { clock, logger } = this;
    this.waiters = new FetchWaiters(clock);
    const ranges = parts.ranges ?? NO_RANGES;
    const topicRules = new TopicRulesCache(config);
    this.partitions = new PartitionRegistry({ storage, metadata, config, topicRules, clock, logger, ranges, crc32c: tableCrc32c });
    const shared = {
      config,
      clock,
      random: new SeededRandom(7),
      logger,
      metrics: NO_METRICS,
      metadata,
      storage,
      partitions: this.partitions,
      topicRules,
      crc32c: tableCrc32c,
      decompress: decompressForTest,
    };
    const gate: TransactionGate = transactions ?? {
      verify: (request) => coordinator.verify(request),
      tryAwaitChange: (transactionalId) => coordinator.tryAwaitChange(transactionalId),
    };
    const groups = new GroupCoordinator({ ...shared, gate });
    const offsetMarkers = {
      topicName: GROUPS_TOPIC,
      writeMarker: (partition: number, marker: TransactionMarker) => groups.writeMarker(partition, marker),
    };
    const markers = new LocalMarkerWriter({ ...shared, groups: offsetMarkers });
    const coordinator: TransactionCoordinator = new TransactionCoordinator({ ...shared, markers });
    this.services = { ...shared, waiters: this.waiters, groups, transactions: coordinator, gate, markers };
    this.handlers = new Map(createApiHandlers(this.services).map((handler) => [handler.api.key, handler]));
    this.connection = {
      id: 1,
      listenerName: "PLAINTEXT",
      remoteAddress: "127.0.0.1:50000",
      principal: "User:ANONYMOUS",
      clientSoftwareName: "unknown",
      clientSoftwareVersion: "unknown",
      closed: this.closing.signal,
    };
  }

  context(apiVersion: number): RequestContext {
    return { apiVersion, correlationId: 1, clientId: "test", connection: this.connection };
  }

  handler(key: number): ApiHandler {
    const handler = this.handlers.get(key);
    if (handler === undefined) throw new Error(`key ${key} is not served`);
    return handler;
  }

  /** The answer as the handler gives it. */
  async call<Response>(key: number, request: unknown, apiVersion: number): Promise<Response | undefined> {
    const handler = this.handler(key);
    if (handler.kind === "serial") return await handler.handle(request, this.context(apiVersion));
    return await handler.begin(request, this.context(apiVersion)).answer;
  }

  /** As `call`, with request and answer through the wire: what a client of that version would see. No record references. A frame that
   * the handler calls free is poisoned before the answer is encoded. */
  async callOverWire<Response>(key: number, request: unknown, apiVersion: number): Promise<Response> {
    const handler = this.handler(key);
    const { api } = handler;
    const sent = new Writer();
    api.writeRequest(sent, request, apiVersion);
    const frame = sent.toBytes();
    const answer = await this.call(key, api.readRequest(new Reader(frame), apiVersion), apiVersion);
    if (handler.kind === "pipelined" && handler.isFrameFreeAfterAnswer === true) frame.fill(POISON_BYTE);
    const received = new Writer();
    api.writeResponse(received, answer, apiVersion);
    const reader = new Reader(received.toBytes());
    const decoded = api.readResponse(reader, apiVersion);
    reader.expectEnd();
    return decoded;
  }
}

export class ApiHarness extends ApiHarnessOver<FakeStorage> {
  constructor(
    settings: Readonly<Record<string, string>> = {},
    storage = new FakeStorage(),
    metadata = new FakeMetadata(),
    transactions?: TransactionGate,
  ) {
    super(settings, storage, metadata, transactions);
  }
}

/** The process is gone without a word: the next one finds what was durable of these streams, and nothing else. */
export function loseVolatile({ storage, metadata }: ApiHarness, streams: Iterable<[string, FakeStream]> = [...storage.streams]): void {
  for (const [key, { id, batches, durableEndOffset }] of streams) {
    const durable = batches.filter((batch) => batch.lastOffset < durableEndOffset);
    storage.stored.set(key, durable);
    metadata.setPartition(id.topicId, id.partition, { committedEndOffset: (durable.at(-1)?.lastOffset ?? -1) + 1 });
  }
  storage.streams.clear();
}
