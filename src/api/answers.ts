/** Small pieces that several handlers answer with. */
import { Trouble } from "../base/trouble.ts";
import type { BrokerView, ImageView } from "../metadata/cluster-metadata.ts";

/** How long a change waits for the controller when the client names no sensible time. */
export const MIN_DEADLINE_MS = 1_000;
export const MAX_DEADLINE_MS = 300_000;

/** A client's timeout (any int32) as a deadline of ours. */
export function clampDeadline(timeoutMs: number): number {
  return Math.min(Math.max(timeoutMs, MIN_DEADLINE_MS), MAX_DEADLINE_MS);
}

/**
 * An offset as a client sent it. What no log can hold becomes an offset that no log holds: -1 below zero, 2^53 - 1 above. The client gets the answer of
 * an offset out of range either way.
 */
export function toOffset(value: bigint): number {
  if (value < 0n) return -1;
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
}

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** Where clients of this listener reach a broker; undefined when the broker does not have the listener. */
export function findEndpoint(broker: BrokerView, listenerName: string): Endpoint | undefined {
  return broker.listeners.find((listener) => listener.name === listenerName);
}

export function findBroker(image: ImageView, nodeId: number): BrokerView | undefined {
  return image.brokers().find((broker) => broker.nodeId === nodeId && !broker.isFenced);
}

export interface NodeEndpointFields {
  readonly nodeId: number;
  readonly host: string;
  readonly port: number;
  readonly rack: string | null;
}

/** KIP-951: where the leaders named in an answer are. */
export function listNodeEndpoints(image: ImageView, nodeIds: Iterable<number>, listenerName: string): NodeEndpointFields[] {
  const endpoints: NodeEndpointFields[] = [];
  for (const nodeId of new Set(nodeIds)) {
    const broker = findBroker(image, nodeId);
    const endpoint = broker === undefined ? undefined : findEndpoint(broker, listenerName);
    if (broker === undefined || endpoint === undefined) continue;
    endpoints.push({ nodeId, host: endpoint.host, port: endpoint.port, rack: broker.rack ?? null });
  }
  return endpoints;
}

export function troubleCode(error: unknown): string | undefined {
  return error instanceof Trouble ? error.code : undefined;
}
