/**
 * The two header copies on a device: read the newest valid one, write them in turn. Each write is durable before the next begins, so that a
 * crash leaves at least one whole copy.
 */
import { Trouble } from "../../base/trouble.ts";
import type { Crc32c } from "./wal.ts";
import { WAL_BLOCK_BYTES, type WalDevice } from "./wal-device.ts";
import { decodeHeader, encodeHeader, HEADER_COPIES, WAL_FORMAT_VERSION, type WalHeader } from "./wal-format.ts";

export type ReadHeaderResult =
  | {
      readonly kind: "valid";
      readonly header: WalHeader /** The other copy is neither valid nor blank. */;
      readonly oneCopyDamaged: boolean;
    }
  | { readonly kind: "blank" };

/**
 * Rejects with Trouble "wal-newer-format" when either copy was written by a later version, "wal-header-damaged" when a copy bears our magic and none is
 * whole. "blank" only when neither copy is ours.
 */
export async function readHeader(device: WalDevice, crc32c: Crc32c): Promise<ReadHeaderResult> {
  const bytes = await device.read(0, HEADER_COPIES * WAL_BLOCK_BYTES);
  const copies = [];
  for (let copy = 0; copy < HEADER_COPIES; copy++) {
    copies.push(decodeHeader(bytes.subarray(copy * WAL_BLOCK_BYTES, (copy + 1) * WAL_BLOCK_BYTES), crc32c));
  }
  let newest: WalHeader | undefined;
  for (const copy of copies) {
    if (copy.kind === "newer") {
      throw new Trouble({
        code: "wal-newer-format",
        message: `WAL ${device.description} has format version ${copy.version}; this build reads up to ${WAL_FORMAT_VERSION}`,
        remedy: "run the version that wrote it, or a later one",
        retryable: false,
        exitCode: 2,
      });
    }
    if (copy.kind === "valid" && (newest === undefined || copy.header.generation > newest.generation)) newest = copy.header;
  }
  const oneCopyDamaged = copies.some((copy) => copy.kind === "damaged");
  if (newest !== undefined) return { kind: "valid", header: newest, oneCopyDamaged };
  if (!oneCopyDamaged) return { kind: "blank" };
  throw new Trouble({
    code: "wal-header-damaged",
    message: `WAL ${device.description}: both header copies are damaged`,
    remedy: "restore the volume from a copy; `weir wal inspect` shows what is left; formatting it gives up what it holds",
    retryable: false,
  });
}

/** Writes the next generation, to the copy whose turn it is; returns the header as written. */
export async function writeNextHeader(device: WalDevice, crc32c: Crc32c, header: WalHeader): Promise<WalHeader> {
  const next = { ...header, generation: header.generation + 1 };
  await device.write(encodeHeader(next, crc32c), (next.generation % HEADER_COPIES) * WAL_BLOCK_BYTES);
  return next;
}

/** Writes both copies, one after the other: for what must not be forgotten when one copy is lost (claim, epoch). */
export async function writeBothHeaders(device: WalDevice, crc32c: Crc32c, header: WalHeader): Promise<WalHeader> {
  return writeNextHeader(device, crc32c, await writeNextHeader(device, crc32c, header));
}
