/** What zstd cannot make much smaller is stored as it is, and then only tried now and then, stream by stream. */
import { expect, test } from "bun:test";
import type { Jobs } from "../../../../src/base/jobs.ts";
import type { Stream } from "../../../../src/storage/types.ts";
import {
  makeBatch,
  openStream,
  openWorld,
  STREAM_A,
  STREAM_B,
  settleTurns,
  syncJobs,
  tryAppendBatch,
  type World,
} from "../storage-harness.ts";

/** "Compresses" to the share of the length that the test sets. */
class SharingJobs implements Jobs {
  share = 1;
  calls = 0;
  readonly zstdDecompressInto = syncJobs.zstdDecompressInto;

  async zstdCompress(bytes: Uint8Array): Promise<Uint8Array> {
    this.calls += 1;
    return new Uint8Array(Math.floor(bytes.length * this.share));
  }
}

/** One block an object; answers how many compressions each took. */
async function upload(world: World, jobs: SharingJobs, stream: Stream, count: number): Promise<number[]> {
  const tried: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const before = jobs.calls;
    expect(tryAppendBatch(world, stream, makeBatch(stream.nextOffset, 1, 1, 1000))).toBe(true);
    await world.clock.advance(1_000);
    await settleTurns(world.clock);
    tried.push(jobs.calls - before);
  }
  return tried;
}

test("a stream that does not compress is tried once in sixteen blocks, until it does", async () => {
  const jobs = new SharingJobs();
  const world = await openWorld({ storage: { jobs, isBatchCompressed: () => false } });
  world.metadata.add(STREAM_A);
  world.metadata.add(STREAM_B);
  const a = openStream(world, STREAM_A);
  const b = openStream(world, STREAM_B);
  const once = [1, ...new Array<number>(15).fill(0)];
  expect(await upload(world, jobs, a, 33)).toEqual([...once, ...once, 1]);
  jobs.share = 0.97;
  expect(await upload(world, jobs, b, 2)).toEqual([1, 0]);
  jobs.share = 0.5;
  expect(await upload(world, jobs, a, 18)).toEqual([...new Array<number>(15).fill(0), 1, 1, 1]);
});

test("at level 0 nothing is compressed", async () => {
  const jobs = new SharingJobs();
  const world = await openWorld({ storage: { jobs, isBatchCompressed: () => false, segmentZstdLevel: 0 } });
  world.metadata.add(STREAM_A);
  expect(await upload(world, jobs, openStream(world, STREAM_A), 3)).toEqual([0, 0, 0]);
});
