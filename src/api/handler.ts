/** What the server's dispatcher asks of an API's handler. One file per API key implements it. */
import type { ApiDefinition } from "../protocol/api-definition.ts";

export interface ConnectionView {
  readonly id: number;
  readonly listenerName: string;
  /** "127.0.0.1:51234" */
  readonly remoteAddress: string;
  /** Kafka principal, "User:ANONYMOUS" before there is authentication. */
  readonly principal: string;
  /** From ApiVersions v3+, "unknown" before. */
  clientSoftwareName: string;
  clientSoftwareVersion: string;
  /** Aborts when the connection closes; waits of its requests end with it. */
  readonly closed: AbortSignal;
}

export interface RequestContext {
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly clientId: string | null;
  readonly connection: ConnectionView;
}

/**
 * `undefined` as an answer: none is sent (Produce with acks=0). A handler that throws a Trouble or anything else closes the connection with a log line.
 */
export interface SerialHandler<Request, Response> {
  readonly kind: "serial";
  readonly api: ApiDefinition<Request, Response>;
  /** Versions we serve, within the definition's. */
  readonly minVersion: number;
  readonly maxVersion: number;
  /** Begins when every earlier request of the connection has been answered. */
  handle(request: Request, context: RequestContext): Response | undefined | Promise<Response | undefined>;
}

/** Requests of a connection that overlap: the next one may begin when `admitted` resolves (undefined: at once). Answers leave in request order all the same. */
export interface PipelinedHandler<Request, Response> {
  readonly kind: "pipelined";
  readonly api: ApiDefinition<Request, Response>;
  readonly minVersion: number;
  readonly maxVersion: number;
  /**
   * True: once the answer has settled nothing refers to the request's frame, also not the answer, so its memory is used again at once.
   * Only where a test poisons the frame.
   */
  readonly isFrameFreeAfterAnswer?: boolean;
  /** `request`'s frame belongs to the handler until the answer settles; records may be patched in place. */
  begin(
    request: Request,
    context: RequestContext,
  ): { readonly admitted: Promise<void> | undefined; readonly answer: Promise<Response | undefined> };
}

// biome-ignore lint/suspicious/noExplicitAny: a registry holds handlers of every message type; each is checked where it is made.
export type ApiHandler = SerialHandler<any, any> | PipelinedHandler<any, any>;
