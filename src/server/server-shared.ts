/** What all connections of a server share. */
import type { BufferPool } from "../base/buffer-pool.ts";
import type { Clock } from "../base/clock.ts";
import type { Counter } from "../telemetry/telemetry.ts";
import type { Connection } from "./connection.ts";
import type { Dispatcher, RoutedRequest } from "./dispatcher.ts";
import type { MemoryGate } from "./memory-gate.ts";

export interface ConnectionLimits {
  /** socket.request.max.bytes */
  readonly maxFrameBytes: number;
  readonly maxPendingRequests: number;
  /** connections.max.idle.ms; negative: never. */
  readonly idleMs: number;
  readonly progressTimeoutMs: number;
}

/** Why the broker closed a connection; the label of a metric. */
export const CLOSE_REASONS = ["frame-size", "unserved", "malformed", "slow", "idle", "load", "handler", "per-address", "excess"] as const;
export type CloseReason = (typeof CLOSE_REASONS)[number];

export interface ServerShared {
  /** False while the broker starts: connections are accepted and wait. */
  readonly isServing: boolean;
  readonly clock: Clock;
  readonly dispatcher: Dispatcher;
  readonly gate: MemoryGate;
  readonly limits: ConnectionLimits;
  /** For frames that span chunks. */
  readonly frameBuffers: BufferPool;
  /** Where answers are gathered before a write; holds nothing between calls. */
  readonly staging: Uint8Array;
  readonly metrics: {
    readonly receivedBytes: Counter;
    readonly sentBytes: Counter;
    countClose(reason: CloseReason): void;
  };
  /** One log line and the metric. */
  logClosed(connection: Connection, reason: CloseReason, message: string, clientId: string | null): void;
  /** Logs, or ends the process when the error is a bug. */
  handlerFailed(connection: Connection, request: RoutedRequest, error: unknown): void;
  forget(connection: Connection): void;
}
