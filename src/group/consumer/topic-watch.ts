/** Notices topics that come, go or grow among all the changes of metadata: consumer groups have to look at their subscriptions then. */
import type { ImageView } from "../../metadata/cluster-metadata.ts";

export class TopicWatch {
  readonly #partitionCounts = new Map<string, number>();
  #version: number;

  constructor(image: ImageView) {
    this.#version = image.slot;
    for (const { topicId, partitionCount } of image.topics()) this.#partitionCounts.set(topicId, partitionCount);
  }

  /** Rises with every such change; in a later life not below what it was before (it follows the metadata log's slots). */
  get version(): number {
    return this.#version;
  }

  /** True when there was one. `topicIds`: what changed in any way, "*" when that is not known. */
  note(image: ImageView, topicIds: ReadonlySet<string>): boolean {
    const isChanged = topicIds.has("*") ? this.#noteAll(image) : this.#noteSome(image, topicIds);
    if (isChanged) this.#version = Math.max(this.#version + 1, image.slot);
    return isChanged;
  }

  #noteSome(image: ImageView, topicIds: ReadonlySet<string>): boolean {
    let isChanged = false;
    for (const topicId of topicIds) {
      const count = image.getTopicById(topicId)?.partitionCount;
      if (count === this.#partitionCounts.get(topicId)) continue;
      isChanged = true;
      if (count === undefined) this.#partitionCounts.delete(topicId);
      else this.#partitionCounts.set(topicId, count);
    }
    return isChanged;
  }

  #noteAll(image: ImageView): boolean {
    const topicIds = new Set(this.#partitionCounts.keys());
    for (const { topicId } of image.topics()) topicIds.add(topicId);
    return this.#noteSome(image, topicIds);
  }
}
