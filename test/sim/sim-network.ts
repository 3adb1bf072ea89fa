/**
 * The network: byte streams between hosts, in order, in pieces of any size, with a bounded window. Delay, connections that are reset, half-open
 * connections (one direction has died and nobody is told), and partitions, during which everything waits as TCP's retransmission would have it.
 */
import { Trouble } from "../../src/base/trouble.ts";
import type {
  AcceptEvents,
  ConnectionEvents,
  ListenOptions,
  Transport,
  TransportConnection,
  TransportListener,
} from "../../src/server/transport.ts";
import type { Faults } from "./faults.ts";
import type { SimProcess } from "./process.ts";

const WINDOW_BYTES = 48 * 1024;
const TYPICAL_MS = 0.4;
const TAIL_MS = 800;

interface Listening {
  readonly process: SimProcess;
  readonly events: AcceptEvents;
  isClosed: boolean;
}

export class SimNetwork {
  readonly faults: Faults;
  private readonly listeners = new Map<string, Listening>();
  private readonly ends = new Set<End>();
  /** Hosts that are cut off until the time given. */
  private readonly cutOffUntilMs = new Map<string, number>();
  private nextPort = 40_000;

  constructor(faults: Faults) {
    this.faults = faults;
  }

  transportOf(process: SimProcess): Transport {
    return {
      listen: (options, events) => this.listen(process, options, events),
      connect: (host, port, events) => this.connect(process, host, port, events),
    };
  }

  /** Packets from and to the host wait until then. */
  cutOff(host: string, untilMs: number): void {
    this.cutOffUntilMs.set(host, untilMs);
  }

  heal(nowMs: number): void {
    for (const host of this.cutOffUntilMs.keys()) this.cutOffUntilMs.set(host, nowMs);
  }

  waitOf(hostA: string, hostB: string, nowMs: number): number {
    return Math.max(0, (this.cutOffUntilMs.get(hostA) ?? 0) - nowMs, (this.cutOffUntilMs.get(hostB) ?? 0) - nowMs);
  }

  /** Resets up to `count` connections. */
  resetSome(count: number, pick: (bound: number) => number): void {
    const open = [...this.ends];
    for (let index = 0; index < count && open.length > 0; index++) open.splice(pick(open.length), 1)[0]?.reset();
  }

  forget(end: End): void {
    this.ends.delete(end);
  }

  private listen(process: SimProcess, options: ListenOptions, events: AcceptEvents): TransportListener {
    const port = options.port === 0 ? this.nextPort++ : options.port;
    const place = `${process.host}:${port}`;
    const before = this.listeners.get(place);
    if (before !== undefined && !before.isClosed && !before.process.isDead) {
      throw new Trouble({ code: "listen-port-in-use", message: `${place} is in use`, retryable: false });
    }
    const listening: Listening = { process, events, isClosed: false };
    this.listeners.set(place, listening);
    process.deathListeners.add(() => {
      if (this.listeners.get(place) === listening) this.listeners.delete(place);
    });
    return {
      port,
      close: () => {
        listening.isClosed = true;
      },
    };
  }

  private connect(process: SimProcess, host: string, port: number, events: ConnectionEvents): Promise<TransportConnection> {
    const { promise, resolve, reject } = Promise.withResolvers<TransportConnection>();
    if (!process.effect("net.connect")) return promise;
    const { scheduler } = process;
    const wayMs = (): number => TYPICAL_MS * (0.5 + process.random.nextFloat()) + this.waitOf(process.host, host, scheduler.nowMs);
    const listening = this.listeners.get(`${host}:${port}`);
    if (listening === undefined || listening.isClosed || listening.process.isDead) {
      process.post(wayMs(), "net.refused", () => reject(new Error("connection refused")));
      return promise;
    }
    const client = new End(this, process, `${process.host}:${this.nextPort++}`);
    const server = new End(this, listening.process, `${process.host}:${this.nextPort}`);
    client.peer = server;
    server.peer = client;
    client.events = events;
    // The kernel of a paused process completes the handshake for it.
    listening.process.post(wayMs(), "net.accept", () => {
      if (listening.isClosed || client.isOver) return client.reset();
      this.ends.add(client);
      this.ends.add(server);
      server.events = listening.events.accept(server);
      server.deliverHeld();
    });
    process.post(2 * wayMs(), "net.connected", () => {
      if (client.isOver) return reject(new Error("connection reset"));
      resolve(client);
    });
    client.watchProcess();
    server.watchProcess();
    return promise;
  }
}

class End implements TransportConnection {
  readonly remoteAddress: string;
  readonly process: SimProcess;
  peer!: End;
  events: ConnectionEvents | undefined;
  isOver = false;
  private readonly network: SimNetwork;
  private wasTold = false;
  private isPaused = false;
  private isClosing = false;
  /** Packets that we send vanish. */
  private isDeaf = false;
  private inFlightBytes = 0;
  private wantsRoom = false;
  private lastArrivalMs = 0;
  private readonly held: Uint8Array[] = [];
  private readonly onDeath = (): void => {
    this.reset();
    this.drop();
  };

