/**
 * One client connection: chunks in, frames to the request line, answers out. Reading stops while the connection waits for request memory,
 * has too many unanswered requests or too much unsent output, or is about to close.
 *
 * Neighbours: frame-cutter (bytes to frames), memory-gate (room for them), request-line (order of requests), output-queue (bytes out).
 */
import type { ConnectionView } from "../api/handler.ts";
import { assert } from "../base/assert.ts";
import type { BudgetWait } from "../base/byte-budget.ts";
import type { Output } from "../protocol/writer.ts";
import type { Rejection, RoutedRequest } from "./dispatcher.ts";
import { FrameCutter } from "./frame-cutter.ts";
import { MemoryLease } from "./memory-gate.ts";
import { OutputQueue } from "./output-queue.ts";
import { RequestLine } from "./request-line.ts";
import type { CloseReason, ServerShared } from "./server-shared.ts";
import type { ConnectionEvents, TransportConnection } from "./transport.ts";

/** Unsent private bytes above which a connection is not read. */
const OUTPUT_HIGH_WATER_BYTES = 1024 * 1024;
/** In one progress window a begun frame must bring this much, or end. */
const PROGRESS_BYTES = 16 * 1024;

/** Why the socket is not read; bits. */
const PAUSE_PARKED = 1;
const PAUSE_PRESSURE = 2;
const PAUSE_ENDING = 4;
const PAUSE_STARTING = 8;

export class Connection implements ConnectionEvents, ConnectionView {
  readonly id: number;
  readonly listenerName: string;
  readonly remoteAddress: string;
  readonly principal = "User:ANONYMOUS";
  clientSoftwareName = "unknown";
  clientSoftwareVersion = "unknown";

  private readonly transport: TransportConnection;
  private readonly shared: ServerShared;
  private readonly cutter: FrameCutter;
  private readonly line: RequestLine;
  private readonly output: OutputQueue;
  private readonly closing = new AbortController();
  /** Chunks not cut yet, the first from `cutter.position` on. More than one only when the transport delivers after `pause`. */
  private readonly chunks: Uint8Array[] = [];
  private chunkLease: MemoryLease | undefined;
  /** A frame of the first chunk may be referred to after its answer. */
  private isChunkKept = false;
  private gatheringLease: MemoryLease | undefined;
  private budgetWait: BudgetWait | undefined;
  private heldBytes = 0;
  private pauses = 0;
  private isFlushScheduled = false;
  private isCutting = false;
  /** No more requests are taken; the connection ends when all output is sent. */
  private isEnding = false;
  private isClosed = false;
  private lastActivityMs: number;
  private progressMarkMs: number;
  private progressBytes = 0;

  constructor(id: number, listenerName: string, transport: TransportConnection, shared: ServerShared) {
    this.id = id;
    this.listenerName = listenerName;
    this.remoteAddress = transport.remoteAddress;
    this.transport = transport;
    this.shared = shared;
    this.cutter = new FrameCutter(shared.limits.maxFrameBytes, shared.frameBuffers);
    this.lastActivityMs = shared.clock.monotonicMs();
    this.progressMarkMs = this.lastActivityMs;
    this.output = new OutputQueue(transport, shared.staging, (error) => this.loaded(error));
    this.line = new RequestLine(shared.dispatcher, this, {
      send: (output) => this.send(output),
      rejected: (rejection) => this.endBecause(rejection.reason, rejection.message, rejection.clientId),
      failed: (request, error) => this.failed(request, error),
      shortened: () => {
        this.cut();
        this.endIfSent();
      },
    });
    if (!shared.isServing) this.setPause(PAUSE_STARTING, true);
    if (shared.gate.isPressing) this.setPressure(true);
  }

  /** The broker serves from now on. */
  startServing(): void {
    this.setPause(PAUSE_STARTING, false);
    this.cut();
  }

  get closed(): AbortSignal {
    return this.closing.signal;
  }

  data(chunk: Uint8Array): void {
    this.lastActivityMs = this.shared.clock.monotonicMs();
    this.progressBytes += chunk.length;
    this.shared.metrics.receivedBytes.add(chunk.length);
    if (this.isEnding || this.isClosed || chunk.length === 0) return;
    this.chunks.push(chunk);
    if (this.chunks.length === 1) this.cutter.position = 0;
    this.cut();
  }

  drained(): void {
    this.flush();
  }

  /** When bytes last went either way, by the monotonic clock. */
  get lastActiveMs(): number {
    return this.lastActivityMs;
  }

