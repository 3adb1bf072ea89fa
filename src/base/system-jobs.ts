/** The real body of Jobs: zstd on the runtime's native threads, decompression by the addon. */
import type { Jobs } from "./jobs.ts";

export class SystemJobs implements Jobs {
  readonly zstdDecompressInto: Jobs["zstdDecompressInto"];

  /** `zstdDecompressInto` is the addon's. */
  constructor(zstdDecompressInto: Jobs["zstdDecompressInto"]) {
    this.zstdDecompressInto = zstdDecompressInto;
  }

  async zstdCompress(bytes: Uint8Array, level: number): Promise<Uint8Array> {
    return Bun.zstdCompress(bytes as Uint8Array<ArrayBuffer>, { level });
  }
}
