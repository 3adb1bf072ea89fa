/** A virtual world for the server's tests: a clock that moves by hand, sockets without a network, two small APIs. */
import type { ApiHandler, PipelinedHandler, SerialHandler } from "../../../src/api/handler.ts";
import { BufferPool, POISON_BYTE } from "../../../src/base/buffer-pool.ts";
import type { ByteSource } from "../../../src/base/byte-source.ts";
import type { Clock, TimerHandle } from "../../../src/base/clock.ts";
import type { ApiDefinition, Records } from "../../../src/protocol/api-definition.ts";
import { Connection } from "../../../src/server/connection.ts";
import { Dispatcher } from "../../../src/server/dispatcher.ts";
import { MemoryGate } from "../../../src/server/memory-gate.ts";
import type { CloseReason, ConnectionLimits, ServerShared } from "../../../src/server/server-shared.ts";
import type { TransportConnection } from "../../../src/server/transport.ts";
import { PrometheusMetrics } from "../../../src/telemetry/prometheus-metrics.ts";

export class ManualClock implements Clock {
  nowMs = 0;
  private deferred: (() => void)[] = [];
  private timers: { readonly dueMs: number; readonly callback: () => void; isCancelled: boolean }[] = [];

  wallMs(): number {
    return 1_700_000_000_000 + this.nowMs;
  }
  monotonicMs(): number {
    return this.nowMs;
  }
  schedule(delayMs: number, callback: () => void): TimerHandle {
    const timer = { dueMs: this.nowMs + delayMs, callback, isCancelled: false };
    this.timers.push(timer);
    return {
      cancel: () => {
        timer.isCancelled = true;
      },
    };
  }
  defer(callback: () => void): void {
    this.deferred.push(callback);
  }
  async sleep(delayMs: number): Promise<void> {
    await new Promise<void>((resolve) => this.schedule(delayMs, resolve));
  }

  /** Runs what was deferred, and what the promises it settled defer in turn. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 5; quiet++) {
      await Promise.resolve();
      const callbacks = this.deferred;
      this.deferred = [];
      if (callbacks.length > 0) quiet = 0;
      for (const callback of callbacks) callback();
    }
  }

  async advance(byMs: number): Promise<void> {
    this.nowMs += byMs;
    const due = this.timers.filter((timer) => timer.dueMs <= this.nowMs);
    this.timers = this.timers.filter((timer) => timer.dueMs > this.nowMs);
    for (const timer of due) if (!timer.isCancelled) timer.callback();
    await this.settle();
  }
}

/** A socket that takes `room` bytes. */
export class FakeSocket implements TransportConnection {
  readonly remoteAddress = "127.0.0.1:50000";
  room = Number.POSITIVE_INFINITY;
  isPaused = false;
  state: "open" | "closed" | "terminated" = "open";
  readonly writes: Buffer[] = [];
  /** Bytes of chunks handed back. */
  recycledBytes = 0;

  /** What reads the chunk after this reads poison. */
  recycle(chunk: Uint8Array): void {
    this.recycledBytes += chunk.length;
    chunk.fill(POISON_BYTE);
  }

  write(bytes: Uint8Array): number {
    const taken = Math.min(bytes.length, this.room);
    this.room -= taken;
    if (taken > 0) this.writes.push(Buffer.from(bytes.subarray(0, taken)));
    return taken;
  }
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
  close(): void {
    if (this.state === "open") this.state = "closed";
  }
  terminate(): void {
    if (this.state === "open") this.state = "terminated";
  }
  get sent(): Buffer {
    return Buffer.concat(this.writes);
  }
}

export interface TestRequest {
  readonly payload: Uint8Array;
}
export interface TestResponse {
  readonly records: Records;
}

/** Body: raw payload; answer: records with their length before. */
export function testApi(key: number, name: string): ApiDefinition<TestRequest, TestResponse> {
  return {
    key,
    name,
    minVersion: 0,
    maxVersion: 3,
    latestVersionUnstable: false,
    flexibleFrom: 3,
    requestHeaderVersion: (version) => (version >= 3 ? 2 : 1),
    responseHeaderVersion: (version) => (version >= 3 && key !== 18 ? 1 : 0),
    readRequest: (reader) => ({ payload: reader.readRaw(reader.remaining) }),
    writeRequest: (writer, message) => writer.writeRaw(message.payload),
    readResponse: (reader) => ({ records: reader.readBytes("records") }),
    writeResponse: (writer, message) => writer.writeRecords(message.records),
  };
}

export const SERIAL_KEY = 100;
export const PIPELINED_KEY = 101;

export function serialHandler(handle: SerialHandler<TestRequest, TestResponse>["handle"], key = SERIAL_KEY): ApiHandler {
  return { kind: "serial", api: testApi(key, key === 18 ? "ApiVersions" : "Serial"), minVersion: 0, maxVersion: 3, handle };
}

export function pipelinedHandler(begin: PipelinedHandler<TestRequest, TestResponse>["begin"], isFrameFreeAfterAnswer = false): ApiHandler {
  return { kind: "pipelined", api: testApi(PIPELINED_KEY, "Pipelined"), minVersion: 0, maxVersion: 3, begin, isFrameFreeAfterAnswer };
}

export function frameOf(key: number, version: number, correlationId: number, payload: Uint8Array, clientId = "test"): Buffer {
  const client = Buffer.from(clientId);
  const header = Buffer.alloc(10 + client.length + (version >= 3 ? 1 : 0));
  header.writeInt16BE(key, 0);
  header.writeInt16BE(version, 2);
  header.writeInt32BE(correlationId, 4);
  header.writeInt16BE(client.length, 8);
  client.copy(header, 10);
  const size = Buffer.alloc(4);
  size.writeInt32BE(header.length + payload.length);
  return Buffer.concat([size, header, payload]);
}

export interface TestAnswer {
  readonly correlationId: number;
  readonly records: Buffer;
}

/** Cuts what a connection sent into answers of version 0 to 2. */
export function answersIn(bytes: Buffer): readonly TestAnswer[] {
  const answers: TestAnswer[] = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const size = bytes.readInt32BE(at);
    answers.push({ correlationId: bytes.readInt32BE(at + 4), records: bytes.subarray(at + 12, at + 4 + size) });
    at += 4 + size;
  }
  return answers;
}

