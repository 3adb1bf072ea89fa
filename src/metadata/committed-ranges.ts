/** Storage's view of the image: which segment objects hold a partition log. Always asks the newest image. */
import type { CommittedRange, CommittedRangesPort } from "../storage/ports.ts";
import type { StreamId } from "../storage/types.ts";
import type { PartitionState } from "./entities.ts";
import type { MetadataLog } from "./metadata-log.ts";
import type { RangeEntry } from "./range-run.ts";

export class ImageCommittedRanges implements CommittedRangesPort {
  readonly #log: MetadataLog;

  constructor(log: MetadataLog) {
    this.#log = log;
  }

  findRange(stream: StreamId, offset: number): CommittedRange | undefined {
    const range = this.#partition(stream)?.ranges.find(offset);
    return range === undefined ? undefined : toCommittedRange(range);
  }

  getRanges(stream: StreamId): readonly CommittedRange[] {
    const ranges: CommittedRange[] = [];
    for (const range of this.#partition(stream)?.ranges ?? []) ranges.push(toCommittedRange(range));
    return ranges;
  }

  getCommittedEnd(stream: StreamId): number {
    return this.#partition(stream)?.committedEndOffset ?? 0;
  }

  getCheckpoint(stream: StreamId): { readonly objectKey: string; readonly endOffset: number } | undefined {
    const checkpoint = this.#partition(stream)?.checkpoint;
    return checkpoint === undefined ? undefined : { objectKey: checkpoint.object.key, endOffset: checkpoint.endOffset };
  }

  #partition(stream: StreamId): PartitionState | undefined {
    return this.#log.image.getPartitionState(stream.topicId, stream.partition);
  }
}

function toCommittedRange(range: RangeEntry): CommittedRange {
  const { object, baseOffset, endOffset, maxTimestampMs, sizeBytes } = range;
  return { objectKey: object.key, baseOffset, endOffset, maxTimestampMs, sizeBytes };
}
