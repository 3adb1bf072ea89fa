/**
 * One request of a sequence, as data that both servers' runs are made from. What a server chose by itself (member ids, producer ids, topic ids,
 * session ids) is named by a reference and filled in from what that server answered, so that both get the same request in their own words.
 */
import type { AnyApiDefinition, ApiDefinition } from "../../../src/protocol/api-definition.ts";
import { ZERO_UUID } from "../../../src/protocol/reader.ts";

/** In requests in place of ids that no server has given out. */
export const absentTopicId = "AAAAAAAAAAAAAAAAAAAADg";
export const absentProducerId = 990_001n;
export const standIns: readonly (readonly [kind: string, id: string | bigint])[] = [
  ["topic", absentTopicId],
  ["producer", absentProducerId],
];

/** What one server has said in one run of a sequence. References that nothing has bound have stand-ins, so that a shortened sequence still runs. */
export class Bindings {
  /** Wall clock at the start of the run, the same for both servers; milliseconds. */
  readonly startedMs: number;
  readonly #values = new Map<string, string | number | bigint>();

  constructor(startedMs: number) {
    this.startedMs = startedMs;
  }

  set(reference: string, value: string | number | bigint): void {
    this.#values.set(reference, value);
  }

  string(reference: string, standIn: string): string {
    return String(this.#values.get(reference) ?? standIn);
  }

  number(reference: string, standIn: number): number {
    return Number(this.#values.get(reference) ?? standIn);
  }

  bigint(reference: string, standIn: bigint): bigint {
    return BigInt(this.#values.get(reference) ?? standIn);
  }

  /** The id that this server gave the topic; one that no topic has when it never said. */
  topicId(name: string): string {
    return this.string(`topic:${name}`, absentTopicId);
  }

  /** Ids by name, each the last that the topic had. */
  topicIds(): ReadonlyMap<string, string> {
    const ids = new Map<string, string>();
    for (const [reference, value] of this.#values) if (reference.startsWith("topic:")) ids.set(reference.slice(6), String(value));
    return ids;
  }

  /** "" when this server never named it. */
  topicName(id: string): string {
    for (const [reference, value] of this.#values) if (value === id && reference.startsWith("topic:")) return reference.slice(6);
    return "";
  }

  bindTopic(name: string | null, id: string): void {
    if (name !== null && id !== ZERO_UUID) this.set(`topic:${name}`, id);
  }
}

/** What must have come to rest on a server before the next request: the controller's and the coordinators' work goes on after an answer. */
export type Settle =
  | { readonly kind: "topic"; readonly name: string; readonly partitions: number }
  | { readonly kind: "no-topic"; readonly name: string }
  | { readonly kind: "no-offsets"; readonly topic: string; readonly groups: readonly string[] }
  | { readonly kind: "transaction"; readonly id: string }
  /** `value` undefined: not the topic's own any more. */
  | { readonly kind: "setting"; readonly topic: string; readonly setting: string; readonly value: string | null | undefined }
  | { readonly kind: "group-state"; readonly group: string; readonly state: string }
  /** The coordinators of consumer groups see the topic with its partitions, or that it is gone (0). */
  | { readonly kind: "coordinators"; readonly groups: readonly string[]; readonly topic: string; readonly partitions: number }
  /** A pattern of the group's has been looked at. */
  | { readonly kind: "pattern"; readonly group: string; readonly pattern: string }
  /** So do the settings of groups; `probe`: a group of its own. */
  | { readonly kind: "group-settings"; readonly probe: string };

export interface Step {
  readonly api: AnyApiDefinition;
  readonly version: number;
  /** Constructors of the API's module, by which fields that the version lacks are set back to their defaults. */
  readonly module: object;
  readonly build: (bindings: Bindings) => unknown;
  readonly bind?: ((answer: unknown, bindings: Bindings) => void) | undefined;
  readonly settle?: (answer: unknown) => readonly Settle[];
  /** Answers with CONCURRENT_TRANSACTIONS are asked again until they say something else. */
  readonly retries?: boolean;
  /** The server sends nothing back (acks=0). */
  readonly isSilent?: boolean;
  /** When the server takes it, the two are known to hold different things (`allowed.ts`). */
  readonly parts?: boolean;
  /** A connection of its own, whose answer is waited for at the step that collects it. */
  readonly hold?: string;
  /** Not a request: the answer that a held request got. */
  readonly collect?: string;
  /** On the way to what a later step compares: how far a member has come is not compared here. */
  readonly isUnderWay?: boolean;
  /** Sent as it is in place of a coded request: versions and keys that nobody serves. */
  readonly rawHeader?: { readonly key: number; readonly version: number };
}

export interface StepOptions<Response> {
  readonly bind?: (answer: Response, bindings: Bindings) => void;
  readonly settle?: (answer: Response) => readonly Settle[];
  readonly retries?: boolean;
  readonly isSilent?: boolean;
  readonly parts?: boolean;
  readonly hold?: string;
  readonly isUnderWay?: boolean;
}

export function newStep<Request, Response>(
  module: object,
  api: ApiDefinition<Request, Response>,
  version: number,
  build: (bindings: Bindings) => Request,
  options: StepOptions<Response> = {},
): Step {
  const { bind, settle, ...rest } = options;
  return {
    api: api as AnyApiDefinition,
    version,
    module,
    build,
    ...(bind === undefined ? {} : { bind: (answer, bindings) => bind(answer as Response, bindings) }),
    ...(settle === undefined ? {} : { settle: (answer) => settle(answer as Response) }),
    ...rest,
  };
}
