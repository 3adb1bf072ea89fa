/**
 * Compares what two servers answered, field by field. A difference is found first and only then looked up in `allowed.ts`; what is not listed there is a
 * divergence. Ids that servers choose are compared by identity: the same id of one server always stands for the same id of the other.
 */
import { type Allowances, ownNameLists } from "./allowed.ts";
import { viewAssignment } from "./embedded-view.ts";
import { viewRecords } from "./record-view.ts";
import type { Outcome, Played } from "./sequence-run.ts";
import { type Step, standIns } from "./step.ts";
import { UniformHistory } from "./uniform-view.ts";

export interface Difference {
  /** "Fetch" */
  readonly api: string;
  readonly version: number;
  /** "responses[].partitions[].errorCode" */
  readonly path: string;
  readonly weir: unknown;
  readonly kafka: unknown;
  readonly request: unknown;
  /** The objects that hold the field, innermost first. */
  readonly weirOwners: readonly Node[];
  readonly kafkaOwners: readonly Node[];
  /** The step's. */
  readonly isUnderWay: boolean;
}

export type Node = Readonly<Record<string, unknown>>;

/** Pairs of ids that stand for each other, by kind. */
export class Identities {
  readonly #toKafka = new Map<string, unknown>();
  readonly #toWeir = new Map<string, unknown>();

  constructor() {
    for (const [kind, id] of standIns) this.pair(kind, id, id);
  }

  /** True when the two may be the same thing: both new, or paired before. */
  pair(kind: string, weir: unknown, kafka: unknown): boolean {
    const weirKey = `${kind}:${String(weir)}`;
    const kafkaKey = `${kind}:${String(kafka)}`;
    if (!this.#toKafka.has(weirKey) && !this.#toWeir.has(kafkaKey)) {
      this.#toKafka.set(weirKey, kafka);
      this.#toWeir.set(kafkaKey, weir);
      return true;
    }
    return this.#toKafka.get(weirKey) === kafka && this.#toWeir.get(kafkaKey) === weir;
  }

  /** A name that both servers' ids of one thing share; undefined for an id that has not been paired. */
  commonName(kind: string, side: "weir" | "kafka", id: unknown): string | undefined {
    const other = side === "weir" ? this.#toKafka.get(`${kind}:${String(id)}`) : this.#toWeir.get(`${kind}:${String(id)}`);
    if (other === undefined) return undefined;
    return String(side === "weir" ? other : id);
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}

const keyFields = [
  "firstOffset",
  "name",
  "topic",
  "topicName",
  "groupId",
  "transactionalId",
  "key",
  "apiKey",
  "partitionIndex",
  "partition",
  "index",
  "resourceName",
];

const idFields: readonly (readonly [field: string, kind: string])[] = [
  ["topicId", "topic"],
  ["memberId", "member"],
  ["producerId", "producer"],
];

interface Keyed {
  readonly key: string;
  readonly item: unknown;
}

export class Comparison {
  readonly divergences: Difference[] = [];
  readonly #allowances: Allowances;
  readonly #identities: Identities;
  readonly #prefix: string;
  readonly #step: Step;
  readonly #request: unknown;

  constructor(step: Step, request: unknown, prefix: string, identities: Identities, allowances: Allowances) {
    this.#step = step;
    this.#request = request;
    this.#prefix = prefix;
    this.#identities = identities;
    this.#allowances = allowances;
  }

  compare(weir: Outcome, kafka: Outcome): void {
    if (weir.kind === "answer" && kafka.kind === "answer") this.#walk("", weir.value, kafka.value, [], []);
    else this.#walk("outcome", describeOutcome(weir), describeOutcome(kafka), [], []);
  }

  describe(path: string, weir: unknown, kafka: unknown, weirOwners: readonly Node[] = [], kafkaOwners: readonly Node[] = []): Difference {
    const { api, version, isUnderWay = false } = this.#step;
    return { api: api.name, version, path, weir, kafka, request: this.#request, weirOwners, kafkaOwners, isUnderWay };
  }

  /** True when it is allowed. */
  #report(path: string, weir: unknown, kafka: unknown, weirOwners: readonly Node[], kafkaOwners: readonly Node[]): boolean {
    const difference = this.describe(path, weir, kafka, weirOwners, kafkaOwners);
    const isPermitted = this.#allowances.permits(difference, this.#identities);
    if (!isPermitted) this.divergences.push(difference);
    return isPermitted;
  }

