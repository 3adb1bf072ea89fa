/** Memory of uploads is used again when the store has promised to keep none of it, and only then. Memory given back is poisoned in these worlds. */
import { expect, test } from "bun:test";
import { MemoryStore } from "../../../../src/objectstore/memory-store.ts";
import type { PutResult } from "../../../../src/objectstore/object-store.ts";
import { verifySegment } from "../../../../src/storage/segment/verify-segment.ts";
import { crc32c, makeBatch, openStream, openWorld, STREAM_A, STREAM_B, settleTurns, syncJobs, tryAppendBatch } from "../storage-harness.ts";

class WatchedStore extends MemoryStore {
  override keepsNoBytes = true;
  readonly given: { readonly key: string; readonly bytes: Uint8Array }[] = [];

  override createOnce(key: string, bytes: Uint8Array): Promise<PutResult> {
    this.given.push({ key, bytes });
    return super.createOnce(key, bytes);
  }
}

test.each([true, false])("several objects, store keeps no bytes: %p", async (keepsNoBytes) => {
  let store: WatchedStore | undefined;
  const world = await openWorld({
    makeStore: (clock) => {
      store = new WatchedStore(clock);
      store.keepsNoBytes = keepsNoBytes;
      return store;
    },
  });
  world.metadata.add(STREAM_A);
  world.metadata.add(STREAM_B);
  const streams = [openStream(world, STREAM_A), openStream(world, STREAM_B)];
  for (let round = 0; round < 4; round += 1) {
    for (const stream of streams)
      for (let i = 0; i < 3; i += 1) expect(tryAppendBatch(world, stream, makeBatch(stream.nextOffset, 2, 1, 700 + round))).toBe(true);
    await world.clock.advance(1_000);
    await settleTurns(world.clock);
  }
  const given = store?.given ?? [];
  expect(given).toHaveLength(4);
  const places = new Set(given.map(({ bytes }) => bytes.buffer));
  expect(places.size === 1).toBe(keepsNoBytes);
  for (const { key, bytes } of given) {
    const stored = await store?.get(key);
    if (stored === undefined) throw new Error(`${key} is not there`);
    expect((await verifySegment(key, stored, crc32c, syncJobs)).batches).toBe(6);
    if (!keepsNoBytes) expect(Buffer.compare(stored, bytes)).toBe(0);
  }
});
