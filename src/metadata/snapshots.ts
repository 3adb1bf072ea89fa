/**
 * Snapshots in the bucket: writing one, loading the newest, and removing what they make superfluous.
 *
 * The two newest are kept. Order of removal: the floor is raised to just above the older one's slot, durably; then slots below the floor
 * go, then chunks that neither kept manifest names. So whoever is not below the floor finds every slot it needs, and a damaged newest
 * snapshot can be replaced by the older one and the log.
 */
import { Trouble } from "../base/trouble.ts";
import type { ObjectStore } from "../objectstore/object-store.ts";
import type { Logger } from "../telemetry/telemetry.ts";
import { DamagedBytes } from "./byte-codec.ts";
import type { Floor } from "./floor.ts";
import type { ClusterImage } from "./image.ts";
import { ImageLoader } from "./image-loader.ts";
import { chunkKey, LOG_PREFIX, manifestKey, SNAPSHOT_PREFIX, slotKey, snapshotSlotOf } from "./keys.ts";
import { type Crc32c, troubleOf } from "./log-batch.ts";
import {
  chunkHash,
  decodeChunk,
  decodeManifest,
  encodeChunks,
  encodeManifest,
  type SnapshotChunkRef,
  type SnapshotManifest,
} from "./snapshot-format.ts";

export interface SnapshotsDependencies {
  readonly store: ObjectStore;
  readonly floor: Floor;
  readonly logger: Logger;
  readonly crc32c: Crc32c;
}

const MANIFESTS_KEPT = 2;
const LOAD_ATTEMPTS = 3;

export class Snapshots {
  readonly #deps: SnapshotsDependencies;
  /** Newest last; what is known to lie in the bucket. */
  #kept: SnapshotManifest[] = [];

  constructor(dependencies: SnapshotsDependencies) {
    this.#deps = dependencies;
  }

  /** Slot of the newest snapshot known here; 0 when none. */
  get newestSlot(): number {
    return this.#kept.at(-1)?.slot ?? 0;
  }

  /** The newest readable snapshot, or undefined when the bucket has none. Rejects with a Trouble when there are some and none can be read. */
  async load(clusterId: string): Promise<ClusterImage | undefined> {
    for (let attempt = 1; ; attempt++) {
      const slots = await this.#listManifestSlots();
      if (slots.length === 0) return undefined;
      const image = await this.#loadNewestOf(clusterId, slots, attempt === LOAD_ATTEMPTS);
      if (image !== undefined) return image;
    }
  }

  /** Writes a snapshot of `image`. Rejects with a Trouble; then nothing refers to what was written. */
  async write(image: ClusterImage): Promise<void> {
    const { store, floor, crc32c } = this.#deps;
    const known = new Map(this.#kept.at(-1)?.chunks.map((chunk) => [chunk.hash, chunk]));
    const chunks: SnapshotChunkRef[] = [];
    for (const bytes of encodeChunks(image, crc32c)) {
      const hash = chunkHash(bytes);
      const same = known.get(hash);
      if (same !== undefined && same.sizeBytes === bytes.length) {
        chunks.push(same);
        continue;
      }
      const key = chunkKey(image.slot, chunks.length);
      await store.put(key, bytes);
      chunks.push({ key, sizeBytes: bytes.length, hash });
    }
    const manifest = {
      clusterId: image.clusterId,
      slot: image.slot,
      imageHash: image.hash,
      floorStep: floor.step,
      floor: floor.value,
      chunks,
    };
    const key = manifestKey(image.slot);
    const { outcome } = await store.createOnce(key, encodeManifest(manifest, crc32c));
    // Somebody else's manifest of the same slot may name other chunks.
    this.#kept.push(outcome === "created" ? manifest : await this.#readManifest(image.slot));
    this.#kept = this.#kept.slice(-MANIFESTS_KEPT);
  }

  /** Raises the floor and removes what lies below it. Does nothing before there are two snapshots. */
  async prune(): Promise<void> {
    const older = this.#kept.at(-MANIFESTS_KEPT);
    if (older === undefined) return;
    const floor = older.slot + 1;
    await this.#deps.floor.raise(floor);
    await this.#deleteSlotsBelow(floor);
    await this.#deleteSnapshotsBefore(older.slot);
  }

  async #loadNewestOf(clusterId: string, slots: readonly number[], isLastAttempt: boolean): Promise<ClusterImage | undefined> {
    const { logger } = this.#deps;
    let failure: unknown;
    for (const slot of slots.slice(-MANIFESTS_KEPT).reverse()) {
      try {
        const manifest = await this.#readManifest(slot);
        const image = await this.#loadImage(clusterId, manifest);
        this.#kept = [manifest];
        return image;
      } catch (error) {
        if (!(error instanceof Trouble) || !error.code.startsWith("metadata-")) throw error;
        logger.error("metadata.snapshot-unreadable", error.message, { slot });
        failure ??= error;
      }
    }
    // Removed while it was being read, perhaps: a newer one is listed then.
    if (isLastAttempt) throw failure;
    return undefined;
  }

