/** A private copy. `Buffer.slice` gives a view, also where the type says Uint8Array: what outlives a frame is copied by this. */
export function copyBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}