  setPressure(isPressing: boolean): void {
    if (isPressing && this.gatheringLease !== undefined) return;
    this.setPause(PAUSE_PRESSURE, isPressing);
  }

  /** Takes no more requests; ends the connection when the last answer is sent. */
  drain(): void {
    this.isEnding = true;
    this.setPause(PAUSE_ENDING, true);
    this.endIfSent();
  }

  terminate(): void {
    if (!this.isClosed) this.transport.terminate();
  }

  /** Called now and then: closes a connection that is idle, or whose frame makes no progress. */
  checkDeadlines(nowMs: number): void {
    if (this.isClosed) return;
    const { idleMs, progressTimeoutMs } = this.shared.limits;
    const isWaitingForClient = this.line.length === 0 || !this.output.isEmpty;
    if (idleMs >= 0 && nowMs - this.lastActivityMs > idleMs && isWaitingForClient) {
      this.shared.metrics.countClose("idle");
      this.transport.terminate();
      return;
    }
    const isReceiving = this.cutter.isInsideFrame && this.pauses === 0;
    if (!isReceiving || this.progressBytes >= PROGRESS_BYTES) {
      this.progressMarkMs = nowMs;
      this.progressBytes = 0;
    } else if (nowMs - this.progressMarkMs > progressTimeoutMs) {
      this.endBecause("slow", `a begun request brought ${this.progressBytes} bytes in ${progressTimeoutMs} ms`, null);
      this.transport.terminate();
    }
  }

  private cut(): void {
    if (this.isCutting) return;
    this.isCutting = true;
    try {
      while (this.cutOne()) {
        // goes on until a chunk ends, memory is short, or the line is full
      }
    } finally {
      this.isCutting = false;
    }
    this.settleParking();
  }

  /** One step. False when nothing more can be done now. */
  private cutOne(): boolean {
    const chunk = this.chunks[0];
    if (chunk === undefined || this.isHeldUp() || !this.mayTakeMore()) return false;
    const step = this.cutter.step(chunk);
    switch (step.kind) {
      case "more":
        this.dropChunk();
        return true;
      case "bad":
        this.endBecause(
          "frame-size",
          `a request of ${step.sizeBytes} bytes is refused (socket.request.max.bytes=${this.shared.limits.maxFrameBytes})`,
          null,
        );
        return false;
      case "claim":
        return this.claim(step.bytes, (lease) => {
          this.gatheringLease = lease;
          this.cutter.beginGathering();
        });
      case "frame":
        return step.gatheredIn === undefined ? this.takeInPlace(chunk, step.frame) : this.takeGathered(step.frame, step.gatheredIn);
    }
  }

  /** Frames of one chunk share one lease over the whole chunk, because each of them keeps all of it in memory. */
  private takeInPlace(chunk: Uint8Array, frame: Uint8Array): boolean {
    const take = (lease: MemoryLease): void => {
      this.chunkLease = lease;
      const request = this.shared.dispatcher.route(frame);
      if (!leavesNothing(request)) this.isChunkKept = true;
      this.take(request, lease.retain());
    };
    if (this.chunkLease === undefined) return this.claim(chunk.length, take);
    take(this.chunkLease);
    return true;
  }

  private takeGathered(frame: Uint8Array, buffer: Uint8Array): boolean {
    const lease = this.gatheringLease;
    assert(lease !== undefined, "a frame was gathered without a lease");
    this.gatheringLease = undefined;
    if (this.shared.gate.isPressing) this.setPressure(true);
    const request = this.shared.dispatcher.route(frame);
    if (leavesNothing(request)) lease.onReleased(() => this.shared.frameBuffers.give(buffer));
    this.take(request, lease);
    return true;
  }

  private take(request: RoutedRequest | Rejection, lease: MemoryLease): void {
    this.progressBytes = 0;
    this.progressMarkMs = this.lastActivityMs;
    this.line.add(request, lease);
  }

  /** True when claimed at once; else the connection waits its turn and goes on by itself. */
  private claim(bytes: number, use: (lease: MemoryLease) => void): boolean {
    const { budget } = this.shared.gate;
    if (budget.tryClaim(bytes)) {
      use(new MemoryLease(budget, bytes));
      return true;
    }
    this.budgetWait = budget.waitFor(bytes, () => {
      this.budgetWait = undefined;
      this.lastActivityMs = this.shared.clock.monotonicMs();
      use(new MemoryLease(budget, bytes));
      this.cut();
    });
    return false;
  }

