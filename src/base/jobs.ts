/** Work that runs off the event loop on native threads. The simulator gives a body that completes when its scheduler says. */
export interface Jobs {
  /** zstd frame of `bytes`. `bytes` must not change until it settles; the result is a private copy. */
  zstdCompress(bytes: Uint8Array, level: number): Promise<Uint8Array>;
  /**
   * Content of zstd frames, at the start of `target`; resolves to its length. Rejects when it is damaged or larger than `target`. Both arrays are the job's
   * until it settles: `bytes` must not change, and nobody else looks at `target`, which then holds anything where nothing was written.
   */
  zstdDecompressInto(bytes: Uint8Array, target: Uint8Array): Promise<number>;
}
