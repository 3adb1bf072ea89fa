/**
 * The Kafka listeners of one broker: opens them, owns their connections, closes idle and stalled ones, drains. Construction opens nothing.
 */
import type { ApiHandler } from "../api/handler.ts";
import { AssertionFailure } from "../base/assert.ts";
import { BufferPool } from "../base/buffer-pool.ts";
import type { Clock, TimerHandle } from "../base/clock.ts";
import { Trouble } from "../base/trouble.ts";
import type { AcceptLimits } from "../config/accept-limits.ts";
import type { ListenerConfig } from "../config/config.ts";
import type { Counter, Logger, Metrics } from "../telemetry/telemetry.ts";
import { AcceptControl } from "./accept-control.ts";
import { Connection } from "./connection.ts";
import { Dispatcher, type RoutedRequest } from "./dispatcher.ts";
import { MemoryGate } from "./memory-gate.ts";
import { STAGING_BYTES } from "./output-queue.ts";
import { CLOSE_REASONS, type CloseReason, type ConnectionLimits, type ServerShared } from "./server-shared.ts";
import type { AcceptEvents, ConnectionEvents, Transport, TransportConnection, TransportListener } from "./transport.ts";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function refuse(connection: TransportConnection): ConnectionEvents {
  connection.terminate();
  return { data: () => {}, drained: () => {}, ended: () => {} };
}

export interface KafkaServerOptions {
  readonly clock: Clock;
  readonly transport: Transport;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly limits: ConnectionLimits;
  readonly requestMemoryBytes: number;
  readonly backlog: number;
  /** Until `limitAccepting` says otherwise. */
  readonly acceptLimits: AcceptLimits;
  /** A bug was found (an assertion failed in a handler): ends the process. */
  readonly onBug: (error: unknown) => void;
}

/** Connections are looked at this often for idleness and stalled frames. */
const SWEEP_MS = 1000;
/** Free frame buffers kept at most; and for how long nobody must have used one before they are given up. */
const RETAINED_FRAME_BYTES = 32 * 1024 * 1024;
const FRAME_BUFFERS_IDLE_MS = 2_000;

export class KafkaServer {
  private readonly options: KafkaServerOptions;
  private readonly shared: Mutable<ServerShared>;
  private readonly dispatcher: Dispatcher;
  private readonly gate: MemoryGate;
  private readonly connections = new Set<Connection>();
  private readonly listeners = new Map<string, TransportListener>();
  private readonly accepting: AcceptControl;
  private readonly closes: ReadonlyMap<CloseReason, Counter>;
  private readonly accepted: Counter;
  private readonly pausedListeners = new Set<string>();
  private readonly pauseCount: Counter;
  private sweep: TimerHandle | undefined;
  private nextConnectionId = 1;
  private onEmpty: (() => void) | undefined;
  private isDraining = false;

