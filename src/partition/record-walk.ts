/**
 * Walks the records of one batch (message format v2) without decoding them into objects: lengths, deltas, keys, values and headers must fill
 * their record exactly, as Kafka's DefaultRecord checks them. One walk at a time (the cursor is module state: nothing here awaits), so that
 * walking makes no garbage.
 *
 * Neighbours: `batch-validation.ts` (what clients send), `record-search.ts` (time look-ups).
 */

/** Where the last read stopped. */
let cursor = 0;
let isBroken = false;

/** A zigzag varint of at most 5 bytes (ByteUtils.readVarint). Sets `isBroken` when it is cut off or too long. */
function readVarint(bytes: Uint8Array, end: number): number {
  let value = 0;
  for (let shift = 0; shift <= 28; shift += 7) {
    if (cursor >= end) break;
    const byte = bytes[cursor++] as number;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
  }
  isBroken = true;
  return 0;
}

/** A zigzag varlong of at most 10 bytes: exact within +-2^53, else the nearest double. */
function readVarlong(bytes: Uint8Array, end: number): number {
  let low = 0;
  for (let shift = 0; shift <= 21; shift += 7) {
    if (cursor >= end) break;
    const byte = bytes[cursor++] as number;
    low |= (byte & 0x7f) << shift;
    if (byte < 0x80) return (low >>> 1) ^ -(low & 1);
  }
  let high = 0;
  for (let index = 4, factor = 1; index < 10; index++, factor *= 128) {
    if (cursor >= end) break;
    const byte = bytes[cursor++] as number;
    high += (byte & 0x7f) * factor;
    if (byte < 0x80) {
      // The zigzag value is low + high * 2^28: half of it when even, minus half of it (rounded up) when odd.
      const magnitude = (low >>> 1) + high * 134_217_728;
      return (low & 1) === 0 ? magnitude : -magnitude - 1;
    }
  }
  isBroken = true;
  return 0;
}

function skipBytes(length: number, end: number): void {
  if (length <= 0) return;
  if (length > end - cursor) isBroken = true;
  else cursor += length;
}

function skipHeaders(bytes: Uint8Array, count: number, end: number): void {
  for (let index = 0; index < count && !isBroken; index++) {
    const keyLength = readVarint(bytes, end);
    if (keyLength < 0) isBroken = true;
    skipBytes(keyLength, end);
    skipBytes(readVarint(bytes, end), end);
  }
}

/** The record that `nextRecord` has just read; valid until the next call. */
export interface WalkedRecord {
  offsetDelta: number;
  timestampDelta: number;
  hasKey: boolean;
  sizeBytes: number;
  /** -1: null. `keyAt` and `valueAt` mean something when there is a key or value. */
  keyLength: number;
  keyAt: number;
  valueLength: number;
  valueAt: number;
  headerCount: number;
}

const current: WalkedRecord = {
  offsetDelta: 0,
  timestampDelta: 0,
  hasKey: false,
  sizeBytes: 0,
  keyLength: -1,
  keyAt: 0,
  valueLength: -1,
  valueAt: 0,
  headerCount: 0,
};

export function startWalk(at: number): void {
  cursor = at;
}

export function getWalkPosition(): number {
  return cursor;
}

/** Reads one record below `end`; undefined when its structure is wrong. The same object each time. */
export function nextRecord(bytes: Uint8Array, end: number): WalkedRecord | undefined {
  isBroken = false;
  const sizeBytes = readVarint(bytes, end);
  if (isBroken || sizeBytes < 0 || sizeBytes > end - cursor) return undefined;
  const recordEnd = cursor + sizeBytes;
  if (sizeBytes === 0) return undefined;
  cursor += 1; // attributes: none are defined
  current.sizeBytes = sizeBytes;
  current.timestampDelta = readVarlong(bytes, recordEnd);
  current.offsetDelta = readVarint(bytes, recordEnd);
  const keyLength = readVarint(bytes, recordEnd);
  current.hasKey = keyLength >= 0;
  current.keyLength = keyLength;
  current.keyAt = cursor;
  skipBytes(keyLength, recordEnd);
  const valueLength = readVarint(bytes, recordEnd);
  current.valueLength = valueLength;
  current.valueAt = cursor;
  skipBytes(valueLength, recordEnd);
  const headerCount = readVarint(bytes, recordEnd);
  if (isBroken || headerCount < 0 || headerCount > recordEnd - cursor) return undefined;
  current.headerCount = headerCount;
  skipHeaders(bytes, headerCount, recordEnd);
  return isBroken || cursor !== recordEnd ? undefined : current;
}
