/**
 * Transport on the runtime's TCP sockets. What was measured of them: each `data` event brings a fresh chunk that is safe to keep;
 * `write` returns the bytes taken and keeps nothing.
 *
 * Running out of descriptors: the runtime, when accept(2) fails with EMFILE, tries again without pause and burns a core. So accepting pauses
 * before that: the kernel gives the lowest free number, hence a new socket's number tells how many descriptors are open. While
 * paused, a duplicate keeps the listening socket, and the kernel goes on filling its backlog; a resumed listener adopts the duplicate.
 */
import { readFileSync } from "node:fs";
import type { Socket, TCPSocketListener } from "bun";
import { freeNow } from "../base/buffer-pool.ts";
import { Trouble } from "../base/trouble.ts";
import { closeDescriptor, duplicateDescriptor, setBacklog } from "./libc.ts";
import type { AcceptEvents, ConnectionEvents, ListenOptions, Transport, TransportConnection, TransportListener } from "./transport.ts";

/** Descriptors kept free for object store requests (the runtime makes at most 256 at once), the WAL, files. */
const RESERVED_DESCRIPTORS_MAX = 320;
/** Smaller chunks are left to the garbage collector, which frees many at once. */
const RECYCLED_FROM_BYTES = 16 * 1024;
const KEEP_ALIVE_DELAY_MS = 60_000;

interface SocketState {
  readonly events: ConnectionEvents;
}
type ServerSocket = Socket<SocketState | undefined>;
/** What both accepted and made connections are. */
type AnySocket = Pick<Socket, "write" | "pause" | "resume" | "end" | "terminate" | "remoteAddress" | "remotePort">;

/** "Max open files" of this process (the runtime has raised it to the hard limit at start). */
export function readDescriptorLimit(): number {
  const match = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
  return match === null ? Number.POSITIVE_INFINITY : Number(match[1]);
}

export class BunTransport implements Transport {
  private readonly highestDescriptor: number;
  private readonly limit: number;
  private readonly listeners = new Set<BunListener>();
  private readonly onBug: (error: unknown) => void;

  /** `onBug`: something was thrown out of an event; the runtime would hand it to the socket's error handler, where nobody would see it. */
  constructor(onBug: (error: unknown) => void, descriptorLimit = readDescriptorLimit()) {
    this.onBug = onBug;
    this.limit = descriptorLimit;
    this.highestDescriptor = descriptorLimit - Math.min(RESERVED_DESCRIPTORS_MAX, Math.ceil(descriptorLimit / 4));
  }

  listen(options: ListenOptions, events: AcceptEvents): TransportListener {
    const listener = new BunListener(options, events, this);
    this.listeners.add(listener);
    return listener;
  }

  /** Runs an event handler; what it throws is a bug. */
  guard(handler: () => void): void {
    try {
      handler();
    } catch (error) {
      this.onBug(error);
    }
  }

  async connect(host: string, port: number, events: ConnectionEvents): Promise<TransportConnection> {
    const socket = await Bun.connect<undefined>({
      hostname: host,
      port,
      data: undefined,
      socket: {
        data: (_, chunk) => this.guard(() => events.data(chunk)),
        drain: () => this.guard(() => events.drained()),
        close: () => this.guard(() => events.ended()),
        error: () => {},
      },
    });
    socket.setNoDelay(true);
    return new BunConnection(socket);
  }

  /** The reason to pause accepting when a new connection has got this descriptor, or undefined. */
  findShortage(descriptor: number): string | undefined {
    return descriptor >= this.highestDescriptor ? `descriptor ${descriptor} of ${this.limit} is in use` : undefined;
  }

  /** A connection has closed: there is room for another one. */
  tryAgain(): void {
    for (const listener of this.listeners) listener.endShortage();
  }

  forget(listener: BunListener): void {
    this.listeners.delete(listener);
  }
}

class BunConnection implements TransportConnection {
  readonly remoteAddress: string;
  private readonly socket: AnySocket;

  constructor(socket: AnySocket) {
    this.socket = socket;
    // A client that has reset the connection before it was accepted has no address any more, whatever the declared type says.
    const host = (socket.remoteAddress as string | undefined) ?? "gone";
    this.remoteAddress = host.includes(":") ? `[${host}]:${socket.remotePort}` : `${host}:${socket.remotePort}`;
  }

  write(bytes: Uint8Array): number {
    return Math.max(0, this.socket.write(bytes));
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  recycle(chunk: Uint8Array): void {
    if (chunk.length >= RECYCLED_FROM_BYTES) freeNow(chunk);
  }

  close(): void {
    this.socket.end();
  }

  terminate(): void {
    this.socket.terminate();
  }
}

class BunListener implements TransportListener {
  readonly port: number;
  private readonly options: ListenOptions;
  private readonly events: AcceptEvents;
  private readonly transport: BunTransport;
  private active: TCPSocketListener<SocketState | undefined> | undefined;
  /** Holds the listening socket while accepting is paused; -1 otherwise. */
  private heldDescriptor = -1;
  /** Why nothing is accepted: descriptors are short, or the owner says so. */
  private isShort = false;
  private isHeld = false;
  private isClosed = false;

