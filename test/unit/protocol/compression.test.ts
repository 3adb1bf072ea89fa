/** Codecs: round trips, bounds, damage. zstd-napi is an independent oracle where it is built; lz4 needs the addon. */
import { describe, expect, test } from "bun:test";
import { DecodeError } from "../../../src/protocol/codec-error.ts";
import { Codec, compress, decompress } from "../../../src/protocol/compression.ts";
import { blockCodecs, hasAddon, referenceCodecs } from "./block-codecs.ts";
import { SeededRandom } from "./seeded-random.ts";

interface ZstdNapi {
  compress(data: Uint8Array, options?: { compressionLevel?: number }): Buffer;
  decompress(data: Uint8Array): Buffer;
}

async function loadZstdNapi(): Promise<ZstdNapi | undefined> {
  try {
    return (await import("zstd-napi")) as ZstdNapi;
  } catch {
    return undefined;
  }
}

const zstdNapi = await loadZstdNapi();
const MAX_BYTES = 1 << 20;
const CODECS = Object.entries(Codec).filter(([name]) => name !== "none");

function samples(): Uint8Array[] {
  const random = new SeededRandom(5);
  const text = new TextEncoder().encode('{"user":"a","n":1}\n'.repeat(6000));
  return [new Uint8Array(1), text.subarray(0, 100), text, random.bytes(70_000), new Uint8Array(200_000)];
}

describe.each(CODECS)("%s", (name, codec) => {
  const available = codec !== Codec.lz4 || hasAddon;
  const maybe = test.skipIf(!available);
  const title = (text: string): string => (available ? text : `${text} (skipped: the addon is not built)`);

  maybe(title("gives back what went in"), () => {
    for (const sample of samples()) {
      const packed = compress(codec, sample, blockCodecs);
      expect(Buffer.compare(decompress(codec, packed, MAX_BYTES, blockCodecs), sample)).toBe(0);
    }
  });

  maybe(title("refuses what would expand beyond the bound"), () => {
    const bomb = compress(codec, new Uint8Array(MAX_BYTES), blockCodecs);
    expect(decompress(codec, bomb, MAX_BYTES, blockCodecs).length).toBe(MAX_BYTES);
    expect(() => decompress(codec, bomb, MAX_BYTES - 1, blockCodecs)).toThrow(DecodeError);
  });

  maybe(title("never takes a truncated payload for a whole one of the same content"), () => {
    const sample = samples()[2]!;
    const packed = compress(codec, sample, blockCodecs);
    for (let cut = 1; cut < packed.length; cut += Math.max(1, packed.length >> 6)) {
      const part = packed.subarray(0, packed.length - cut);
      try {
        // Snappy's framing has no end mark: cut at a block's border it is a shorter payload, which the record count then contradicts.
        expect(decompress(codec, part, MAX_BYTES, blockCodecs).length).toBeLessThan(sample.length);
        expect(name).toBe("snappy");
      } catch (error) {
        if (!(error instanceof DecodeError)) throw error;
      }
    }
  });

  maybe(title("damage gives a DecodeError or other content, never anything else"), () => {
    const random = new SeededRandom(11);
    const packed = compress(codec, samples()[2]!.subarray(0, 20_000), blockCodecs);
    for (let round = 0; round < 500; round++) {
      const damaged = packed.slice();
      for (let flips = 1 + random.int(3); flips > 0; flips--) damaged[random.int(damaged.length)] = random.int(256);
      try {
        expect(decompress(codec, damaged, MAX_BYTES, blockCodecs).length).toBeLessThanOrEqual(MAX_BYTES);
      } catch (error) {
        if (!(error instanceof DecodeError)) throw error;
      }
    }
  });
});

describe("compression", () => {
  test("snappy without snappy-java's framing is one raw block", () => {
    const raw = referenceCodecs.snappyCompress(new TextEncoder().encode("one raw block"));
    expect(new TextDecoder().decode(decompress(Codec.snappy, raw, 100, blockCodecs))).toBe("one raw block");
  });

  test.skipIf(!hasAddon)(
    hasAddon ? "the addon's snappy agrees with a reference" : "the addon's snappy (skipped: the addon is not built)",
    () => {
      for (const sample of samples()) {
        const packed = compress(Codec.snappy, sample, blockCodecs);
        expect(Buffer.compare(decompress(Codec.snappy, packed, MAX_BYTES, referenceCodecs), sample)).toBe(0);
        const literal = compress(Codec.snappy, sample, referenceCodecs);
        expect(Buffer.compare(decompress(Codec.snappy, literal, MAX_BYTES, blockCodecs), sample)).toBe(0);
      }
    },
  );

  test("zstd: several frames, skippable frames, and frames without their size", () => {
    const [a, b] = [new TextEncoder().encode("a".repeat(1000)), new TextEncoder().encode("b".repeat(500))];
    const skippable = Buffer.from([0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    const joined = Buffer.concat([Bun.zstdCompressSync(a), skippable, Bun.zstdCompressSync(b)]);
    expect(Buffer.compare(decompress(Codec.zstd, joined, 1500, blockCodecs), Buffer.concat([a, b]))).toBe(0);
  });

  test("an unknown codec is refused", () => {
    for (const codec of [5, 6, 7]) expect(() => decompress(codec, new Uint8Array(4), 100, blockCodecs)).toThrow(DecodeError);
  });

  const napiTitle = zstdNapi === undefined ? "zstd-napi (skipped: it is not built here)" : "zstd-napi reads our zstd, and we read its";
  test.skipIf(zstdNapi === undefined)(napiTitle, () => {
    for (const sample of samples()) {
      expect(Buffer.compare(zstdNapi!.decompress(compress(Codec.zstd, sample, blockCodecs)), sample)).toBe(0);
      for (const compressionLevel of [1, 3, 19]) {
        const packed = zstdNapi!.compress(sample, { compressionLevel });
        expect(Buffer.compare(decompress(Codec.zstd, packed, MAX_BYTES, blockCodecs), sample)).toBe(0);
      }
    }
  });
});
