/** Notices topics that come, go or grow among all the changes of metadata: consumer groups have to look at their subscriptions then. */
import type { ImageView, TopicView } from "../../metadata/cluster-metadata.ts";

/** Of names that came and went, remembered: who has looked at less has to look at all topics again. */
const MOST_CHANGES = 10_000;

export class TopicWatch {
  readonly #topics = new Map<string, TopicView>();
  #version: number;
  /** Names that came or went, the oldest first. */
  #changed: string[] = [];
  /** How many came before those in `#changed`. */
  #forgotten = 0;
  #image: ImageView;

  constructor(image: ImageView) {
    this.#version = image.slot;
    this.#image = image;
    for (const topic of image.topics()) this.#topics.set(topic.topicId, topic);
  }

  /** Rises with every such change; in a later life not below what it was before (it follows the metadata log's slots). */
  get version(): number {
    return this.#version;
  }

  get topicCount(): number {
    return this.#topics.size;
  }

  /** Rises with every name that comes or goes. */
  get position(): number {
    return this.#forgotten + this.#changed.length;
  }

  names(): string[] {
    return Array.from(this.#topics.values(), ({ name }) => name);
  }

  /** Names that came or went since `position` was as given, each with whether it is there now; undefined when that is too long ago. */
  changesSince(position: number): ReadonlyMap<string, boolean> | undefined {
    if (position < this.#forgotten) return undefined;
    return new Map(this.#changed.slice(position - this.#forgotten).map((name) => [name, this.#image.getTopic(name) !== undefined]));
  }

  /** True when there was one. `topicIds`: what changed in any way, "*" when that is not known. */
  note(image: ImageView, topicIds: ReadonlySet<string>): boolean {
    this.#image = image;
    const isChanged = topicIds.has("*") ? this.#noteAll(image) : this.#noteSome(image, topicIds);
    if (isChanged) this.#version = Math.max(this.#version + 1, image.slot);
    return isChanged;
  }

  #noteSome(image: ImageView, topicIds: ReadonlySet<string>): boolean {
    let isChanged = false;
    for (const topicId of topicIds) {
      const topic = image.getTopicById(topicId);
      const before = this.#topics.get(topicId);
      if (topic?.partitionCount === before?.partitionCount) continue;
      isChanged = true;
      if (topic === undefined) this.#topics.delete(topicId);
      else this.#topics.set(topicId, topic);
      const named = topic ?? before;
      if (named !== undefined && (topic === undefined || before === undefined)) this.#changed.push(named.name);
    }
    if (this.#changed.length > 2 * MOST_CHANGES) {
      const forgotten = this.#changed.length - MOST_CHANGES;
      this.#changed = this.#changed.slice(forgotten);
      this.#forgotten += forgotten;
    }
    return isChanged;
  }

  #noteAll(image: ImageView): boolean {
    const topicIds = new Set(this.#topics.keys());
    for (const { topicId } of image.topics()) topicIds.add(topicId);
    return this.#noteSome(image, topicIds);
  }
}