  constructor(options: ListenOptions, events: AcceptEvents, transport: BunTransport) {
    this.options = options;
    this.events = events;
    this.transport = transport;
    this.active = this.open();
    this.port = this.active.port;
    const descriptor = descriptorOf(this.active);
    if (descriptor >= 0) setBacklog(descriptor, options.backlog);
  }

  private open(): TCPSocketListener<SocketState | undefined> {
    const { host, port } = this.options;
    try {
      if (host !== "") return this.bind({ hostname: host, port });
      try {
        return this.bind({ hostname: "::", port });
      } catch (error) {
        if ((error as { code?: string }).code === "EADDRINUSE") throw error;
        return this.bind({ hostname: "0.0.0.0", port });
      }
    } catch (error) {
      throw listenTrouble(host, port, error);
    }
  }

  private bind(place: { hostname: string; port: number; fd?: number }): TCPSocketListener<SocketState | undefined> {
    return Bun.listen<SocketState | undefined>({
      ...place,
      data: undefined,
      socket: {
        open: (socket) => this.transport.guard(() => this.opened(socket)),
        data: (socket, chunk) => this.transport.guard(() => socket.data?.events.data(chunk)),
        drain: (socket) => this.transport.guard(() => socket.data?.events.drained()),
        close: (socket) => this.transport.guard(() => this.closed(socket)),
        // A network error is followed by `close`; without a handler the runtime would print it.
        error: () => {},
      },
    });
  }

  private opened(socket: ServerSocket): void {
    const shortage = this.transport.findShortage(descriptorOf(socket));
    if (shortage !== undefined && !this.isShort) {
      this.isShort = true;
      if (this.stopAccepting()) this.events.paused(shortage);
      else this.isShort = false;
    }
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_DELAY_MS);
    const connection = new BunConnection(socket);
    socket.data = { events: this.events.accept(connection) };
  }

  private closed(socket: ServerSocket): void {
    const state = socket.data;
    socket.data = undefined;
    state?.events.ended();
    this.transport.tryAgain();
  }

  hold(isHeld: boolean): void {
    this.isHeld = isHeld;
    if (isHeld) this.stopAccepting();
    else this.goOnAccepting();
  }

  endShortage(): void {
    if (!this.isShort || this.isClosed) return;
    this.isShort = false;
    this.goOnAccepting();
    this.events.resumed();
  }

  /** False when it cannot be: without a duplicate the listening socket would be lost, so accepting goes on. */
  private stopAccepting(): boolean {
    if (this.active === undefined || this.isClosed) return true;
    this.heldDescriptor = duplicateDescriptor(descriptorOf(this.active));
    if (this.heldDescriptor < 0) return false;
    this.active.stop();
    this.active = undefined;
    return true;
  }

  private goOnAccepting(): void {
    if (this.heldDescriptor < 0 || this.isClosed || this.isShort || this.isHeld) return;
    const descriptor = this.heldDescriptor;
    this.heldDescriptor = -1;
    this.active = this.bind({ hostname: this.options.host === "" ? "::" : this.options.host, port: this.port, fd: descriptor });
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.active?.stop();
    if (this.heldDescriptor >= 0) closeDescriptor(this.heldDescriptor);
    this.heldDescriptor = -1;
    this.transport.forget(this);
  }
}

/** Present on the runtime's sockets and listeners, missing in its type declarations. */
function descriptorOf(socket: object): number {
  const { fd } = socket as { readonly fd?: number };
  return fd ?? -1;
}

function listenTrouble(host: string, port: number, error: unknown): Trouble {
  const code = (error as { code?: string }).code;
  const place = `${host === "" ? "*" : host}:${port}`;
  if (code === "EADDRINUSE") {
    return new Trouble({
      code: "listen-port-in-use",
      message: `listeners: cannot listen on ${place}: the port is in use`,
      remedy: "stop what listens there, or set another port",
      retryable: true,
      cause: error,
    });
  }
  if (code === "EACCES") {
    return new Trouble({
      code: "listen-failed",
      message: `listeners: cannot listen on ${place}: this user may not open the port`,
      remedy: "take a port above 1023, or give the process the right to it",
      retryable: false,
      cause: error,
    });
  }
  return new Trouble({
    code: "listen-bad-address",
    message: `listeners: cannot listen on ${place}: ${code ?? "the address does not resolve"}`,
    remedy: "name an address of this machine",
    retryable: false,
    cause: error,
  });
}
