/**
 * Writes Kafka's wire types. Small things go into one growing buffer; records that the answer only refers to (a ByteSource, or a large
 * private Uint8Array) stay external pieces, so that `finish` gives the exact size before any of them is resolved.
 *
 * Invariant: a Uint8Array kept as a piece must not change until the answer is sent.
 */
import type { ByteSource } from "../base/byte-source.ts";
import type { Records, UnknownTaggedField } from "./api-definition.ts";
import { EncodeError } from "./codec-error.ts";
import { MAX_STRING_BYTES, ZERO_UUID } from "./reader.ts";

/** What a connection sends, in order. */
export type OutputPiece = Uint8Array | ByteSource;

export interface Output {
  readonly pieces: OutputPiece[];
  /** Sum of all pieces, with the frame's length prefix when one was reserved. */
  readonly sizeBytes: number;
}

/** Smaller Uint8Arrays are cheaper to copy than to send as a piece of their own. */
const COPY_BELOW_BYTES = 4096;
const ASCII_LOOP_CHARS = 48;

export class Writer {
  #buffer: Buffer;
  #view: DataView;
  #pos = 0;
  /** Positions in the buffer at which external pieces go. */
  #cuts: { readonly at: number; readonly piece: OutputPiece; readonly sizeBytes: number }[] | undefined;
  #externalBytes = 0;
  #framed = false;

  constructor(initialBytes = 256) {
    this.#buffer = Buffer.allocUnsafe(initialBytes);
    this.#view = new DataView(this.#buffer.buffer, this.#buffer.byteOffset, initialBytes);
  }

  /** Bytes written so far, external pieces included. */
  get sizeBytes(): number {
    return this.#pos + this.#externalBytes;
  }

