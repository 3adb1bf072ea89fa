/**
 * Bytes of the metadata formats: little-endian fixed integers, unsigned LEB128 varints up to 2^53, length-prefixed UTF-8, Kafka UUIDs as
 * 16 bytes. A reader that runs past its end or meets an impossible value throws a DamagedBytes; the format's owner names the object.
 */
import { assert, assertSafe } from "../base/assert.ts";

export class DamagedBytes extends Error {
  override readonly name = "DamagedBytes";
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor(initialBytes = 256) {
    this.#bytes = new Uint8Array(initialBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get length(): number {
    return this.#length;
  }

  /** A private copy of what was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** What was written, valid until the next write. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
  }

  u8(value: number): void {
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
  }

  u32(value: number): void {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, true);
  }

  u64(value: bigint): void {
    const at = this.#grow(8);
    this.#view.setBigUint64(at, value, true);
  }

  /** A safe integer, negative ones too. */
  i64(value: number): void {
    assert(Number.isSafeInteger(value), `not a safe integer: ${value}`);
    const at = this.#grow(8);
    this.#view.setBigInt64(at, BigInt(value), true);
  }

  varint(value: number): void {
    let rest = assertSafe(value, "varint");
    while (rest >= 0x80) {
      this.u8((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    this.u8(rest);
  }

  boolean(value: boolean): void {
    this.u8(value ? 1 : 0);
  }

  raw(bytes: Uint8Array): void {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
  }

  bytes(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  string(value: string): void {
    this.bytes(encoder.encode(value));
  }

  /** 22-character base64url. */
  uuid(value: string): void {
    const bytes = Buffer.from(value, "base64url");
    assert(bytes.length === 16, `not a 22-character UUID: ${value}`);
    this.raw(bytes);
  }

  setU32(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }

  /** Makes room and returns where it begins. May replace `#view`: take it afterwards. */
  #grow(bytes: number): number {
    const at = this.#length;
    const needed = at + bytes;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#length = needed;
    return at;
  }
}

export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = start;
    this.#end = end;
  }

  get position(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.#end - this.#at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }

  i64(): number {
    const value = Number(this.#view.getBigInt64(this.#take(8), true));
    if (!Number.isSafeInteger(value)) throw new DamagedBytes(`integer out of range: ${value}`);
    return value;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let index = 0; index < 8; index++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
      scale *= 0x80;
    }
    throw new DamagedBytes("varint out of range");
  }

  /** A count of items of at least `minItemBytes` each: never more than the rest can hold. */
  count(minItemBytes: number): number {
    const count = this.varint();
    if (count * minItemBytes > this.remaining) throw new DamagedBytes(`count ${count} exceeds the bytes left`);
    return count;
  }

  boolean(): boolean {
    const value = this.u8();
    if (value > 1) throw new DamagedBytes(`not a boolean: ${value}`);
    return value === 1;
  }

  /** A private copy. */
  raw(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.slice(at, at + length);
  }

  bytes(): Uint8Array {
    return this.raw(this.count(1));
  }

  string(): string {
    try {
      return decoder.decode(this.bytes());
    } catch (error) {
      if (error instanceof DamagedBytes) throw error;
      throw new DamagedBytes("text is not UTF-8");
    }
  }

  uuid(): string {
    return Buffer.from(this.raw(16)).toString("base64url");
  }

  expectEnd(): void {
    if (this.#at !== this.#end) throw new DamagedBytes(`${this.#end - this.#at} bytes too many`);
  }

  #take(length: number): number {
    const at = this.#at;
    if (length > this.#end - at) throw new DamagedBytes(`ends ${length - (this.#end - at)} bytes early`);
    this.#at = at + length;
    return at;
  }
}
