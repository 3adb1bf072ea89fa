/** 64-bit integers of stored formats as numbers: big-endian, asserted to be within 2^53 both ways. */
import { assert } from "../../base/assert.ts";

const TWO_32 = 0x1_0000_0000;

/** Unsigned, below 2^53. */
export function setUint64(view: DataView, position: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, "a stored offset or position is below 2^53");
  view.setUint32(position, Math.floor(value / TWO_32));
  view.setUint32(position + 4, value >>> 0);
}

/** NaN when the stored value is not below 2^53: the caller reports damage. */
export function getUint64(view: DataView, position: number): number {
  const high = view.getUint32(position);
  return high < 0x20_0000 ? high * TWO_32 + view.getUint32(position + 4) : Number.NaN;
}

/** Signed two's complement, |value| below 2^53 (timestamps; Kafka's "none" is -1). */
export function setInt64(view: DataView, position: number, value: number): void {
  assert(Number.isSafeInteger(value), "a stored timestamp is a safe integer");
  const high = Math.floor(value / TWO_32);
  view.setInt32(position, high);
  view.setUint32(position + 4, value - high * TWO_32);
}

/** NaN when the stored value is not a safe integer. */
export function getInt64(view: DataView, position: number): number {
  const value = view.getInt32(position) * TWO_32 + view.getUint32(position + 4);
  return Number.isSafeInteger(value) ? value : Number.NaN;
}