  /** Room for the 4-byte frame length, which `finish` fills in. Only as the first thing written. */
  reserveFrameLength(): void {
    if (this.#pos !== 0 || this.#cuts !== undefined) throw new EncodeError("the frame length comes first");
    this.#framed = true;
    this.writeInt32(0);
  }

  /** The writer must not be used after it. */
  finish(): Output {
    const sizeBytes = this.sizeBytes;
    if (this.#framed) this.#view.setInt32(0, sizeBytes - 4);
    const pieces: OutputPiece[] = [];
    let from = 0;
    for (const cut of this.#cuts ?? []) {
      if (cut.at > from) pieces.push(this.#buffer.subarray(from, cut.at));
      pieces.push(cut.piece);
      from = cut.at;
    }
    if (this.#pos > from) pieces.push(this.#buffer.subarray(from, this.#pos));
    return { pieces, sizeBytes };
  }

  /** Everything in one private array; for record values, tools and tests. EncodeError when a ByteSource is not in memory. */
  toBytes(): Uint8Array {
    const { pieces, sizeBytes } = this.finish();
    if (pieces.length === 1 && pieces[0] instanceof Uint8Array) return pieces[0];
    const bytes = new Uint8Array(sizeBytes);
    let at = 0;
    for (const piece of pieces) {
      if (piece instanceof Uint8Array) bytes.set(piece, at);
      else if (!piece.tryCopy(0, piece.sizeBytes, bytes, at)) throw new EncodeError("records are not in memory");
      at += piece instanceof Uint8Array ? piece.length : piece.sizeBytes;
    }
    return bytes;
  }

  /** Makes room for `length` bytes, moves past them and returns where they begin. */
  #room(length: number): number {
    const start = this.#pos;
    const end = start + length;
    if (end > this.#buffer.length) this.#grow(end);
    this.#pos = end;
    return start;
  }

  #grow(neededBytes: number): void {
    const grown = Buffer.allocUnsafe(Math.max(neededBytes, this.#buffer.length * 2));
    grown.set(this.#buffer.subarray(0, this.#pos));
    this.#buffer = grown;
    this.#view = new DataView(grown.buffer, grown.byteOffset, grown.length);
  }

  writeBool(value: boolean): void {
    this.writeInt8(value ? 1 : 0);
  }

  writeInt8(value: number): void {
    const at = this.#room(1);
    this.#view.setInt8(at, value);
  }

  writeInt16(value: number): void {
    const at = this.#room(2);
    this.#view.setInt16(at, value);
  }

  writeUint16(value: number): void {
    const at = this.#room(2);
    this.#view.setUint16(at, value);
  }

  writeInt32(value: number): void {
    const at = this.#room(4);
    this.#view.setInt32(at, value);
  }

  writeUint32(value: number): void {
    const at = this.#room(4);
    this.#view.setUint32(at, value);
  }

  writeInt64(value: bigint): void {
    const at = this.#room(8);
    this.#view.setBigInt64(at, value);
  }

  writeFloat64(value: number): void {
    const at = this.#room(8);
    this.#view.setFloat64(at, value);
  }

  /** 22 characters of base64url. */
  writeUuid(value: string): void {
    const at = this.#room(16);
    if (value === ZERO_UUID) this.#buffer.fill(0, at, at + 16);
    else if (value.length !== 22 || this.#buffer.write(value, at, 16, "base64url") !== 16) throw new EncodeError(`not a uuid: ${value}`);
  }

  /** 0 <= value < 2^32. */
  writeUvarint(value: number): void {
    let rest = value >>> 0;
    let at = this.#room(uvarintSize(rest));
    while (rest > 0x7f) {
      this.#view.setUint8(at++, (rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.#view.setUint8(at, rest);
  }

  /** Zigzag varint of an int32. */
  writeVarint(value: number): void {
    this.writeUvarint((value << 1) ^ (value >> 31));
  }

  /** Zigzag varlong of an int64. */
  writeVarlong(value: bigint): void {
    let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
    while (rest > 0x7fn) {
      this.writeInt8(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    this.writeInt8(Number(rest));
  }

  writeString(value: string, field: string): void {
    const length = utf8Length(value, field);
    this.writeInt16(length);
    this.#utf8(value, length);
  }

  writeNullableString(value: string | null, field: string): void {
    if (value === null) this.writeInt16(-1);
    else this.writeString(value, field);
  }

  writeCompactString(value: string, field: string): void {
    const length = utf8Length(value, field);
    this.writeUvarint(length + 1);
    this.#utf8(value, length);
  }

  writeCompactNullableString(value: string | null, field: string): void {
    if (value === null) this.writeUvarint(0);
    else this.writeCompactString(value, field);
  }

  #utf8(value: string, length: number): void {
    let at = this.#room(length);
    if (length !== value.length || length > ASCII_LOOP_CHARS) {
      this.#buffer.write(value, at, length, "utf8");
      return;
    }
    for (let i = 0; i < length; i++) this.#view.setUint8(at++, value.charCodeAt(i));
  }

  writeBytes(value: Uint8Array): void {
    this.writeInt32(value.length);
    this.writeRaw(value);
  }

  writeNullableBytes(value: Uint8Array | null): void {
    if (value === null) this.writeInt32(-1);
    else this.writeBytes(value);
  }

  writeCompactBytes(value: Uint8Array): void {
    this.writeUvarint(value.length + 1);
    this.writeRaw(value);
  }

  writeCompactNullableBytes(value: Uint8Array | null): void {
    if (value === null) this.writeUvarint(0);
    else this.writeCompactBytes(value);
  }

  /** The bytes alone, copied. */
  writeRaw(value: Uint8Array): void {
    const at = this.#room(value.length);
    this.#buffer.set(value, at);
  }

  writeRecords(value: Records | null): void {
    if (value === null) {
      this.writeInt32(-1);
      return;
    }
    this.writeInt32(recordsSize(value));
    this.#records(value);
  }

  writeCompactRecords(value: Records | null): void {
    if (value === null) {
      this.writeUvarint(0);
      return;
    }
    this.writeUvarint(recordsSize(value) + 1);
    this.#records(value);
  }

  #records(value: Records): void {
    if (value instanceof Uint8Array && value.length < COPY_BELOW_BYTES) {
      this.writeRaw(value);
      return;
    }
    const sizeBytes = recordsSize(value);
    this.#cuts ??= [];
    this.#cuts.push({ at: this.#pos, piece: value, sizeBytes });
    this.#externalBytes += sizeBytes;
  }

  /** -1 for null. */
  writeArrayLength(length: number): void {
    this.writeInt32(length);
  }

  /** -1 for null. */
  writeCompactArrayLength(length: number): void {
    this.writeUvarint(length + 1);
  }

  /** Begins a known tagged field; its data follows, then `endTag` with what this returned. */
  beginTag(tag: number): number {
    this.writeUvarint(tag);
    return this.#pos;
  }

  /** Puts the size before the data written since `beginTag`. */
  endTag(dataStart: number): void {
    const cuts = this.#cuts;
    if (cuts !== undefined && cuts.length > 0 && (cuts[cuts.length - 1]?.at ?? 0) >= dataStart) {
      throw new EncodeError("a tagged field cannot hold external records");
    }
    const length = this.#pos - dataStart;
    const prefix = uvarintSize(length);
    this.#room(prefix);
    this.#buffer.copyWithin(dataStart + prefix, dataStart, dataStart + length);
    this.#pos = dataStart;
    this.writeUvarint(length);
    this.#pos = dataStart + prefix + length;
  }

  /** Unknown tagged fields from index `from` on whose tags lie below `belowTag`. Returns the index of the next one. */
  writeUnknownTags(fields: readonly UnknownTaggedField[], from: number, belowTag: number): number {
    let i = from;
    for (; i < fields.length; i++) {
      const field = fields[i]!;
      if (i > 0 && field.tag <= fields[i - 1]!.tag) throw new EncodeError(`unknown tagged field ${field.tag} is out of order`);
      if (field.tag === belowTag) throw new EncodeError(`tag ${field.tag} is known to this version`);
      if (field.tag > belowTag) break;
      this.writeUvarint(field.tag);
      this.writeUvarint(field.data.length);
      this.writeRaw(field.data);
    }
    return i;
  }

  /** The whole section of a struct that has no known tagged field. */
  writeTagSection(fields: readonly UnknownTaggedField[] | undefined): void {
    if (fields === undefined) {
      this.writeInt8(0);
      return;
    }
    this.writeUvarint(fields.length);
    this.writeUnknownTags(fields, 0, NO_TAG);
  }
}

/** Above every tag. */
export const NO_TAG = 0x1_0000_0000;
export const NO_TAGS: readonly UnknownTaggedField[] = [];
export const NO_BYTES = new Uint8Array(0);

function recordsSize(value: Records): number {
  return value instanceof Uint8Array ? value.length : value.sizeBytes;
}

function uvarintSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  return value < 0x1000_0000 ? 4 : 5;
}

function utf8Length(value: string, field: string): number {
  const length = value.length <= ASCII_LOOP_CHARS && isAscii(value) ? value.length : Buffer.byteLength(value, "utf8");
  if (length > MAX_STRING_BYTES) throw new EncodeError(`string ${field} of ${length} bytes is too long to be serialized`);
  return length;
}

function isAscii(value: string): boolean {
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) > 0x7f) return false;
  return true;
}
