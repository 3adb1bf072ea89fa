/** Reader and writer on their own: limits, null, numbers at their edges, pieces. */
import { describe, expect, test } from "bun:test";
import type { ByteSource } from "../../../src/base/byte-source.ts";
import { DecodeError, EncodeError } from "../../../src/protocol/codec-error.ts";
import { metadataApi } from "../../../src/protocol/messages/metadata.ts";
import { MAX_ARRAY_ELEMENTS, MAX_TAGGED_FIELDS, Reader, ZERO_UUID } from "../../../src/protocol/reader.ts";
import { Writer } from "../../../src/protocol/writer.ts";

function readerOf(write: (writer: Writer) => void, padBytes = 0): Reader {
  const writer = new Writer(1);
  write(writer);
  const bytes = writer.toBytes();
  const padded = new Uint8Array(bytes.length + padBytes);
  padded.set(bytes);
  return new Reader(padded);
}

describe("reader", () => {
  test("refuses more array elements than the frame has bytes", () => {
    expect(() => readerOf((w) => w.writeInt32(5), 4).readArrayLength("a")).toThrow(DecodeError);
    expect(() => readerOf((w) => w.writeInt32(0x7fffffff), 100).readArrayLength("a")).toThrow(DecodeError);
    expect(() => readerOf((w) => w.writeUvarint(0xffffffff), 100).readCompactArrayLength("a")).toThrow(DecodeError);
    expect(() => readerOf((w) => w.writeInt32(3), 11).readInt32Array(3)).not.toThrow();
    expect(() => new Reader(new Uint8Array(11)).readInt32Array(3)).toThrow(DecodeError);
  });

  test("refuses more than 1,000,000 elements even when the frame could hold them", () => {
    expect(readerOf((w) => w.writeInt32(MAX_ARRAY_ELEMENTS), MAX_ARRAY_ELEMENTS).readArrayLength("a")).toBe(1_000_000);
    expect(() => readerOf((w) => w.writeInt32(MAX_ARRAY_ELEMENTS + 1), MAX_ARRAY_ELEMENTS + 1).readArrayLength("a")).toThrow(DecodeError);
    const request = readerOf((w) => w.writeInt32(MAX_ARRAY_ELEMENTS + 1), 3_000_000);
    expect(() => metadataApi.readRequest(request, 0)).toThrow(DecodeError);
  });

  test("refuses more than 10,000 tagged fields", () => {
    const section = (count: number) =>
      readerOf((w) => {
        w.writeUvarint(count);
        for (let i = 0; i < count; i++) {
          w.writeUvarint(i);
          w.writeUvarint(0);
        }
      });
    expect(section(MAX_TAGGED_FIELDS).readUnknownTags()?.length).toBe(10_000);
    expect(() => section(MAX_TAGGED_FIELDS + 1).readUnknownTags()).toThrow(DecodeError);
  });

  test("null where the definition allows none is refused; nullable forms give null", () => {
    expect(() => readerOf((w) => w.writeInt16(-1)).readString("s")).toThrow("non-nullable field s was serialized as null");
    expect(() => readerOf((w) => w.writeUvarint(0)).readCompactString("s")).toThrow(DecodeError);
    expect(() => readerOf((w) => w.writeInt32(-1)).readBytes("b")).toThrow(DecodeError);
    expect(() => readerOf((w) => w.writeUvarint(0)).readCompactArrayLength("a")).toThrow(DecodeError);
    expect(readerOf((w) => w.writeNullableString(null, "s")).readNullableString("s")).toBeNull();
    expect(readerOf((w) => w.writeCompactNullableString(null, "s")).readCompactNullableString("s")).toBeNull();
    expect(readerOf((w) => w.writeNullableBytes(null)).readNullableBytes()).toBeNull();
    expect(readerOf((w) => w.writeCompactNullableBytes(null)).readCompactNullableBytes()).toBeNull();
    expect(readerOf((w) => w.writeArrayLength(-1)).readNullableArrayLength("a")).toBe(-1);
  });

  test("strings: UTF-8, long ones, and at most 32,767 bytes", () => {
    for (const text of ["", "orders", "é", "\ufeffbom", "x".repeat(5000), "日本".repeat(100), `${"a".repeat(47)}ü`]) {
      expect(readerOf((w) => w.writeString(text, "s")).readString("s")).toBe(text);
      expect(readerOf((w) => w.writeCompactString(text, "s")).readCompactString("s")).toBe(text);
    }
    expect(() => readerOf((w) => w.writeUvarint(0x8000 + 1), 0x9000).readCompactString("s")).toThrow(DecodeError);
    expect(() => new Writer().writeString("x".repeat(0x8000), "s")).toThrow(EncodeError);
  });

  test("varints at their edges, and none longer than its type", () => {
    for (const value of [0, 1, 127, 128, 16383, 16384, 2 ** 21, 2 ** 28, 2 ** 32 - 1]) {
      expect(readerOf((w) => w.writeUvarint(value)).readUvarint()).toBe(value);
    }
    for (const value of [0, -1, 1, 63, -64, 64, 2 ** 31 - 1, -(2 ** 31)]) {
      expect(readerOf((w) => w.writeVarint(value)).readVarint()).toBe(value);
    }
    for (const value of [0n, -1n, 1n, 2n ** 63n - 1n, -(2n ** 63n), 1_700_000_000_000n]) {
      expect(readerOf((w) => w.writeVarlong(value)).readVarlong()).toBe(value);
    }
    expect(() => new Reader(new Uint8Array([0xff, 0xff, 0xff, 0xff, 0xff, 1])).readUvarint()).toThrow(DecodeError);
    expect(() => new Reader(new Uint8Array(11).fill(0xff)).readVarlong()).toThrow(DecodeError);
    expect(() => new Reader(new Uint8Array([0x80])).readUvarint()).toThrow(DecodeError);
  });

  test("integers of clients beyond 53 bits are kept or refused, never rounded", () => {
    const at = (value: bigint) => readerOf((w) => w.writeInt64(value));
    for (const value of [0n, -1n, 2n ** 53n - 1n, -(2n ** 53n) + 1n]) expect(at(value).readInt64Number()).toBe(Number(value));
    for (const value of [2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n), -(2n ** 53n)]) {
      expect(at(value).readInt64()).toBe(value);
      expect(() => at(value).readInt64Number()).toThrow(DecodeError);
    }
  });

  test("uuids", () => {
    const text = Buffer.from(Uint8Array.from({ length: 16 }, (_, i) => 255 - i * 7)).toString("base64url");
    expect(readerOf((w) => w.writeUuid(text)).readUuid()).toBe(text);
    expect(readerOf((w) => w.writeUuid(ZERO_UUID)).readUuid()).toBe(ZERO_UUID);
    for (const wrong of ["", "short", `${text}x`, "!".repeat(22)]) expect(() => new Writer().writeUuid(wrong)).toThrow(EncodeError);
  });

  test("a range within a larger buffer is a wall", () => {
    const reader = new Reader(new Uint8Array(16).fill(1), 4, 6);
    expect(reader.readInt16()).toBe(0x0101);
    expect(() => reader.readInt8()).toThrow(DecodeError);
    expect(() => new Reader(new Uint8Array(4), 0, 5)).toThrow(DecodeError);
  });
});

