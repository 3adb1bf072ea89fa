/**
 * Decides whether the next connection may be accepted: counts connections, of each listener and each address, measures how fast they come, and holds listeners back
 * while a bound is reached, so that who comes then waits in the backlog. Only what is above the bound of its address is turned away.
 *
 * A rate is kept as Kafka keeps it, on average over a window: after a quiet time so many may come at once, and later ones as fast as the rate.
 */
import { assert } from "../base/assert.ts";
import type { Clock, TimerHandle } from "../base/clock.ts";
import { type AcceptLimits, canonicalAddress, type ListenerAcceptLimits } from "../config/accept-limits.ts";

/** Values of a setting from which on there is no limit: Kafka's default. */
const UNLIMITED = 2 ** 31 - 1;

interface ListenerState {
  connections: number;
  readonly meter: RateMeter;
  /** Whether it accepts nobody now: for as long as a bound is reached, or for a moment. */
  held: "no" | "full" | "fast";
}

export interface AcceptControlOptions {
  readonly clock: Clock;
  readonly limits: AcceptLimits;
  /** `reason` undefined: it accepts again. `isBrief`: by the rate, for a moment. */
  readonly onHold: (listener: string, reason: string | undefined, isBrief: boolean) => void;
}

export class AcceptControl {
  readonly #options: AcceptControlOptions;
  readonly #listeners = new Map<string, ListenerState>();
  readonly #addresses = new Map<string, number>();
  readonly #meter: RateMeter;
  #limits: AcceptLimits;
  #connections = 0;
  #timer: TimerHandle | undefined;
  #isClosed = false;

  constructor(options: AcceptControlOptions) {
    this.#options = options;
    this.#limits = options.limits;
    this.#meter = new RateMeter(options.clock.monotonicMs());
  }

  addListener(name: string): void {
    this.#listeners.set(name, { connections: 0, meter: new RateMeter(this.#options.clock.monotonicMs()), held: "no" });
    this.#weigh();
  }

  /** A connection has come. False: its address has as many as it may have; it is not counted, and must be closed. */
  opened(listenerName: string, remoteAddress: string): boolean {
    const listener = this.#listenerOf(listenerName);
    const nowMs = this.#options.clock.monotonicMs();
    this.#meter.count(nowMs);
    listener.meter.count(nowMs);
    const address = addressOf(remoteAddress);
    const ofAddress = this.#addresses.get(address) ?? 0;
    const isWelcome = ofAddress < (this.#limits.addressOverrides.get(address) ?? this.#limits.maxPerAddress);
    if (isWelcome) {
      this.#addresses.set(address, ofAddress + 1);
      this.#connections++;
      listener.connections++;
    }
    this.#weigh();
    return isWelcome;
  }

  closed(listenerName: string, remoteAddress: string): void {
    const address = addressOf(remoteAddress);
    const left = (this.#addresses.get(address) ?? 0) - 1;
    assert(left >= 0, `a connection of ${address} closed that was not counted`);
    if (left === 0) this.#addresses.delete(address);
    else this.#addresses.set(address, left);
    this.#connections--;
    this.#listenerOf(listenerName).connections--;
    this.#weigh();
  }

  setLimits(limits: AcceptLimits): void {
    this.#limits = limits;
    this.#weigh();
  }

  /** Connections above `max.connections`, after it was lowered. */
  get excess(): number {
    return Math.max(0, this.#connections - this.#limits.maxConnections);
  }

  /** Nobody is held any more, nor let go. */
  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #listenerOf(name: string): ListenerState {
    const listener = this.#listeners.get(name);
    assert(listener !== undefined, `no listener is named ${name}`);
    return listener;
  }

  /** Holds and frees listeners as the bounds say, and looks again when a rate allows the next one. */
  #weigh(): void {
    if (this.#isClosed) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    const nowMs = this.#options.clock.monotonicMs();
    let soonestMs = Number.POSITIVE_INFINITY;
    for (const [name, listener] of this.#listeners) {
      const own = this.#limits.getListener(name);
      let reason = this.#findFull(name, listener, own);
      let isBrief = false;
      if (reason === undefined) {
        const waitMs = Math.max(
          this.#meter.waitMs(nowMs, this.#limits.creationRate, this.#limits.rateWindowS),
          listener.meter.waitMs(nowMs, own.creationRate, this.#limits.rateWindowS),
        );
        if (waitMs > 0) {
          soonestMs = Math.min(soonestMs, waitMs);
          reason = `connections come faster than max.connection.creation.rate=${Math.min(this.#limits.creationRate, own.creationRate)}`;
          isBrief = true;
        }
      }
      const held = reason === undefined ? "no" : isBrief ? "fast" : "full";
      if (held === listener.held) continue;
      listener.held = held;
      this.#options.onHold(name, reason, isBrief);
    }
    if (soonestMs < Number.POSITIVE_INFINITY) this.#timer = this.#options.clock.schedule(Math.ceil(soonestMs), () => this.#weigh());
  }

  #findFull(name: string, { connections }: ListenerState, own: ListenerAcceptLimits): string | undefined {
    const { maxConnections } = this.#limits;
    if (this.#connections >= maxConnections) return `${this.#connections} connections are open, max.connections=${maxConnections}`;
    if (connections < own.maxConnections) return undefined;
    return `${connections} connections are open, listener.name.${name.toLowerCase()}.max.connections=${own.maxConnections}`;
  }
}

/** "127.0.0.1:50000", "[::1]:50000", "[::ffff:127.0.0.1]:50000": the address alone. */
function addressOf(remoteAddress: string): string {
  const host = remoteAddress.slice(0, remoteAddress.lastIndexOf(":")).replace(/^\[|\]$/g, "");
  return canonicalAddress(host) ?? host;
}

/** How many have come lately: falls by the rate as time goes by, so its level says how far the average is above it. */
class RateMeter {
  #level = 0;
  #rate = UNLIMITED;
  #atMs: number;

  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  count(nowMs: number): void {
    this.#settle(nowMs);
    this.#level++;
  }

  /** How long the next one must wait for `rate` to be kept on average over `windowS`; 0: not at all. */
  waitMs(nowMs: number, rate: number, windowS: number): number {
    this.#settle(nowMs);
    if (rate !== this.#rate) this.#level = 0;
    this.#rate = rate;
    if (rate >= UNLIMITED) this.#level = 0;
    const above = this.#level + 1 - rate * windowS;
    return above <= 0 ? 0 : (above / rate) * 1000;
  }

  #settle(nowMs: number): void {
    this.#level = Math.max(0, this.#level - ((nowMs - this.#atMs) / 1000) * this.#rate);
    this.#atMs = nowMs;
  }
}
