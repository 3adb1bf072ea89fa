/**
 * From a frame to its handler and from an answer to bytes. An API key or version that is not served ends the connection, as Kafka does;
 * only ApiVersions answers a version it does not know, in version 0, so that a newer client can step back (KIP-511).
 */

import type { ApiHandler, ConnectionView, RequestContext } from "../api/handler.ts";
import type { Clock } from "../base/clock.ts";
import { DecodeError } from "../protocol/codec-error.ts";
import { Reader } from "../protocol/reader.ts";
import { type Output, Writer } from "../protocol/writer.ts";
import type { Counter, Histogram, Metrics } from "../telemetry/telemetry.ts";
import { type RequestPrefix, readClientId, readRequestPrefix, tryReadClientId } from "./request-header.ts";

const API_VERSIONS_KEY = 18;
const LATENCY_BUCKETS_SECONDS = [0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export interface RoutedRequest {
  readonly kind: "routed";
  readonly handler: ApiHandler;
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly clientId: string | null;
  readonly frame: Uint8Array;
  readonly bodyAt: number;
  /** Version that body and answer are coded in: `apiVersion`, or 0 for ApiVersions in a version that is not served. */
  readonly codedVersion: number;
  readonly receivedMs: number;
}

/** Why a connection must be closed; `message` names API and version, `clientId` the client. */
export interface Rejection {
  readonly kind: "rejected";
  readonly reason: "unserved" | "malformed";
  readonly message: string;
  readonly clientId: string | null;
}

interface ApiMetrics {
  readonly requests: Counter;
  readonly seconds: Histogram;
}

export class Dispatcher {
  private readonly handlers = new Map<number, { readonly handler: ApiHandler; readonly metrics: ApiMetrics }>();
  private readonly clock: Clock;
  private readonly metrics: Metrics;

  constructor(clock: Clock, metrics: Metrics) {
    this.clock = clock;
    this.metrics = metrics;
  }

  /** Before it, every API is unserved. */
  setHandlers(handlers: readonly ApiHandler[]): void {
    const { metrics } = this;
    for (const handler of handlers) {
      const labels = { api: handler.api.name };
      this.handlers.set(handler.api.key, {
        handler,
        metrics: {
          requests: metrics.counter("weir_requests_total", "Requests answered.", labels),
          seconds: metrics.histogram(
            "weir_request_seconds",
            "From the whole frame's arrival to the encoded answer.",
            LATENCY_BUCKETS_SECONDS,
            labels,
          ),
        },
      });
    }
  }

  route(frame: Uint8Array): RoutedRequest | Rejection {
    const reader = new Reader(frame);
    let prefix: RequestPrefix;
    try {
      prefix = readRequestPrefix(reader);
    } catch (error) {
      return malformed(`a request header cannot be read: ${describe(error)}`, null);
    }
    const { apiKey, apiVersion, correlationId } = prefix;
    const handler = this.handlers.get(apiKey)?.handler;
    if (handler === undefined) return unserved(`API key ${apiKey} version ${apiVersion} is not served`, frame);
    const isServed = apiVersion >= handler.minVersion && apiVersion <= handler.maxVersion;
    if (!isServed && apiKey !== API_VERSIONS_KEY) {
      const range = `${handler.minVersion} to ${handler.maxVersion}`;
      return unserved(`API key ${apiKey} (${handler.api.name}) version ${apiVersion} is not served, only ${range}`, frame);
    }
    try {
      const clientId = readClientId(reader, isServed ? handler.api.requestHeaderVersion(apiVersion) : 1);
      return {
        kind: "routed",
        handler,
        apiVersion,
        correlationId,
        clientId,
        frame,
        bodyAt: isServed ? reader.pos : frame.length,
        codedVersion: isServed ? apiVersion : 0,
        receivedMs: this.clock.monotonicMs(),
      };
    } catch (error) {
      return malformed(`the header of ${handler.api.name} version ${apiVersion} cannot be read: ${describe(error)}`, null);
    }
  }

  /** The request's message, or why it cannot be read. Errors that are not the sender's are thrown. */
  decode(request: RoutedRequest): { readonly kind: "decoded"; readonly message: unknown } | Rejection {
    try {
      return { kind: "decoded", message: request.handler.api.readRequest(new Reader(request.frame, request.bodyAt), request.codedVersion) };
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      return malformed(`${request.handler.api.name} version ${request.apiVersion} cannot be read: ${error.message}`, request.clientId);
    }
  }

  contextOf(request: RoutedRequest, connection: ConnectionView): RequestContext {
    return { apiVersion: request.apiVersion, correlationId: request.correlationId, clientId: request.clientId, connection };
  }

  /** The whole frame of the answer. */
  encode(request: RoutedRequest, response: unknown): Output {
    const { api } = request.handler;
    const writer = new Writer();
    writer.reserveFrameLength();
    writer.writeInt32(request.correlationId);
    if (api.responseHeaderVersion(request.codedVersion) >= 1) writer.writeTagSection(undefined);
    api.writeResponse(writer, response, request.codedVersion);
    return writer.finish();
  }

  recordAnswered(request: RoutedRequest): void {
    const metrics = this.handlers.get(request.handler.api.key)?.metrics;
    metrics?.requests.add(1);
    metrics?.seconds.observe((this.clock.monotonicMs() - request.receivedMs) / 1000);
  }
}

function malformed(message: string, clientId: string | null): Rejection {
  return { kind: "rejected", reason: "malformed", message, clientId };
}

function unserved(message: string, frame: Uint8Array): Rejection {
  return { kind: "rejected", reason: "unserved", message, clientId: tryReadClientId(frame) };
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
