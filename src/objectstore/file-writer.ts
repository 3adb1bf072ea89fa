/**
 * Writes one new file durably. Large contents go past the page cache (O_DIRECT): copying a segment object into fresh cache pages costs several times the
 * write itself, and what was just uploaded is read from ring or WAL, not from here. A file system that refuses
 * O_DIRECT, or memory that is not aligned, gets an ordinary write of the same bytes.
 */
import { constants as fsConstants } from "node:fs";
import { type FileHandle, open, unlink } from "node:fs/promises";

const DIRECT_FROM_BYTES = 256 * 1024;
/** What O_DIRECT may ask of places and lengths, on every device (logical blocks are at most as large). */
const DIRECT_BLOCK_BYTES = 4096;
const NEW_FILE = fsConstants.O_WRONLY | fsConstants.O_CREAT | fsConstants.O_EXCL;
const MODE = 0o644;

/** Resolves when `bytes` are durable under `path`, which must not exist. Rejects with the error of the system call; then a part may be there. */
export async function writeNewFile(path: string, bytes: Uint8Array): Promise<void> {
  if (bytes.length >= DIRECT_FROM_BYTES && (await tryWriteDirect(path, bytes))) return;
  const file = await open(path, NEW_FILE, MODE);
  try {
    await writeFully(file, bytes, 0, bytes.length, 0);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** False when O_DIRECT is refused here; then nothing is left. */
async function tryWriteDirect(path: string, bytes: Uint8Array): Promise<boolean> {
  if (await writeDirect(path, bytes)) return true;
  await unlink(path).catch(() => {});
  return false;
}

async function writeDirect(path: string, bytes: Uint8Array): Promise<boolean> {
  let file: FileHandle;
  try {
    file = await open(path, NEW_FILE | fsConstants.O_DIRECT, MODE);
  } catch (error) {
    if (isRefusal(error)) return false;
    throw error;
  }
  try {
    const wholeBytes = bytes.length - (bytes.length % DIRECT_BLOCK_BYTES);
    await writeFully(file, bytes, 0, wholeBytes, 0);
    if (wholeBytes < bytes.length) {
      const lastBlock = Buffer.allocUnsafeSlow(DIRECT_BLOCK_BYTES);
      lastBlock.set(bytes.subarray(wholeBytes));
      lastBlock.fill(0, bytes.length - wholeBytes);
      await writeFully(file, lastBlock, 0, DIRECT_BLOCK_BYTES, wholeBytes);
      await file.truncate(bytes.length);
    }
    await file.sync();
    return true;
  } catch (error) {
    if (isRefusal(error)) return false;
    throw error;
  } finally {
    await file.close();
  }
}

async function writeFully(file: FileHandle, bytes: Uint8Array, start: number, end: number, position: number): Promise<void> {
  for (let done = start; done < end; ) done += (await file.write(bytes, done, end - done, position + done - start)).bytesWritten;
}

function isRefusal(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "EINVAL" || error.code === "EOPNOTSUPP");
}
