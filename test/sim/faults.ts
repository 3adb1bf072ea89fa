/** What may go wrong at present, and how often each kind of fault and crash point has struck. Rates are 0..1 per request. */
export interface FaultRates {
  /** 503: certainly not applied. */
  storeUnavailable: number;
  /** 409 to a createOnce. */
  storeConflict: number;
  storeLostReply: number;
  storeLostRequest: number;
  /** Applied up to seconds after the caller has given up. */
  storeDelayed: number;
  storeDuplicate: number;
  storePartialList: number;
  /** A listing takes seconds. */
  storeSlowList: number;
  /** A bit flips in a data object on its way to the reader. */
  storeBitFlip: number;
  storeTail: number;
  walError: number;
  walStall: number;
  /** A bit flips in what is read from the device. */
  walBitFlip: number;
  netReset: number;
  netHalfOpen: number;
  netTail: number;
}

export const CALM: Readonly<FaultRates> = {
  storeUnavailable: 0,
  storeConflict: 0,
  storeLostReply: 0,
  storeLostRequest: 0,
  storeDelayed: 0,
  storeDuplicate: 0,
  storePartialList: 0,
  storeSlowList: 0,
  storeBitFlip: 0,
  storeTail: 0,
  walError: 0,
  walStall: 0,
  walBitFlip: 0,
  netReset: 0,
  netHalfOpen: 0,
  netTail: 0,
};

/** The background noise of a bad day; bursts and outages come on top. */
export const STORMY: Readonly<FaultRates> = {
  storeUnavailable: 0.015,
  storeConflict: 0.02,
  storeLostReply: 0.015,
  storeLostRequest: 0.01,
  storeDelayed: 0.02,
  storeDuplicate: 0.03,
  storePartialList: 0.3,
  storeSlowList: 0.1,
  storeBitFlip: 0.01,
  storeTail: 0.008,
  walError: 0.003,
  walStall: 0.003,
  walBitFlip: 0.01,
  netReset: 0.0005,
  netHalfOpen: 0.0001,
  netTail: 0.005,
};

/** Every kind of fault that can strike; a soak in which one hardly did has shown little. */
export const FAULT_KINDS: readonly string[] = [
  "clock.jump",
  "clock.skew",
  "memory.poisoned",
  "net.half-open",
  "net.partition",
  "net.partition-then-end",
  "net.reset",
  "net.resets",
  "net.slow",
  "process.crash-in-start",
  "process.drain",
  "process.pause",
  "process.takeover-of-paused",
  "restart.empty-machine",
  "restart.same-machine",
  "store.409",
  "store.412",
  "store.503",
  "store.bit-flip",
  "store.delayed",
  "store.duplicate",
  "store.lost-reply",
  "store.lost-request",
  "store.outage",
  "store.short-page",
  "store.slow",
  "store.slow-list",
  "wal.bit-flip",
  "wal.eio",
  "wal.eio-burst",
  "wal.error-burst",
  "wal.landed-unanswered",
  "wal.lost-unflushed",
  "wal.read-eio",
  "wal.rot-at-rest",
  "wal.rot-below-committed",
  "wal.stall",
  "wal.torn",
];

/** What a process can be caught at: each call that reaches the outside. */
export const EFFECTS: readonly string[] = [
  "net.write",
  "store.createOnce",
  "store.get",
  "store.getTail",
  "store.list",
  "store.put",
  "store.delete",
  "wal.completion",
  "wal.flush",
  "wal.read",
  "wal.write",
];

/** Those that happen now and then only; named twice: so seldom that a crash waiting for one is mostly overtaken by something else. */
export const RARE_EFFECTS: readonly string[] = [
  "store.getTail",
  "store.getTail",
  "store.createOnce",
  "store.list",
  "store.put",
  "store.delete",
  "wal.flush",
  "wal.read",
  "wal.read",
];

/** What each start does once or a few times. */
export const START_EFFECTS: readonly string[] = ["wal.flush", "store.list", "store.getTail", "store.createOnce", "wal.write"];

export const CRASH_POINTS: readonly string[] = [
  ...EFFECTS.flatMap((effect) => [`before ${effect}`, `after ${effect}`]),
  "at rest",
  "cut off",
  "drained",
  "fenced",
];

/** Counts by name, in the order of first strike. */
export class Strikes {
  readonly counts = new Map<string, number>();
  total = 0;

  hit(kind: string): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    this.total++;
  }
}

export class Faults {
  rates: FaultRates;
  readonly strikes = new Strikes();
  readonly crashPoints = new Strikes();
  /** No request to the store is answered with anything but 503. */
  isStoreDown = false;
  /** Every write to the device fails. */
  isDeviceFailing = false;

  constructor(rates: FaultRates) {
    this.rates = rates;
  }

  heal(): void {
    this.rates = { ...CALM };
    this.isStoreDown = false;
    this.isDeviceFailing = false;
  }
}
