/**
 * Finds segment objects that were uploaded and never committed because their writer ended first. An unreferenced object is such an orphan only when the
 * broker epoch in its key has ended: the image shows no broker with that epoch, and since it is no older than the end of the epoch, it
 * shows every commit made under it. No clock is asked, and an unknown key is left alone.
 */
import type { ClusterImage } from "../metadata/image.ts";
import { DATA_PREFIX, writerEpochOf } from "../metadata/keys.ts";
import type { ObjectStore } from "../objectstore/object-store.ts";

/** Deletes orphans and returns how many. Rejects with the store's Trouble. */
export async function sweepOrphans(store: ObjectStore, getImage: () => ClusterImage): Promise<number> {
  let deleted = 0;
  for (let after: string | undefined; ; ) {
    const page = await store.list(DATA_PREFIX, after);
    const image = getImage();
    const orphans = page.objects.map((object) => object.key).filter((key) => isOrphan(key, image));
    if (orphans.length > 0) await store.delete(orphans);
    deleted += orphans.length;
    after = page.next;
    if (after === undefined) return deleted;
  }
}

/** An epoch is the slot of its registration, so one above the image's slot has not been seen yet. */
function isOrphan(key: string, image: ClusterImage): boolean {
  const epoch = writerEpochOf(key);
  if (epoch === undefined || epoch > image.slot || image.parts.objects.get(key) !== undefined) return false;
  for (const broker of image.parts.brokersById.values()) {
    if (broker.brokerEpoch === epoch) return false;
  }
  return true;
}
