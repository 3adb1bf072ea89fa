/**
 * The requests of one connection, in order of arrival. A serial request begins when all before it have been answered; a pipelined one as soon as
 * the one before it has been admitted. Answers leave in request order whatever order they come in.
 *
 * Invariant: at most one serial request runs, and then nothing else does.
 */
import type { ConnectionView } from "../api/handler.ts";
import type { Output } from "../protocol/writer.ts";
import type { Dispatcher, Rejection, RoutedRequest } from "./dispatcher.ts";
import type { MemoryLease } from "./memory-gate.ts";
import { releasePiece } from "./output-queue.ts";

interface Slot {
  request: RoutedRequest | Rejection;
  readonly lease: MemoryLease;
  state: "waiting" | "running" | "answered";
  /** undefined when none is sent. */
  output: Output | undefined;
}

export interface RequestLineEvents {
  /** An answer, in request order. */
  send(output: Output): void;
  /** All before it is answered and sent; this one ends the connection. */
  rejected(rejection: Rejection): void;
  /** A handler failed: the connection ends. */
  failed(request: RoutedRequest, error: unknown): void;
  /** The line has become shorter. */
  shortened(): void;
}

export class RequestLine {
  private readonly dispatcher: Dispatcher;
  private readonly view: ConnectionView;
  private readonly events: RequestLineEvents;
  private readonly slots: Slot[] = [];
  /** Index of the first slot that has not begun. */
  private nextToBegin = 0;
  private isSerialRunning = false;
  private isAdmissionPending = false;
  private isClosed = false;
  private isAdvancing = false;

  constructor(dispatcher: Dispatcher, view: ConnectionView, events: RequestLineEvents) {
    this.dispatcher = dispatcher;
    this.view = view;
    this.events = events;
  }

  get length(): number {
    return this.slots.length;
  }

  /** The lease is given back when the request is done. */
  add(request: RoutedRequest | Rejection, lease: MemoryLease): void {
    this.slots.push({ request, lease, state: "waiting", output: undefined });
    this.advance();
  }

  /** The connection is gone: nothing begins or is sent any more; what runs gives its memory back when it ends. */
  close(): void {
    this.isClosed = true;
    for (const slot of this.slots) {
      if (slot.state === "waiting") slot.lease.release();
      else if (slot.state === "answered") for (const piece of slot.output?.pieces ?? []) releasePiece(piece);
    }
    this.slots.length = 0;
    this.nextToBegin = 0;
  }

  private advance(): void {
    if (this.isAdvancing) return;
    this.isAdvancing = true;
    try {
      let isChanged = true;
      while (isChanged && !this.isClosed) isChanged = this.emitAnswered() || this.beginNext();
    } finally {
      this.isAdvancing = false;
    }
  }

  private emitAnswered(): boolean {
    const head = this.slots[0];
    if (head?.state !== "answered") return false;
    this.slots.shift();
    this.nextToBegin--;
    if (head.output !== undefined) this.events.send(head.output);
    if (!this.isClosed) this.events.shortened();
    return true;
  }

  private beginNext(): boolean {
    const slot = this.slots[this.nextToBegin];
    if (slot === undefined || this.isSerialRunning || this.isAdmissionPending) return false;
    const { request } = slot;
    const isAlone = this.nextToBegin === 0;
    if (request.kind === "rejected") {
      if (isAlone) this.events.rejected(request);
      return false;
    }
    if (request.handler.kind === "serial" && !isAlone) return false;
    const decoded = this.dispatcher.decode(request);
    if (decoded.kind === "rejected") {
      slot.request = decoded;
      if (isAlone) this.events.rejected(decoded);
      return false;
    }
    slot.state = "running";
    this.nextToBegin++;
    this.begin(slot, request, decoded.message);
    return true;
  }

  private begin(slot: Slot, request: RoutedRequest, message: unknown): void {
    const { handler } = request;
    const context = this.dispatcher.contextOf(request, this.view);
    try {
      if (handler.kind === "serial") {
        this.isSerialRunning = true;
        const answer = handler.handle(message, context);
        if (answer instanceof Promise) this.await(slot, request, answer);
        else this.answered(slot, request, answer);
        return;
      }
      const { admitted, answer } = handler.begin(message, context);
      if (admitted !== undefined) {
        this.isAdmissionPending = true;
        const goOn = (): void => {
          this.isAdmissionPending = false;
          this.advance();
        };
        admitted.then(goOn, goOn);
      }
      this.await(slot, request, answer);
    } catch (error) {
      this.failed(slot, request, error);
    }
  }

  private await(slot: Slot, request: RoutedRequest, answer: Promise<unknown>): void {
    answer.then((response) => this.answered(slot, request, response)).catch((error: unknown) => this.failed(slot, request, error));
  }

  private answered(slot: Slot, request: RoutedRequest, response: unknown): void {
    const output = response === undefined ? undefined : this.dispatcher.encode(request, response);
    slot.state = "answered";
    slot.lease.release();
    this.dispatcher.recordAnswered(request);
    if (this.isClosed) {
      for (const piece of output?.pieces ?? []) releasePiece(piece);
      return;
    }
    slot.output = output;
    if (request.handler.kind === "serial") this.isSerialRunning = false;
    this.advance();
  }

  private failed(slot: Slot, request: RoutedRequest, error: unknown): void {
    if (slot.state === "running") slot.lease.release();
    slot.state = "answered";
    if (!this.isClosed) this.events.failed(request, error);
  }
}