export class FakeSource implements ByteSource {
  readonly bytes: Uint8Array;
  isInMemory: boolean;
  released = 0;
  loads = 0;
  failure: Error | undefined;

  constructor(bytes: Uint8Array, isInMemory: boolean) {
    this.bytes = bytes;
    this.isInMemory = isInMemory;
  }
  get sizeBytes(): number {
    return this.bytes.length;
  }
  tryCopy(from: number, length: number, target: Uint8Array, targetOffset: number): boolean {
    if (!this.isInMemory || this.released > 0) return false;
    target.set(this.bytes.subarray(from, from + length), targetOffset);
    return true;
  }
  async load(): Promise<void> {
    this.loads++;
    if (this.failure !== undefined) throw this.failure;
    this.isInMemory = true;
  }
  release(): void {
    this.released++;
  }
}

export interface TestServer {
  readonly clock: ManualClock;
  readonly gate: MemoryGate;
  readonly frameBuffers: BufferPool;
  readonly closes: { readonly reason: CloseReason; readonly message: string; readonly clientId: string | null }[];
  readonly failures: unknown[];
  connect(): { readonly socket: FakeSocket; readonly connection: Connection };
}

export const TEST_LIMITS: ConnectionLimits = {
  maxFrameBytes: 1_000_000,
  maxPendingRequests: 100,
  idleMs: 600_000,
  progressTimeoutMs: 30_000,
};

export function makeServer(handlers: readonly ApiHandler[], limits: Partial<ConnectionLimits> = {}, memoryBytes = 10_000_000): TestServer {
  const clock = new ManualClock();
  const metrics = new PrometheusMetrics();
  const gate = new MemoryGate(memoryBytes);
  const frameBuffers = new BufferPool({ clock, retainedBytes: 8_000_000, idleMs: 1000, poisonReleased: true });
  const dispatcher = new Dispatcher(clock, metrics);
  dispatcher.setHandlers(handlers);
  const closes: { reason: CloseReason; message: string; clientId: string | null }[] = [];
  const failures: unknown[] = [];
  const shared: ServerShared = {
    clock,
    gate,
    dispatcher,
    isServing: true,
    limits: { ...TEST_LIMITS, ...limits },
    frameBuffers,
    staging: new Uint8Array(256 * 1024),
    metrics: {
      receivedBytes: metrics.counter("received_total", "test"),
      sentBytes: metrics.counter("sent_total", "test"),
      countClose: (reason) => void closes.push({ reason, message: "", clientId: null }),
    },
    logClosed: (_, reason, message, clientId) => void closes.push({ reason, message, clientId }),
    handlerFailed: (_, __, error) => void failures.push(error),
    forget: (connection) => void gate.connections.delete(connection),
  };
  let nextId = 1;
  return {
    clock,
    gate,
    frameBuffers,
    closes,
    failures,
    connect: () => {
      const socket = new FakeSocket();
      const connection = new Connection(nextId++, "PLAINTEXT", socket, shared);
      gate.connections.add(connection);
      return { socket, connection };
    },
  };
}

/** A promise that is settled from outside. */
export function makeDeferred<T>(): {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
} {
  return Promise.withResolvers<T>();
}