  #walk(path: string, weir: unknown, kafka: unknown, weirOwners: readonly Node[], kafkaOwners: readonly Node[]): void {
    if (weir instanceof Uint8Array && kafka instanceof Uint8Array) {
      if (Buffer.compare(weir, kafka) === 0) return;
      const [ours, theirs] = /(?:^a|\.memberA)ssignment$/.test(path) ? [viewAssignment(weir), viewAssignment(kafka)] : [];
      if (ours !== undefined && theirs !== undefined) this.#walk(path, ours, theirs, weirOwners, kafkaOwners);
      else if (path.endsWith(".records")) this.#walk(path, viewRecords(weir), viewRecords(kafka), weirOwners, kafkaOwners);
      else this.#report(path, weir, kafka, weirOwners, kafkaOwners);
    } else if (Array.isArray(weir) && Array.isArray(kafka)) this.#walkList(path, weir, kafka, weirOwners, kafkaOwners);
    else if (isNode(weir) && isNode(kafka)) {
      for (const key of new Set([...Object.keys(weir), ...Object.keys(kafka)])) {
        this.#walk(path === "" ? key : `${path}.${key}`, weir[key], kafka[key], [weir, ...weirOwners], [kafka, ...kafkaOwners]);
      }
    } else if (weir !== kafka || this.#allowances.isIdentity(path)) this.#report(path, weir, kafka, weirOwners, kafkaOwners);
  }

  #walkList(
    path: string,
    allWeir: readonly unknown[],
    allKafka: readonly unknown[],
    weirOwners: readonly Node[],
    kafkaOwners: readonly Node[],
  ): void {
    let weir = allWeir;
    let kafka = allKafka;
    if (ownNameLists.has(`${this.#step.api.name}.${path}`)) {
      weir = this.#own(weir);
      kafka = this.#own(kafka);
    }
    const isKeyed =
      weir.some((item) => this.#keyOf(item, "weir") !== undefined) || kafka.some((item) => this.#keyOf(item, "kafka") !== undefined);
    if (isKeyed) {
      const aligned = this.#align(path, this.#merge(weir, "weir"), this.#merge(kafka, "kafka"), weirOwners, kafkaOwners);
      if (aligned === undefined) return;
      ({ weir, kafka } = aligned);
    }
    if (weir.length !== kafka.length) {
      this.#report(`${path}[]length`, weir, kafka, weirOwners, kafkaOwners);
      return;
    }
    for (const [index, item] of weir.entries()) this.#walk(`${path}[]`, item, kafka[index], weirOwners, kafkaOwners);
  }

  /** Both lists in one order and with the same items, or undefined when they are about different things. */
  #align(path: string, weir: readonly Keyed[], kafka: readonly Keyed[], weirOwners: readonly Node[], kafkaOwners: readonly Node[]) {
    const weirKeys = weir.map(({ key }) => key);
    const kafkaKeys = kafka.map(({ key }) => key);
    if (weirKeys.join("\n") === kafkaKeys.join("\n")) return { weir: weir.map(({ item }) => item), kafka: kafka.map(({ item }) => item) };
    const hasSameItems = [...weirKeys].sort().join("\n") === [...kafkaKeys].sort().join("\n");
    const isPermitted = this.#report(`${path}[]${hasSameItems ? "order" : "items"}`, weirKeys, kafkaKeys, weirOwners, kafkaOwners);
    if (!hasSameItems && !isPermitted) return undefined;
    return {
      weir: sortByKey(weir.filter(({ key }) => kafkaKeys.includes(key))),
      kafka: sortByKey(kafka.filter(({ key }) => weirKeys.includes(key))),
    };
  }

