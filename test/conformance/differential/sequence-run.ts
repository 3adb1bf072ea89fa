/** Plays a sequence to one server and keeps what it answered, request by request. */

import { apiVersionsApi, newApiVersionsRequest } from "../../../src/protocol/messages/api-versions.ts";
import {
  describeConfigsApi,
  newDescribeConfigsRequest,
  newDescribeConfigsResource,
} from "../../../src/protocol/messages/describe-configs.ts";
import { describeGroupsApi, newDescribeGroupsRequest } from "../../../src/protocol/messages/describe-groups.ts";
import { describeTransactionsApi, newDescribeTransactionsRequest } from "../../../src/protocol/messages/describe-transactions.ts";
import { readResponseHeader } from "../../../src/protocol/messages/headers.ts";
import {
  listOffsetsApi,
  newListOffsetsPartition,
  newListOffsetsRequest,
  newListOffsetsTopic,
} from "../../../src/protocol/messages/list-offsets.ts";
import { newOffsetFetchRequest, newOffsetFetchRequestGroup, offsetFetchApi } from "../../../src/protocol/messages/offset-fetch.ts";
import { Reader } from "../../../src/protocol/reader.ts";
import { encodeRequest, KafkaConnection } from "../../support/kafka-connection.ts";
import { readMetadata } from "../../support/raw-client.ts";
import { areGroupSettingsKnown, doCoordinatorsSee, isPatternKnown } from "./coordinator-probe.ts";
import { fit } from "./fit.ts";
import type { Bindings, Settle, Step } from "./step.ts";

export type Outcome =
  | { readonly kind: "answer"; readonly value: unknown }
  /** The server closed the connection. */
  | { readonly kind: "closed" }
  /** Neither answer nor close in time. */
  | { readonly kind: "nothing" }
  /** acks=0: whether the connection still serves. */
  | { readonly kind: "silent"; readonly isOpen: boolean }
  /** The answer does not decode. */
  | { readonly kind: "garbled"; readonly message: string }
  /** Sent on a connection of its own; its answer is collected later. */
  | { readonly kind: "held" };

export interface Played {
  readonly request: unknown;
  readonly outcome: Outcome;
}

/** A starved machine is slow; who answers nothing at all is not waited for often. */
const patienceMs = 40_000;
const settleMs = 40_000;
/** A transaction whose markers no partition takes is never done; longer than any other takes. */
const retryMs = 4000;
const pollMs = 2;
const concurrentTransactions = 51;
/** ConfigSource.DYNAMIC_TOPIC_CONFIG. */
const dynamicTopicConfig = 1;
const clientId = "differential";

function withPatience<T>(promise: Promise<T>, ms: number): Promise<T | "nothing"> {
  const { promise: timeout, resolve } = Promise.withResolvers<"nothing">();
  const timer = setTimeout(() => resolve("nothing"), ms);
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}

export function hasErrorCode(value: unknown, code: number): boolean {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return false;
  return Object.entries(value).some(([key, child]) => (/errorCode$/i.test(key) && child === code) || hasErrorCode(child, code));
}

export class SequenceRun {
  readonly #port: number;
  readonly #bindings: Bindings;
  readonly #servesTransactions: boolean;
  #main: KafkaConnection | undefined;
  #control: KafkaConnection | undefined;
  readonly #held = new Map<string, { readonly connection: KafkaConnection; readonly step: Step; readonly answer: Promise<Outcome> }>();
  #correlationId = 0;

  constructor(port: number, bindings: Bindings, servesTransactions: boolean) {
    this.#port = port;
    this.#bindings = bindings;
    this.#servesTransactions = servesTransactions;
  }

