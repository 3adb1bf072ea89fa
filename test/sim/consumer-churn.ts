/** Topics that come, go and grow while consumer groups subscribe to them, by name and by pattern. Nobody writes to them. */
import {
  createPartitionsApi,
  newCreatePartitionsRequest,
  newCreatePartitionsTopic,
} from "../../src/protocol/messages/create-partitions.ts";
import { deleteTopicsApi, newDeleteTopicState, newDeleteTopicsRequest } from "../../src/protocol/messages/delete-topics.ts";
import { type Answered, CoordinatorLink, ignoreLoss } from "./consumer-requests.ts";
import { type ClientPlace, createSimTopic, RETRIABLE } from "./sim-clients.ts";

export const GROWN = "grown";
const GROWN_MAX = 5;
const MAX_TOPICS = 3;
const CHURN_EVERY_MS = 5_000;
const UNKNOWN_TOPIC = 3;
const INVALID_PARTITIONS = 37;

export class TopicChurn {
  /** Those that are there. */
  readonly names: string[] = [];
  /** Makes no more changes; `isOver` when the one under way is certain. */
  isStopping = false;
  isOver = false;
  private created = 0;
  private grownTo = 1;

  async prepare(driver: ClientPlace): Promise<void> {
    await createSimTopic(driver, GROWN, this.grownTo);
  }

  async run(place: ClientPlace): Promise<void> {
    const { random, clock } = place.process;
    while (!this.isStopping) {
      await clock.sleep(random.nextFloat() * 2 * CHURN_EVERY_MS);
      if (this.isStopping) break;
      const oldest = this.names[0];
      if (this.grownTo < GROWN_MAX && random.chance(20)) await this.grow(place);
      else if (oldest !== undefined && (this.names.length > MAX_TOPICS || random.chance(40))) {
        this.names.shift();
        await this.delete(place, oldest);
      } else {
        const name = `reg-${++this.created}`;
        await createSimTopic(place, name, 1 + random.nextInt(3));
        this.names.push(name);
      }
    }
    this.isOver = true;
  }

  async grow(place: ClientPlace): Promise<void> {
    const count = ++this.grownTo;
    const topics = [newCreatePartitionsTopic({ name: GROWN, count, assignments: null })];
    const request = newCreatePartitionsRequest({ topics, timeoutMs: 8_000 });
    await change(place, INVALID_PARTITIONS, (link) =>
      link.ask("create-partitions", createPartitionsApi, 3, request, ({ results }) => results.map(({ errorCode }) => errorCode)),
    );
  }

  private async delete(place: ClientPlace, name: string): Promise<void> {
    const request = newDeleteTopicsRequest({ topics: [newDeleteTopicState({ name })], timeoutMs: 8_000 });
    await change(place, UNKNOWN_TOPIC, async (link) => {
      const answered = await link.ask("delete-topic", deleteTopicsApi, 6, request, ({ responses }) =>
        responses.map((one) => one.errorCode),
      );
      return { ...answered, answer: { results: answered.answer.responses } };
    });
  }
}

/** Until the change is made; `madeCode` says that it was, by an earlier try. */
async function change(
  place: ClientPlace,
  madeCode: number,
  ask: (link: CoordinatorLink) => Promise<Answered<{ readonly results: readonly { readonly errorCode: number }[] }>>,
): Promise<void> {
  const link = new CoordinatorLink(place);
  for (let isMade = false; !isMade; ) {
    const answered = await ask(link).catch(ignoreLoss);
    if (answered === false) continue;
    const code = answered.answer.results[0]?.errorCode ?? -1;
    isMade = code === 0 || code === madeCode;
    if (!isMade && !RETRIABLE.has(code)) place.history.find("unexpected-error", `a change of a topic is answered with error ${code}`);
  }
  link.close();
}