  /** With keys; the parts of a topic that is listed in several parts are put together. */
  #merge(items: readonly unknown[], side: "weir" | "kafka"): readonly Keyed[] {
    const keyed: { key: string; item: unknown }[] = [];
    for (const item of items) {
      const key = this.#keyOf(item, side) ?? "";
      const before = keyed.find((one) => one.key === key);
      const whole = before === undefined ? undefined : addParts(before.item, item);
      if (before === undefined || whole === undefined) keyed.push({ key, item });
      else {
        before.item = whole;
        this.#allowances.countSplitTopic();
      }
    }
    return keyed;
  }

  /** What an item of a list is about, the same for both servers; undefined when it has no name. */
  #keyOf(item: unknown, side: "weir" | "kafka"): string | undefined {
    if (typeof item === "number" || typeof item === "string") return String(item);
    if (!isNode(item)) return undefined;
    const parts = keyFields.filter((field) => isName(item[field])).map((field) => String(item[field]));
    for (const [field, kind] of idFields) {
      const name = item[field] === undefined ? undefined : this.#identities.commonName(kind, side, item[field]);
      if (name !== undefined) parts.push(name);
    }
    return parts.length === 0 ? undefined : parts.join("/");
  }

  /** Items that carry a name of this sequence: what others left on the server is not compared. */
  #own(items: readonly unknown[]): readonly unknown[] {
    const own = items.filter((item) => {
      const key = this.#keyOf(item, "kafka");
      return key?.startsWith(this.#prefix) && "-_.".includes(key.charAt(this.#prefix.length));
    });
    if (own.length < items.length) this.#allowances.countOwnNames();
    return own;
  }
}

function isName(value: unknown): boolean {
  return typeof value === "number" || typeof value === "bigint" || (typeof value === "string" && value !== "");
}

/** Two listings of one topic as one; undefined when they are not that. */
function addParts(first: unknown, second: unknown): Node | undefined {
  if (!isNode(first) || !isNode(second)) return undefined;
  for (const field of ["partitions", "partitionResponses"]) {
    const [some, more] = [first[field], second[field]];
    if (Array.isArray(some) && Array.isArray(more)) return { ...first, [field]: [...some, ...more] };
  }
  return undefined;
}

function sortByKey(items: readonly Keyed[]): readonly unknown[] {
  return [...items].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)).map(({ item }) => item);
}

function describeOutcome(outcome: Outcome): unknown {
  if (outcome.kind === "silent") return outcome.isOpen ? "no answer, still open" : "closed";
  return outcome.kind === "answer" ? outcome.value : outcome.kind === "garbled" ? `garbled: ${outcome.message}` : outcome.kind;
}

export interface ComparedRuns {
  readonly divergences: readonly { readonly at: number; readonly difference: Difference }[];
  /** Requests whose answers were compared: those after a divergence, or after an allowance that ends the sequence, were not. */
  readonly compared: number;
}

/**
 * Divergences of the first step that has any: after it the two servers may hold different things, and what follows from that is not told again.
 */
export function compareRuns(
  steps: readonly Step[],
  weir: readonly Played[],
  kafka: readonly Played[],
  prefix: string,
  allowances: Allowances,
  topicIds: readonly (readonly [weir: string, kafka: string])[],
): ComparedRuns {
  const identities = new Identities();
  for (const [ours, theirs] of topicIds) identities.pair("topic", ours, theirs);
  const uniform = new UniformHistory();
  const found: { readonly at: number; readonly difference: Difference }[] = [];
  allowances.hasEndedSequence = false;
  let compared = 0;
  for (const [at, step] of steps.entries()) {
    const ours = weir[at];
    const theirs = kafka[at];
    if (ours === undefined || theirs === undefined) throw new Error(`step ${at} was not played`);
    const answered = ours.outcome.kind === "answer" ? ours.outcome.value : undefined;
    if (allowances.hasParted({ api: step.api.name, request: ours.request, weir: answered, step })) break;
    compared++;
    const comparison = new Comparison(step, ours.request, prefix, identities, allowances);
    comparison.compare(ours.outcome, theirs.outcome);
    for (const difference of comparison.divergences) found.push({ at, difference });
    if (step.api.name === "ConsumerGroupDescribe" && theirs.outcome.kind === "answer") {
      for (const moves of uniform.noteMoves(answered, theirs.outcome.value)) {
        if (moves.weir > moves.kafka) found.push({ at, difference: comparison.describe("groups[].moved", moves.weir, moves.kafka) });
      }
    }
    if (found.length > 0 || allowances.hasEndedSequence) break;
  }
  return { divergences: found, compared };
}