  async play(steps: readonly Step[]): Promise<Played[]> {
    const played: Played[] = [];
    try {
      for (const step of steps) played.push(await this.#playOne(step));
    } finally {
      this.#main?.close();
      this.#control?.close();
      for (const { connection } of this.#held.values()) connection.close();
    }
    return played;
  }

  async #playOne(step: Step): Promise<Played> {
    if (step.collect !== undefined) return { request: null, outcome: await this.#collect(step.collect) };
    const request = step.build(this.#bindings);
    fit(step, request);
    let outcome = await this.#send(step, request);
    const deadline = performance.now() + retryMs;
    while (
      step.retries &&
      outcome.kind === "answer" &&
      hasErrorCode(outcome.value, concurrentTransactions) &&
      performance.now() < deadline
    ) {
      await Bun.sleep(pollMs);
      outcome = await this.#send(step, request);
    }
    await this.#after(step, outcome);
    return { request, outcome };
  }

  /** What the answer binds, and what must come to rest. */
  async #after(step: Step, outcome: Outcome): Promise<void> {
    if (outcome.kind === "answer") step.bind?.(outcome.value, this.#bindings);
    if (step.settle === undefined || (outcome.kind !== "answer" && outcome.kind !== "held")) return;
    for (const settle of step.settle(outcome.kind === "answer" ? outcome.value : undefined)) await this.#settle(settle);
  }

  async #send(step: Step, request: unknown): Promise<Outcome> {
    const correlationId = ++this.#correlationId;
    const body = encodeRequest(step.api, step.version, request, correlationId, clientId);
    if (step.rawHeader !== undefined) {
      body.writeInt16BE(step.rawHeader.key, 0);
      body.writeInt16BE(step.rawHeader.version, 2);
    }
    if (step.hold !== undefined) return await this.#hold(step.hold, step, body, correlationId);
    if (this.#main === undefined || !this.#main.isOpen) this.#main = await KafkaConnection.open(this.#port);
    if (step.isSilent) return await this.#sendSilently(this.#main, body);
    const outcome = await this.#exchange(this.#main, step, body, correlationId);
    if (outcome.kind === "nothing") this.#main.close();
    return outcome;
  }

  async #exchange(connection: KafkaConnection, step: Step, body: Buffer, correlationId: number, ms = patienceMs): Promise<Outcome> {
    try {
      const answer = await withPatience(connection.exchange(body), ms);
      if (answer === "nothing") return { kind: "nothing" };
      return decode(step, answer, correlationId);
    } catch {
      return { kind: "closed" };
    }
  }

  /** A request without an answer, and behind it one that has one. */
  async #sendSilently(connection: KafkaConnection, body: Buffer): Promise<Outcome> {
    const length = Buffer.alloc(4);
    length.writeInt32BE(body.length);
    connection.sendBytes(Buffer.concat([length, body]));
    const probe = connection.request(apiVersionsApi, 0, newApiVersionsRequest()).then(
      () => true,
      () => false,
    );
    const isOpen = await withPatience(probe, patienceMs);
    if (isOpen === "nothing") {
      connection.close();
      return { kind: "nothing" };
    }
    return { kind: "silent", isOpen };
  }

  async #hold(name: string, step: Step, body: Buffer, correlationId: number): Promise<Outcome> {
    const connection = await KafkaConnection.open(this.#port);
    this.#held.set(name, { connection, step, answer: this.#exchange(connection, step, body, correlationId, settleMs) });
    return { kind: "held" };
  }

  async #collect(name: string): Promise<Outcome> {
    const held = this.#held.get(name);
    if (held === undefined) return { kind: "nothing" };
    const outcome = await held.answer;
    await this.#after({ ...held.step, settle: () => [] }, outcome);
    held.connection.close();
    this.#held.delete(name);
    return outcome;
  }

  // --- coming to rest ---