  constructor(network: SimNetwork, process: SimProcess, remoteAddress: string) {
    this.network = network;
    this.process = process;
    this.remoteAddress = remoteAddress;
  }

  /** A process that dies resets its connections. */
  watchProcess(): void {
    this.process.deathListeners.add(this.onDeath);
  }

  write(bytes: Uint8Array): number {
    if (this.isOver || this.isClosing || !this.process.effect("net.write")) return 0;
    const taken = Math.min(bytes.length, WINDOW_BYTES - this.inFlightBytes);
    if (taken < bytes.length) this.wantsRoom = true;
    if (taken <= 0) return 0;
    const { random } = this.process;
    const { rates, strikes } = this.network.faults;
    if (rates.netHalfOpen > 0 && random.nextFloat() < rates.netHalfOpen) {
      strikes.hit("net.half-open");
      this.isDeaf = true;
    }
    if (rates.netReset > 0 && random.nextFloat() < rates.netReset) {
      strikes.hit("net.reset");
      this.process.scheduler.post(undefined, random.nextFloat() * 2, "net.reset", () => this.reset());
    }
    this.inFlightBytes += taken;
    const cut = taken > 4 && random.chance(10) ? 1 + random.nextInt(taken - 1) : taken;
    this.send(bytes.slice(0, cut));
    if (cut < taken) this.send(bytes.slice(cut, taken));
    return taken;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    if (this.held.length > 0) this.process.post(0, "net.resumed", () => this.deliverHeld());
  }

  close(): void {
    if (this.isOver || this.isClosing) return;
    this.isClosing = true;
    const { peer } = this;
    if (!this.isDeaf) peer.process.post(this.arrivalIn(), "net.fin", () => peer.end());
    this.process.post(TYPICAL_MS, "net.closed", () => this.end());
  }

  terminate(): void {
    this.reset();
  }

  /** Both sides lose what is in flight. */
  reset(): void {
    if (this.isOver) return;
    const { peer } = this;
    this.isOver = true;
    this.process.post(0, "net.ended", () => this.end());
    if (this.isDeaf || peer.isDeaf) return;
    const waitMs = this.network.waitOf(this.process.host, peer.process.host, this.process.scheduler.nowMs);
    peer.process.post(TYPICAL_MS + waitMs, "net.rst", () => {
      peer.isOver = true;
      peer.end();
    });
  }

  deliverHeld(): void {
    while (!this.isPaused && this.held.length > 0 && this.events !== undefined && !this.wasTold) this.take(this.held.shift()!);
  }

  private send(chunk: Uint8Array): void {
    if (this.isDeaf) return;
    const { peer } = this;
    this.process.scheduler.note("net.send", this.process.number, chunk.length);
    peer.process.post(this.arrivalIn(), "net.chunk", () => peer.arrive(chunk));
  }

  private arrivalIn(): number {
    const { random, scheduler } = this.process;
    const { rates, strikes } = this.network.faults;
    let delayMs = TYPICAL_MS * (0.3 + random.nextFloat());
    if (rates.netTail > 0 && random.nextFloat() < rates.netTail) {
      strikes.hit("net.slow");
      delayMs += random.nextFloat() * TAIL_MS;
    }
    delayMs += this.network.waitOf(this.process.host, this.peer.process.host, scheduler.nowMs);
    // In order: an event's own lateness is below half a millisecond.
    this.lastArrivalMs = Math.max(this.lastArrivalMs + 0.5, scheduler.nowMs + delayMs);
    return this.lastArrivalMs - scheduler.nowMs;
  }

  private arrive(chunk: Uint8Array): void {
    if (this.isOver || this.wasTold) return;
    if (this.isPaused || this.events === undefined || this.held.length > 0) this.held.push(chunk);
    else this.take(chunk);
  }

  private take(chunk: Uint8Array): void {
    const { peer } = this;
    peer.inFlightBytes -= chunk.length;
    if (peer.wantsRoom) {
      peer.wantsRoom = false;
      peer.process.post(0, "net.drained", () => {
        if (!peer.wasTold && !peer.isOver) peer.events?.drained();
      });
    }
    this.events?.data(chunk);
  }

  private end(): void {
    if (this.wasTold) return;
    this.wasTold = true;
    this.isOver = true;
    const { events } = this;
    this.drop();
    events?.ended();
  }

  /** Whoever still knows this end keeps nothing alive by it: a dead broker's memory is gone. */
  private drop(): void {
    this.network.forget(this);
    this.process.deathListeners.delete(this.onDeath);
    this.events = undefined;
    this.held.length = 0;
  }
}
