/**
 * One broker's view of the metadata log: follows it, keeps the image, and proposes batches for its next slot.
 *
 * Reading a slot is not enough to apply it: the floor is read after the slot, and if it lies above, the image is reloaded from a snapshot. Every applied
 * batch must lead to the image hash that it states.
 */
import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import { type Random, randomUuidBytes } from "../base/random.ts";
import { Trouble } from "../base/trouble.ts";
import type { ObjectStore } from "../objectstore/object-store.ts";
import type { Logger } from "../telemetry/telemetry.ts";
import { Floor } from "./floor.ts";
import { ClusterImage, emptyParts } from "./image.ts";
import { ImageDraft } from "./image-draft.ts";
import { slotKey } from "./keys.ts";
import { type Crc32c, decodeLogBatch, encodeLogBatch, type LogBatch } from "./log-batch.ts";
import type { MetadataRecord } from "./records.ts";
import { type SlotOutcome, SlotWriter } from "./slot-writer.ts";
import { Snapshots } from "./snapshots.ts";

export interface MetadataLogDependencies {
  /** Scoped to the cluster's folder. */
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly crc32c: Crc32c;
}

/** "*": everything may have changed (reload from a snapshot). */
export type ImageListener = (image: ClusterImage, changedTopicIds: ReadonlySet<string>) => void;

/** A batch that was evaluated against `draft` and waits for its slot. */
export interface Proposal {
  readonly draft: ImageDraft;
  readonly records: readonly MetadataRecord[];
  readonly nodeId: number;
}

const EVERYTHING: ReadonlySet<string> = new Set(["*"]);
const MAX_READ_WINDOW = 32;
const FIRST_READ_WINDOW = 4;

export class MetadataLog {
  readonly snapshots: Snapshots;
  readonly #deps: MetadataLogDependencies;
  readonly #floor: Floor;
  readonly #writer: SlotWriter;
  readonly #listeners: ImageListener[] = [];
  #image: ClusterImage;
  #bytesSinceSnapshot = 0;
  /** Reads and proposals take turns. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(clusterId: string, dependencies: MetadataLogDependencies) {
    const { store, logger, crc32c } = dependencies;
    this.#deps = dependencies;
    this.#floor = new Floor(store, crc32c);
    this.#writer = new SlotWriter({ ...dependencies, floor: this.#floor });
    this.snapshots = new Snapshots({ store, floor: this.#floor, logger, crc32c });
    this.#image = new ClusterImage(emptyParts(clusterId));
  }

  /** Reads the whole log. Rejects with a Trouble. `isNew`: the cluster was created just now, so there is no snapshot to look for. */
  static async open(clusterId: string, isNew: boolean, dependencies: MetadataLogDependencies): Promise<MetadataLog> {
    const log = new MetadataLog(clusterId, dependencies);
    if (!isNew) log.#image = (await log.snapshots.load(clusterId)) ?? log.#image;
    await log.readToEnd(FIRST_READ_WINDOW);
    return log;
  }

  get image(): ClusterImage {
    return this.#image;
  }

  /** Log bytes applied since the newest snapshot known here. */
  get bytesSinceSnapshot(): number {
    return this.#bytesSinceSnapshot;
  }

  onImage(listener: ImageListener): void {
    this.#listeners.push(listener);
  }

  /** Applies every slot that exists now. Rejects with a Trouble. */
  readToEnd(firstWindow = 1): Promise<void> {
    return this.#inTurn(() => this.#readToEnd(firstWindow));
  }

