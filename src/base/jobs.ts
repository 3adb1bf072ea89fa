/** Work that runs off the event loop on native threads. The simulator gives a body that completes when its scheduler says. */
export interface Jobs {
  /** zstd frame of `bytes`. `bytes` must not change until it settles; the result is a private copy. */
  zstdCompress(bytes: Uint8Array, level: number): Promise<Uint8Array>;
  /** Content of a zstd frame. Rejects when it is damaged or would exceed `maxBytes`. */
  zstdDecompress(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array>;
}