  async #settle(settle: Settle): Promise<void> {
    const deadline = performance.now() + (settle.kind === "transaction" ? retryMs : settleMs);
    while (!(await this.#isSettled(settle)) && performance.now() < deadline) await Bun.sleep(pollMs);
  }

  async #isSettled(settle: Settle): Promise<boolean> {
    if (this.#control === undefined || !this.#control.isOpen) this.#control = await KafkaConnection.open(this.#port);
    switch (settle.kind) {
      case "topic":
      case "no-topic":
        return await isTopicSettled(this.#control, this.#bindings, settle);
      case "no-offsets":
        return await areOffsetsGone(this.#control, settle);
      case "transaction":
        return this.#servesTransactions ? await isTransactionSettled(this.#control, settle.id) : true;
      case "setting":
        return await isSettingKnown(this.#control, settle);
      case "coordinators":
        return await doCoordinatorsSee(this.#control, this.#bindings, settle);
      case "pattern":
        return await isPatternKnown(this.#control, this.#bindings.startedMs, settle);
      case "group-settings":
        return await areGroupSettingsKnown(this.#control, `${this.#port}/${settle.probe}`, settle.probe);
      case "group-state": {
        const request = newDescribeGroupsRequest({ groups: [settle.group] });
        const answer = await this.#control.request(describeGroupsApi, 5, request);
        return answer.groups[0]?.groupState === settle.state;
      }
    }
  }
}

function decode(step: Step, body: Uint8Array, correlationId: number): Outcome {
  // An unserved version of ApiVersions is answered in version 0 (KIP-511).
  const versions = step.api.key === apiVersionsApi.key && step.version > 5 ? [0] : [step.version];
  let message = "";
  for (const version of versions) {
    try {
      const reader = new Reader(body);
      const header = readResponseHeader(reader, step.api.responseHeaderVersion(version));
      if (header.correlationId !== correlationId) throw new Error(`correlation id ${header.correlationId} where ${correlationId} was sent`);
      const value = step.api.readResponse(reader, version);
      reader.expectEnd();
      return { kind: "answer", value };
    } catch (error) {
      message = error instanceof Error ? error.message : String(error);
    }
  }
  return { kind: "garbled", message };
}

/** Metadata, leaders and logs all know the topic, or none does. */
async function isTopicSettled(
  control: KafkaConnection,
  bindings: Bindings,
  settle: Extract<Settle, { kind: "topic" | "no-topic" }>,
): Promise<boolean> {
  const answer = await readMetadata(control, [settle.name]);
  const [topic] = answer.topics;
  const partitions = Array.from({ length: settle.kind === "topic" ? settle.partitions : 1 }, (_, partitionIndex) =>
    newListOffsetsPartition({ partitionIndex, timestamp: -1n }),
  );
  const request = newListOffsetsRequest({ replicaId: -1, topics: [newListOffsetsTopic({ name: settle.name, partitions })] });
  const offsets = (await control.request(listOffsetsApi, 7, request)).topics[0]?.partitions ?? [];
  if (settle.kind === "no-topic") return topic?.errorCode !== 0 && offsets.every((offset) => offset.errorCode !== 0);
  if (topic === undefined || topic.errorCode !== 0 || topic.partitions.length < settle.partitions) return false;
  bindings.bindTopic(settle.name, topic.topicId);
  return topic.partitions.every((partition) => partition.leaderId >= 0) && offsets.every((offset) => offset.errorCode === 0);
}

async function isTransactionSettled(control: KafkaConnection, id: string): Promise<boolean> {
  const answer = await control.request(describeTransactionsApi, 0, newDescribeTransactionsRequest({ transactionalIds: [id] }));
  const [state] = answer.transactionStates;
  return state === undefined || !/^(?:Prepare|Unknown)/.test(state.transactionState) || state.errorCode === 105;
}

async function isSettingKnown(control: KafkaConnection, settle: Extract<Settle, { kind: "setting" }>): Promise<boolean> {
  const resource = newDescribeConfigsResource({ resourceType: 2, resourceName: settle.topic, configurationKeys: [settle.setting] });
  const answer = await control.request(describeConfigsApi, 4, newDescribeConfigsRequest({ resources: [resource] }));
  const config = answer.results[0]?.configs[0];
  const isOwn = config?.configSource === dynamicTopicConfig;
  return settle.value === undefined ? !isOwn : isOwn && config.value === settle.value;
}

/** No group has an offset of the topic: the coordinator hears of the deletion after everybody else. */
async function areOffsetsGone(control: KafkaConnection, settle: Extract<Settle, { kind: "no-offsets" }>): Promise<boolean> {
  const groups = settle.groups.map((groupId) => newOffsetFetchRequestGroup({ groupId, topics: null }));
  const answer = await control.request(offsetFetchApi, 8, newOffsetFetchRequest({ groups }));
  return answer.groups.every((group) => group.topics.every((topic) => topic.name !== settle.topic));
}