  constructor(options: KafkaServerOptions) {
    const { clock, metrics, limits } = options;
    this.options = options;
    this.gate = new MemoryGate(options.requestMemoryBytes);
    this.dispatcher = new Dispatcher(clock, metrics);
    this.accepting = new AcceptControl({
      clock,
      limits: options.acceptLimits,
      onHold: (name, reason, isBrief) => this.holdListener(name, reason, isBrief),
    });
    this.accepted = metrics.counter("weir_connections_accepted_total", "Connections accepted.");
    this.pauseCount = metrics.counter(
      "weir_accept_pauses_total",
      "How often accepting paused for want of descriptors, by max.connections or by max.connection.creation.rate.",
    );
    this.closes = new Map(
      CLOSE_REASONS.map((reason) => [
        reason,
        metrics.counter("weir_connections_closed_by_broker_total", "Connections that the broker closed.", { reason }),
      ]),
    );
    metrics.observedGauge("weir_connections", "Open connections.", () => this.connections.size);
    metrics.observedGauge("weir_accept_paused", "1 while a listener accepts no connections.", () =>
      this.pausedListeners.size > 0 ? 1 : 0,
    );
    metrics.observedGauge("weir_request_memory_used_bytes", "Request bytes charged to the budget.", () => this.gate.budget.usedBytes);
    metrics.observedGauge(
      "weir_frame_buffers_free_bytes",
      "Free buffers kept for requests to come.",
      () => this.shared.frameBuffers.freeBytes,
    );
    metrics.observedGauge("weir_request_memory_waiting", "Connections that wait for request memory.", () => this.gate.budget.waitingCount);
    this.shared = {
      clock,
      limits,
      gate: this.gate,
      dispatcher: this.dispatcher,
      isServing: false,
      frameBuffers: new BufferPool({
        clock,
        retainedBytes: Math.min(RETAINED_FRAME_BYTES, options.requestMemoryBytes),
        idleMs: FRAME_BUFFERS_IDLE_MS,
      }),
      staging: new Uint8Array(STAGING_BYTES),
      metrics: {
        receivedBytes: metrics.counter("weir_network_received_bytes_total", "Bytes read from clients."),
        sentBytes: metrics.counter("weir_network_sent_bytes_total", "Bytes written to clients."),
        countClose: (reason) => this.closes.get(reason)?.add(1),
      },
      logClosed: (connection, reason, message, clientId) => this.logClosed(connection, reason, message, clientId),
      handlerFailed: (connection, request, error) => this.handlerFailed(connection, request, error),
      forget: (connection) => this.forget(connection),
    };
  }

  /** Finds out whether the listeners could be opened now, without answering anyone. Throws the Trouble that `open` would. */
  check(listeners: readonly ListenerConfig[]): void {
    const silent: AcceptEvents = { accept: refuse, paused: () => {}, resumed: () => {} };
    const { transport, backlog } = this.options;
    for (const { host, port } of listeners) transport.listen({ host, port, backlog }, silent).close();
  }

  /**
   * Opens the listeners; answers them with their real ports. Connections are accepted and wait for `startServing`.
   * Throws a Trouble, and then none is open.
   */
  open(listeners: readonly ListenerConfig[]): readonly ListenerConfig[] {
    try {
      const opened = listeners.map((listener) => ({ ...listener, port: this.listen(listener).port }));
      this.scheduleSweep();
      return opened;
    } catch (error) {
      this.closeListeners();
      throw error;
    }
  }

  /**
   * New bounds for connections: who waits in the backlog comes in when there is room now. When more are open than `max.connections` allows, those that were silent for
   * longest are closed, as in Kafka.
   */
  limitAccepting(limits: AcceptLimits): void {
    this.accepting.setLimits(limits);
    const { excess } = this.accepting;
    if (excess === 0) return;
    const bySilence = [...this.connections].sort((left, right) => left.lastActiveMs - right.lastActiveMs);
    for (const connection of bySilence.slice(0, excess)) {
      this.closes.get("excess")?.add(1);
      connection.terminate();
    }
    this.options.logger.warn("server.excess-closed", "max.connections was lowered: the connections silent for longest were closed", {
      closed: excess,
      maxConnections: limits.maxConnections,
    });
  }

  startServing(handlers: readonly ApiHandler[]): void {
    this.dispatcher.setHandlers(handlers);
    this.shared.isServing = true;
    for (const connection of [...this.connections]) connection.startServing();
  }

  /** Ends everything at once: the broker is fenced or could not start. */
  abort(): void {
    this.isDraining = true;
    this.closeListeners();
    for (const connection of [...this.connections]) connection.terminate();
    this.sweep?.cancel();
  }

  get connectionCount(): number {
    return this.connections.size;
  }

  /** Accepts no more, answers what has come, and closes; after `deadlineMs` whatever is left is cut off. */
  async drain(deadlineMs: number): Promise<void> {
    this.isDraining = true;
    this.closeListeners();
    const emptied = new Promise<void>((resolve) => {
      this.onEmpty = resolve;
    });
    for (const connection of [...this.connections]) connection.drain();
    if (this.connections.size > 0) {
      const deadline = this.options.clock.schedule(deadlineMs, () => {
        for (const connection of [...this.connections]) connection.terminate();
      });
      await emptied;
      deadline.cancel();
    }
    this.sweep?.cancel();
  }

