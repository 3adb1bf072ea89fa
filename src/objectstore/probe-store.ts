/**
 * Proves at start that the store honours If-None-Match: *: the metadata log's safety rests on it. A store that ignores it would let two
 * brokers write one slot. Uses a random key and removes it: four requests, one after another.
 */
import type { Random } from "../base/random.ts";
import { Trouble } from "../base/trouble.ts";
import type { ObjectStore, StoreCallOptions } from "./object-store.ts";
import { storeTrouble } from "./troubles.ts";

/** `store`: the cluster's folder, to which every key belongs. Rejects with Trouble "store-no-conditional-writes", or with whatever the store itself answers. */
export async function probeConditionalWrites(store: ObjectStore, random: Random, options?: StoreCallOptions): Promise<void> {
  const nonce = Buffer.from(random.fillBytes(new Uint8Array(16))).toString("hex");
  const key = `probe/${nonce}`;
  const bytes = Buffer.from(`conditional write probe ${nonce}\n`);
  const other = Buffer.from(`this must not replace it ${nonce}\n`);
  try {
    // An unknown outcome is fine here: either way the object is there before the next step, or that step creates it.
    await createMaybe(store, key, bytes, options);
    const replaced = await store.createOnce(key, other, options);
    const found = await store.get(key, undefined, options);
    const kept = found !== undefined && Buffer.compare(found, bytes) === 0;
    if (replaced.outcome === "exists" && kept) return;
    throw storeTrouble("store-no-conditional-writes", {
      store: store.description,
      operation: "probe",
      key,
      detail: kept ? "a second create of one key was answered with success" : "a second create of one key replaced the first",
    });
  } finally {
    await store.delete([key], options).catch(() => {});
  }
}

async function createMaybe(store: ObjectStore, key: string, bytes: Uint8Array, options?: StoreCallOptions): Promise<void> {
  try {
    await store.createOnce(key, bytes, options);
  } catch (error) {
    if (!(error instanceof Trouble) || error.code !== "store-outcome-unknown") throw error;
    await store.createOnce(key, bytes, options);
  }
}