  private isHeldUp(): boolean {
    return this.isEnding || this.isClosed || this.budgetWait !== undefined || !this.shared.isServing;
  }

  private mayTakeMore(): boolean {
    return this.line.length < this.shared.limits.maxPendingRequests && this.output.privateBytes < OUTPUT_HIGH_WATER_BYTES;
  }

  /** The chunk's memory goes back at once when no frame lies in it, or when all that do are done with; else to the garbage collector. */
  private dropChunk(): void {
    const chunk = this.chunks.shift();
    this.cutter.position = 0;
    if (chunk !== undefined && !this.isChunkKept) {
      if (this.chunkLease === undefined) this.transport.recycle?.(chunk);
      else this.chunkLease.onReleased(() => this.transport.recycle?.(chunk));
    }
    this.isChunkKept = false;
    this.chunkLease?.release();
    this.chunkLease = undefined;
  }

  /** Parked: chunks are held that cannot be cut now. Those without a lease count as held memory. */
  private settleParking(): void {
    if (this.isClosed) return;
    const isParked = this.chunks.length > 0;
    const heldBytes = this.chunkLease === undefined ? this.chunks.reduce((sum, chunk) => sum + chunk.length, 0) : 0;
    const change = heldBytes - this.heldBytes;
    this.heldBytes = heldBytes;
    this.setPause(PAUSE_PARKED, isParked);
    if (change > 0) this.shared.gate.hold(change);
    else if (change < 0) this.shared.gate.unhold(-change);
  }

  private setPause(bit: number, isPaused: boolean): void {
    const pauses = isPaused ? this.pauses | bit : this.pauses & ~bit;
    if (pauses === this.pauses || this.isClosed) return;
    const wasPaused = this.pauses !== 0;
    this.pauses = pauses;
    if (!wasPaused) this.transport.pause();
    else if (pauses === 0) {
      this.progressMarkMs = this.shared.clock.monotonicMs();
      this.progressBytes = 0;
      this.transport.resume();
    }
  }

  /** Answers of one event-loop turn leave in one write. */
  private send(output: Output): void {
    this.output.push(output.pieces);
    if (this.isFlushScheduled) return;
    this.isFlushScheduled = true;
    this.shared.clock.defer(() => {
      this.isFlushScheduled = false;
      this.flush();
    });
  }

  private flush(): void {
    if (this.isClosed) return;
    const { writtenBytes } = this.output.flush();
    if (writtenBytes > 0) {
      this.lastActivityMs = this.shared.clock.monotonicMs();
      this.shared.metrics.sentBytes.add(writtenBytes);
    }
    this.cut();
    this.endIfSent();
  }

  private endIfSent(): void {
    if (!this.isEnding || this.isClosed || !this.output.isEmpty || this.line.length > 0) return;
    this.transport.close();
  }

  private loaded(error: unknown): void {
    if (error === undefined) this.flush();
    else {
      this.shared.logClosed(
        this,
        "load",
        `the bytes of an answer could not be read: ${error instanceof Error ? error.message : String(error)}`,
        null,
      );
      this.transport.terminate();
    }
  }

  private failed(request: RoutedRequest, error: unknown): void {
    this.shared.handlerFailed(this, request, error);
    this.isEnding = true;
    this.transport.terminate();
  }

  /** One log line; then the connection ends when what was answered before is sent. */
  private endBecause(reason: CloseReason, message: string, clientId: string | null): void {
    if (this.isEnding || this.isClosed) return;
    this.shared.logClosed(this, reason, message, clientId);
    this.isEnding = true;
    this.setPause(PAUSE_ENDING, true);
    if (reason !== "frame-size") this.line.close();
    this.shared.clock.defer(() => this.flush());
  }

  /** The transport says that the connection is gone: everything it held is given back. */
  ended(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.budgetWait?.cancel();
    this.budgetWait = undefined;
    this.line.close();
    this.output.dispose();
    this.chunks.length = 0;
    this.chunkLease?.release();
    this.chunkLease = undefined;
    this.gatheringLease?.release();
    this.gatheringLease = undefined;
    if (this.heldBytes > 0) this.shared.gate.unhold(this.heldBytes);
    this.heldBytes = 0;
    this.shared.forget(this);
    this.closing.abort(new Error("the connection was closed"));
  }
}

/** Nothing of the request's frame is referred to once its answer has settled. */
function leavesNothing(request: RoutedRequest | Rejection): boolean {
  return request.kind === "routed" && request.handler.kind === "pipelined" && request.handler.isFrameFreeAfterAnswer === true;
}
