/**
 * Payloads from the device. Those that lie near each other come with one read: a device read costs as much as the transfer of some tens of KiB, and what lives
 * for each (promises, arrays, native memory that the garbage collector takes late) was most of what a broker grew by while it uploaded a backlog.
 *
 * Invariants: every payload is checked against its entry header before anybody sees it; at most READ_DEPTH spans of one call lie in memory, and each is freed at
 * once; when a call has settled, nothing of it is under way.
 */
import { freeNow } from "../../base/buffer-pool.ts";
import { Trouble } from "../../base/trouble.ts";
import type { Crc32c, PayloadPlace, TakePayload } from "./wal.ts";
import { WAL_BLOCK_BYTES, type WalDevice } from "./wal-device.ts";
import { decodeEntryHeader, deviceOffsetOf, ENTRY_HEADER_BYTES, type WalHeader } from "./wal-format.ts";

/** A span with several payloads is at most this long. */
const SPAN_BYTES = 256 * 1024;
/** What is read needlessly between two payloads rather than with a read of its own. */
const GAP_BYTES = 32 * 1024;
const READ_DEPTH = 2;

export interface PayloadReaderOptions {
  readonly device: Pick<WalDevice, "read" | "description">;
  readonly header: WalHeader;
  readonly crc32c: Crc32c;
  /** Throws Trouble "wal-range-gone" when the entry (its header included) is not on the device any more. */
  readonly assertNotReused: (place: PayloadPlace) => void;
}

/** places[first..end), in one piece of the device. Addresses are bytes of the WAL's endless space. */
interface Span {
  readonly first: number;
  end: number;
  readonly startAddress: number;
  endAddress: number;
}

export class PayloadReader {
  readonly #options: PayloadReaderOptions;

  constructor(options: PayloadReaderOptions) {
    this.#options = options;
  }

  /** As `Wal.readAll`. */
  async readAll(places: readonly PayloadPlace[], take: TakePayload): Promise<void> {
    const spans = planSpans(places, this.#options.header.capacityBlocks * WAL_BLOCK_BYTES);
    let next = 0;
    let hasFailed = false;
    const work = async (): Promise<void> => {
      for (let span = spans[next]; span !== undefined && !hasFailed; span = spans[next]) {
        next += 1;
        try {
          await this.#readSpan(span, places, take);
        } catch (error) {
          hasFailed = true;
          throw error;
        }
      }
    };
    const results = await Promise.allSettled(Array.from({ length: Math.min(READ_DEPTH, spans.length) }, work));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  async #readSpan(span: Span, places: readonly PayloadPlace[], take: TakePayload): Promise<void> {
    const { device, header, assertNotReused } = this.#options;
    const lsn = Math.floor(span.startAddress / WAL_BLOCK_BYTES);
    const deviceOffset = deviceOffsetOf(lsn, header) + (span.startAddress % WAL_BLOCK_BYTES);
    for (let index = span.first; index < span.end; index++) assertNotReused(places[index] as PayloadPlace);
    const bytes = await device.read(deviceOffset, span.endAddress - span.startAddress);
    try {
      for (let index = span.first; index < span.end; index++) {
        const place = places[index] as PayloadPlace;
        assertNotReused(place);
        const start = addressOf(place) - span.startAddress;
        this.#check(place, bytes, start);
        take(index, bytes.subarray(start + ENTRY_HEADER_BYTES, start + ENTRY_HEADER_BYTES + place.location.length));
      }
    } finally {
      freeNow(bytes);
    }
  }

  /** The entry at bytes[start..) is the one that the caller knows. */
  #check({ location, stream, term, baseOffset }: PayloadPlace, bytes: Uint8Array, start: number): void {
    const { crc32c, device } = this.#options;
    const header = decodeEntryHeader(bytes, start, crc32c);
    const payloadAt = start + ENTRY_HEADER_BYTES;
    const isExpected =
      header !== undefined &&
      header.stream.topicId === stream.topicId &&
      header.stream.partition === stream.partition &&
      header.term === term &&
      header.baseOffset === baseOffset &&
      header.payloadBytes === location.length;
    if (isExpected && crc32c(bytes, payloadAt, payloadAt + location.length) === header.payloadChecksum) return;
    const wanted = `${stream.topicId}-${stream.partition} offset ${baseOffset} term ${term}`;
    throw new Trouble({
      code: "wal-damaged",
      message: `WAL ${device.description}: LSN ${location.lsn} byte ${location.offset} does not hold ${wanted}`,
      remedy: "check the volume",
      retryable: false,
    });
  }
}

/** Of the entry's header. */
function addressOf({ location }: PayloadPlace): number {
  return location.lsn * WAL_BLOCK_BYTES + location.offset - ENTRY_HEADER_BYTES;
}

function planSpans(places: readonly PayloadPlace[], capacityBytes: number): Span[] {
  const spans: Span[] = [];
  let span: Span | undefined;
  places.forEach((place, index) => {
    const address = addressOf(place);
    const endAddress = address + ENTRY_HEADER_BYTES + place.location.length;
    const isNear =
      span !== undefined &&
      address >= span.endAddress &&
      address - span.endAddress <= GAP_BYTES &&
      endAddress - span.startAddress <= SPAN_BYTES &&
      Math.floor(address / capacityBytes) === Math.floor(span.startAddress / capacityBytes);
    if (span === undefined || !isNear) {
      span = { first: index, end: index, startAddress: address, endAddress };
      spans.push(span);
    }
    span.end = index + 1;
    span.endAddress = endAddress;
  });
  return spans;
}
