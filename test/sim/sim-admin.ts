/**
 * Clients that change the cluster's metadata without pause: topics that only they know are created, listed and deleted. Every name is used once, so that "exists"
 * or "unknown" for a request that nobody has sent before is the trace of a change that was lost, or made twice.
 */
import { createTopicsApi, newCreatableTopic, newCreateTopicsRequest } from "../../src/protocol/messages/create-topics.ts";
import { deleteTopicsApi, newDeleteTopicState, newDeleteTopicsRequest } from "../../src/protocol/messages/delete-topics.ts";
import { metadataApi, newMetadataRequest, newMetadataRequestTopic } from "../../src/protocol/messages/metadata.ts";
import { ConnectionLost, type SimConnection } from "./sim-client.ts";
import { type ClientPlace, insist, RETRIABLE } from "./sim-clients.ts";

const UNKNOWN_TOPIC = 3;
const TOPIC_EXISTS = 36;
const MAX_TOPICS = 4;

export class SimAdmin {
  private readonly place: ClientPlace;
  private readonly name: string;
  private readonly topics: string[] = [];
  private created = 0;
  private isStopping = false;

  constructor(place: ClientPlace, name: string) {
    this.place = place;
    this.name = name;
  }

  /** Changes no more; `run` ends when the change under way is certain. */
  stop(): void {
    this.isStopping = true;
  }

  async run(): Promise<void> {
    const { pace, process } = this.place;
    const { random } = process;
    while (!this.isStopping) {
      const oldest = this.topics[0];
      if (oldest !== undefined && (this.topics.length >= MAX_TOPICS || random.chance(40))) await this.delete(oldest);
      else await this.create();
      do {
        await pace.next();
        await this.check();
      } while (pace.isBehind && !this.isStopping);
    }
  }

  /** What was acknowledged is listed, and what was deleted is not. */
  async check(): Promise<void> {
    const names = [...this.topics, ...(this.created > 0 ? [this.nameOf(1 + this.place.process.random.nextInt(this.created))] : [])];
    if (names.length === 0) return;
    await insist(this.place, async (connection) => {
      const wasCurrent = this.place.isCurrent(connection.host);
      const request = newMetadataRequest({
        topics: names.map((name) => newMetadataRequestTopic({ name })),
        allowAutoTopicCreation: false,
      });
      const answer = await connection.request(metadataApi, 8, request);
      this.place.done("metadata");
      // One that was replaced and does not know it yet has missed what came after.
      if (!wasCurrent || !this.place.isCurrent(connection.host)) throw await this.again();
      for (const { name, errorCode } of answer.topics) {
        const isDue = this.topics.includes(name ?? "");
        if (isDue && errorCode === UNKNOWN_TOPIC) this.find("lost-write", `topic ${name} was created, and is not there`);
        else if (!isDue && errorCode !== UNKNOWN_TOPIC) this.find("lost-write", `topic ${name} was deleted, and is still there`);
      }
    });
  }

  private nameOf(number: number): string {
    return `${this.name}-${number}`;
  }

  private async create(): Promise<void> {
    const name = this.nameOf(++this.created);
    await this.change("CreateTopics", name, TOPIC_EXISTS, async (connection) => {
      const topics = [newCreatableTopic({ name, numPartitions: 1, replicationFactor: 1 })];
      const answer = await connection.request(createTopicsApi, 7, newCreateTopicsRequest({ topics, timeoutMs: 8000 }));
      return answer.topics[0]?.errorCode ?? -1;
    });
    this.topics.push(name);
  }

  private async delete(name: string): Promise<void> {
    this.topics.splice(this.topics.indexOf(name), 1);
    await this.change("DeleteTopics", name, UNKNOWN_TOPIC, async (connection) => {
      const request = newDeleteTopicsRequest({ topics: [newDeleteTopicState({ name })], timeoutMs: 8000 });
      return (await connection.request(deleteTopicsApi, 6, request)).responses[0]?.errorCode ?? -1;
    });
  }

  /** Asks until the change is made; `isMadeCode` says that it was made before, which only an earlier attempt can have done. */
  private async change(what: string, name: string, isMadeCode: number, ask: (connection: SimConnection) => Promise<number>): Promise<void> {
    let attempts = 0;
    await insist(this.place, async (connection) => {
      attempts++;
      const wasCurrent = this.place.isCurrent(connection.host);
      const errorCode = await ask(connection);
      this.place.done(what === "CreateTopics" ? "create-topic" : "delete-topic");
      if (errorCode === 0) return;
      const isCurrent = wasCurrent && this.place.isCurrent(connection.host);
      if (errorCode === isMadeCode && attempts > 1 && isCurrent) return;
      if (errorCode === isMadeCode && isCurrent) this.find("duplicate", `${what} of ${name} was made before it was asked for`);
      else if (errorCode !== isMadeCode && !RETRIABLE.has(errorCode))
        this.find("unexpected-error", `${what} of ${name} was answered with error ${errorCode}`);
      throw await this.again();
    });
  }

  private find(anomaly: string, detail: string): void {
    this.place.history.find(anomaly, `${this.name}: ${detail}`);
  }

  private async again(): Promise<ConnectionLost> {
    await this.place.process.clock.sleep(50);
    return new ConnectionLost("again");
  }
}
