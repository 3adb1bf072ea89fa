/** Big-endian integers at an index of a byte array, for code that touches a few fields of a batch and would not pay for a DataView. */

export function getInt16(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) >> 16) | bytes[at + 1]!;
}

export function getInt32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

export function getUint32(bytes: Uint8Array, at: number): number {
  return getInt32(bytes, at) >>> 0;
}

export function getInt64(bytes: Uint8Array, at: number): bigint {
  const high = getInt32(bytes, at);
  const low = getUint32(bytes, at + 4);
  const value = high * 0x1_0000_0000 + low;
  return Number.isSafeInteger(value) ? BigInt(value) : (BigInt(high) << 32n) | BigInt(low);
}

export function setInt16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

export function setInt32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 24;
  bytes[at + 1] = value >> 16;
  bytes[at + 2] = value >> 8;
  bytes[at + 3] = value;
}

export function setInt64(bytes: Uint8Array, at: number, value: bigint): void {
  setInt32(bytes, at, Number(BigInt.asIntN(32, value >> 32n)));
  setInt32(bytes, at + 4, Number(BigInt.asIntN(32, value)));
}