  /** One request: is there a next slot? If so, reads on. */
  pollSlot(): Promise<void> {
    return this.#inTurn(async () => {
      const next = await this.#deps.store.head(slotKey(this.#image.slot + 1));
      if (next !== undefined) await this.#readToEnd(FIRST_READ_WINDOW);
    });
  }

  /** One request: has the floor passed us by, so that the next slot will never be seen? If so, reads on. */
  pollFloor(): Promise<void> {
    return this.#inTurn(async () => {
      if ((await this.#floor.read()) > this.#image.slot + 1) await this.#readToEnd(FIRST_READ_WINDOW);
    });
  }

  /**
   * Tries to make a batch the next slot. "won": it is certain, and `image` is the draft's. "lost": read to the end, then evaluate anew. Rejects
   * only when `signal` aborts.
   */
  propose(proposal: Proposal, signal: AbortSignal): Promise<SlotOutcome> {
    return this.#inTurn(async () => {
      const { draft, records, nodeId } = proposal;
      if (draft.slot !== this.#image.slot + 1) return "lost";
      const nonce = Buffer.from(randomUuidBytes(this.#deps.random)).toString("base64url");
      const { clusterId } = this.#image;
      const controllerEpoch = draft.controller.epoch;
      const batch = { clusterId, slot: draft.slot, nonce, writerNodeId: nodeId, controllerEpoch, imageHashAfter: draft.hash, records };
      const bytes = encodeLogBatch(batch, this.#deps.crc32c);
      const outcome = await this.#writer.write(draft.slot, nonce, bytes, signal);
      if (outcome === "won") this.#adopt(draft, bytes.length);
      return outcome;
    });
  }

  /** Writes a snapshot of the image as it is now and removes what it makes superfluous. Rejects with a Trouble; the log goes on all the same. */
  async takeSnapshot(): Promise<void> {
    const bytesBefore = this.#bytesSinceSnapshot;
    await this.snapshots.write(this.#image);
    this.#bytesSinceSnapshot -= bytesBefore;
    await this.snapshots.prune();
  }

  async #readToEnd(firstWindow: number): Promise<void> {
    for (let window = firstWindow; ; window = Math.min(MAX_READ_WINDOW, window * 2)) {
      const first = this.#image.slot + 1;
      const keys = Array.from({ length: window }, (_, index) => slotKey(first + index));
      const found = await Promise.all(keys.map((key) => this.#deps.store.get(key)));
      // Read after the slots: what they held was live at this moment, or it is not applied.
      if ((await this.#floor.read()) > first) {
        await this.#reload();
        continue;
      }
      for (const [index, bytes] of found.entries()) {
        if (bytes === undefined) return;
        this.#applyBatch(bytes, keys[index]!);
      }
    }
  }

  async #reload(): Promise<void> {
    const image = await this.snapshots.load(this.#image.clusterId);
    const floor = await this.#floor.read();
    if (image === undefined || image.slot + 1 < floor) {
      throw new Trouble({
        code: "metadata-snapshot-missing",
        message: `the metadata log begins at slot ${floor}, and the newest snapshot is ${image === undefined ? "missing" : `of slot ${image.slot}`}`,
        remedy: "Restore the bucket's meta/snapshot/ objects; nothing was changed.",
        retryable: false,
      });
    }
    assert(image.slot > this.#image.slot, `snapshot of slot ${image.slot} for an image of slot ${this.#image.slot}`);
    this.#bytesSinceSnapshot = 0;
    this.#publish(image, EVERYTHING);
  }

  #applyBatch(bytes: Uint8Array, key: string): void {
    const batch = decodeLogBatch(bytes, key, this.#deps.crc32c);
    const draft = new ImageDraft(this.#image);
    if (batch.clusterId !== this.#image.clusterId || batch.slot !== draft.slot) {
      throw this.#mismatch(key, `it says slot ${batch.slot} of cluster ${batch.clusterId}`);
    }
    for (const record of batch.records) draft.apply(record);
    this.#verify(batch, draft, key);
    this.#adopt(draft, bytes.length);
  }

  #verify(batch: LogBatch, draft: ImageDraft, key: string): void {
    const { nodeId, epoch } = draft.controller;
    if (batch.controllerEpoch !== epoch || batch.writerNodeId !== nodeId) {
      throw this.#mismatch(
        key,
        `broker ${batch.writerNodeId} wrote it under epoch ${batch.controllerEpoch}; the controller is ${nodeId}, ${epoch}`,
      );
    }
    if (batch.imageHashAfter === draft.hash) return;
    throw this.#mismatch(key, `the image's hash is ${draft.hash.toString(16)}, the batch states ${batch.imageHashAfter.toString(16)}`);
  }

  #mismatch(key: string, what: string): Trouble {
    return new Trouble({
      code: "metadata-image-mismatch",
      message: `metadata slot ${key} does not follow the image before it: ${what}`,
      remedy: "Run all brokers of the cluster with releases that know each other's formats, and report this.",
      retryable: false,
    });
  }

  #adopt(draft: ImageDraft, bytes: number): void {
    this.#bytesSinceSnapshot += bytes;
    this.#publish(draft.done(), draft.changedTopicIds);
  }

  #publish(image: ClusterImage, changedTopicIds: ReadonlySet<string>): void {
    assert(image.slot > this.#image.slot, `image of slot ${image.slot} after slot ${this.#image.slot}`);
    this.#image = image;
    for (const listener of this.#listeners) listener(image, changedTopicIds);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work, work);
    this.#turn = result.catch(() => {});
    return result;
  }
}