  private listen({ name, host, port }: ListenerConfig): TransportListener {
    const { transport, backlog } = this.options;
    const opened = transport.listen(
      { host, port, backlog },
      {
        accept: (socket) => this.accept(name, socket),
        paused: (reason) => this.noteAccepting(`descriptors ${name}`, name, reason),
        resumed: () => this.noteAccepting(`descriptors ${name}`, name, undefined),
      },
    );
    this.listeners.set(name, opened);
    this.accepting.addListener(name);
    return opened;
  }

  private accept(listenerName: string, socket: TransportConnection): ConnectionEvents {
    if (!this.accepting.opened(listenerName, socket.remoteAddress)) {
      this.closes.get("per-address")?.add(1);
      this.options.logger.warn("connection.refused", "this address has as many connections as max.connections.per.ip allows it", {
        remote: socket.remoteAddress,
        listener: listenerName,
      });
      return refuse(socket);
    }
    const connection = new Connection(this.nextConnectionId++, listenerName, socket, this.shared);
    this.connections.add(connection);
    this.gate.connections.add(connection);
    this.accepted.add(1);
    if (this.isDraining) connection.drain();
    return connection;
  }

  private holdListener(name: string, reason: string | undefined, isBrief: boolean): void {
    this.listeners.get(name)?.hold?.(reason !== undefined);
    this.noteAccepting(`bound ${name}`, name, isBrief ? undefined : reason);
    if (isBrief) this.pauseCount.add(1);
  }

  /** One line when a listener stops accepting for one kind of reason, one when it goes on. */
  private noteAccepting(what: string, listener: string, reason: string | undefined): void {
    const { logger } = this.options;
    const connections = this.connections.size;
    if (reason !== undefined) {
      this.pausedListeners.add(what);
      this.pauseCount.add(1);
      logger.warn("server.accept-paused", "new connections wait", { listener, reason, connections });
    } else if (this.pausedListeners.delete(what)) {
      logger.info("server.accept-resumed", "new connections are accepted again", { listener, connections });
    }
  }

  private closeListeners(): void {
    this.accepting.close();
    for (const listener of this.listeners.values()) listener.close();
    this.listeners.clear();
  }

  private scheduleSweep(): void {
    const everyMs = Math.min(SWEEP_MS, this.options.limits.progressTimeoutMs);
    this.sweep = this.options.clock.schedule(everyMs, () => {
      const nowMs = this.options.clock.monotonicMs();
      for (const connection of [...this.connections]) connection.checkDeadlines(nowMs);
      this.scheduleSweep();
    });
  }

  private forget(connection: Connection): void {
    this.connections.delete(connection);
    this.gate.connections.delete(connection);
    this.accepting.closed(connection.listenerName, connection.remoteAddress);
    if (this.connections.size === 0) this.onEmpty?.();
  }

  private logClosed(connection: Connection, reason: CloseReason, message: string, clientId: string | null): void {
    this.closes.get(reason)?.add(1);
    this.options.logger.warn("connection.closed-by-broker", message, {
      reason,
      client: clientId,
      software: `${connection.clientSoftwareName} ${connection.clientSoftwareVersion}`,
      remote: connection.remoteAddress,
      listener: connection.listenerName,
    });
  }

  private handlerFailed(connection: Connection, request: RoutedRequest, error: unknown): void {
    if (error instanceof AssertionFailure) {
      this.options.onBug(error);
      return;
    }
    this.closes.get("handler")?.add(1);
    const description =
      error instanceof Trouble
        ? `${error.code}: ${error.message}`
        : error instanceof Error
          ? (error.stack ?? error.message)
          : String(error);
    this.options.logger.error("request.failed", `${request.handler.api.name} version ${request.apiVersion} could not be answered`, {
      error: description,
      client: request.clientId,
      remote: connection.remoteAddress,
    });
  }
}