class TestSource implements ByteSource {
  readonly sizeBytes: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.sizeBytes = bytes.length;
  }

  tryCopy(from: number, length: number, target: Uint8Array, targetOffset: number): boolean {
    target.set(this.#bytes.subarray(from, from + length), targetOffset);
    return true;
  }

  load(): Promise<void> {
    return Promise.resolve();
  }

  release(): void {}
}

describe("writer", () => {
  test("keeps records that are only referred to as pieces, and knows the exact size", () => {
    const source = new TestSource(new Uint8Array(10).fill(7));
    const large = new Uint8Array(5000).fill(8);
    const writer = new Writer(16);
    writer.reserveFrameLength();
    writer.writeInt32(1);
    writer.writeRecords(source);
    writer.writeCompactRecords(large);
    writer.writeCompactRecords(new Uint8Array([9]));
    writer.writeRecords(null);
    const { pieces, sizeBytes } = writer.finish();
    expect(sizeBytes).toBe(4 + 4 + 4 + 10 + 2 + 5000 + 1 + 1 + 4);
    expect(pieces.map((piece) => (piece instanceof Uint8Array ? piece.length : piece.sizeBytes))).toEqual([12, 10, 2, 5000, 6]);
    expect(pieces[1]).toBe(source);
    expect(pieces[3]).toBe(large);
    expect(new Reader(pieces[0] as Uint8Array).readInt32()).toBe(sizeBytes - 4);
  });

  test("grows under a tagged field and puts its size before it", () => {
    for (const length of [0, 1, 126, 127, 128, 20_000]) {
      const writer = new Writer(8);
      const start = writer.beginTag(3);
      writer.writeRaw(new Uint8Array(length).fill(5));
      writer.endTag(start);
      const reader = new Reader(writer.toBytes());
      expect(reader.readUvarint()).toBe(3);
      expect(reader.readTagEnd()).toBe(reader.limit);
      expect(reader.readRaw(length)).toEqual(Buffer.alloc(length, 5));
      reader.expectEnd();
    }
  });

  test("the frame length comes first or not at all", () => {
    const writer = new Writer();
    writer.writeInt8(1);
    expect(() => writer.reserveFrameLength()).toThrow(EncodeError);
  });
});