  async #loadImage(clusterId: string, manifest: SnapshotManifest): Promise<ClusterImage> {
    const { floor, crc32c } = this.#deps;
    const key = manifestKey(manifest.slot);
    const chunks = await Promise.all(manifest.chunks.map((chunk) => this.#readChunk(chunk)));
    const loader = new ImageLoader(clusterId);
    chunks.forEach((bytes, index) => {
      decodeChunk(bytes, manifest.chunks[index]!.key, crc32c, (kind, reader) => loader.add(kind, reader));
    });
    try {
      if (manifest.clusterId !== clusterId) throw new DamagedBytes(`it is of cluster ${manifest.clusterId}`);
      const image = loader.finish(manifest.slot, manifest.imageHash);
      floor.startFrom(manifest.floorStep, manifest.floor);
      return image;
    } catch (error) {
      throw troubleOf(error, key);
    }
  }

  async #readManifest(slot: number): Promise<SnapshotManifest> {
    const key = manifestKey(slot);
    return decodeManifest(await this.#require(key), key, this.#deps.crc32c);
  }

  async #readChunk(chunk: SnapshotChunkRef): Promise<Uint8Array> {
    const bytes = await this.#require(chunk.key);
    if (bytes.length === chunk.sizeBytes && chunkHash(bytes) === chunk.hash) return bytes;
    throw troubleOf(new DamagedBytes("is not the chunk that its manifest names"), chunk.key);
  }

  async #require(key: string): Promise<Uint8Array> {
    const bytes = await this.#deps.store.get(key);
    if (bytes === undefined) throw troubleOf(new DamagedBytes("is missing"), key);
    return bytes;
  }

  async #listManifestSlots(): Promise<number[]> {
    const { store } = this.#deps;
    const slots: number[] = [];
    for (let after: string | undefined; ; ) {
      const page = await store.list(SNAPSHOT_PREFIX, after);
      for (const { key } of page.objects) {
        const slot = snapshotSlotOf(key);
        if (slot !== undefined && key.endsWith("/manifest")) slots.push(slot);
      }
      after = page.next;
      if (after === undefined) return slots;
    }
  }

  async #deleteSlotsBelow(floor: number): Promise<void> {
    const { store } = this.#deps;
    const firstLive = slotKey(floor);
    for (let after: string | undefined; ; ) {
      const page = await store.list(LOG_PREFIX, after);
      const dead = page.objects.map((object) => object.key).filter((key) => key < firstLive);
      if (dead.length > 0) await store.delete(dead);
      after = dead.length === page.objects.length ? page.next : undefined;
      if (after === undefined) return;
    }
  }

  /** Manifests before `slot` first, so that no manifest names a missing chunk. */
  async #deleteSnapshotsBefore(slot: number): Promise<void> {
    const { store } = this.#deps;
    const named = new Set(this.#kept.flatMap((manifest) => manifest.chunks.map((chunk) => chunk.key)));
    const manifests: string[] = [];
    const chunks: string[] = [];
    for (let after: string | undefined; ; ) {
      const page = await store.list(SNAPSHOT_PREFIX, after);
      for (const { key } of page.objects) {
        const of = snapshotSlotOf(key);
        if (of === undefined || of >= slot || named.has(key)) continue;
        (key.endsWith("/manifest") ? manifests : chunks).push(key);
      }
      after = page.next;
      if (after === undefined) break;
    }
    if (manifests.length > 0) await store.delete(manifests);
    if (chunks.length > 0) await store.delete(chunks);
  }
}
