/**
 * Objects as files below one directory: the embedded default. One file per key, the key's parts are folders.
 *
 * Create-once and crash safety: bytes go to a temporary file, are fsynced, and appear under their name by link(2), which fails when the name
 * exists; then the folder is fsynced. So a name never shows half an object, the answer "created" or "exists" is durable, and two processes
 * on one machine can share the directory. Temporary files of dead processes are removed at open.
 */
import { constants as fsConstants } from "node:fs";
import { type FileHandle, link, mkdir, open, readdir, rename, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { assert } from "../base/assert.ts";
import type { Random } from "../base/random.ts";
import { Trouble } from "../base/trouble.ts";
import { listFiles } from "./directory-listing.ts";
import { writeNewFile } from "./file-writer.ts";
import { assertKey, assertListPrefix, MAX_LIST_PAGE } from "./keys.ts";
import type { GetOptions, ListPage, ObjectInfo, ObjectStore, PutResult } from "./object-store.ts";
import { describeError, type StoreTroubleCode, storeTrouble } from "./troubles.ts";

/** Not a possible key part (keys never begin with a dot), so never listed. */
const TEMPORARY_FOLDER = ".tmp";

export class DirectoryStore implements ObjectStore {
  readonly description: string;
  readonly keepsNoBytes: boolean = true;
  readonly clockSkewMs = undefined;
  readonly #root: string;
  readonly #temporaryPrefix: string;
  #temporaryCount = 0;

  private constructor(root: string, temporaryPrefix: string) {
    this.#root = root;
    this.#temporaryPrefix = temporaryPrefix;
    this.description = `file:${root}`;
  }

  /** Creates `directory` when it is not there. Rejects with a Trouble. */
  static async open(directory: string, random: Random): Promise<DirectoryStore> {
    const nonce = Buffer.from(random.fillBytes(new Uint8Array(6))).toString("hex");
    const temporaryFolder = join(directory, TEMPORARY_FOLDER);
    const store = new DirectoryStore(directory, join(temporaryFolder, `${process.pid}-${nonce}-`));
    try {
      await mkdir(temporaryFolder, { recursive: true });
      await removeTemporariesOfTheDead(temporaryFolder);
    } catch (error) {
      throw store.#trouble(error, "open", "");
    }
    return store;
  }

  async createOnce(key: string, bytes: Uint8Array): Promise<PutResult> {
    assertKey(key);
    const path = join(this.#root, key);
    const temporary = await this.#writeTemporary("createOnce", key, bytes);
    try {
      const outcome = await inFolderOf(path, async () => {
        try {
          await link(temporary, path);
          return "created" as const;
        } catch (error) {
          if (errnoOf(error) === "EEXIST") return "exists" as const;
          throw error;
        }
      });
      return { outcome };
    } catch (error) {
      throw this.#trouble(error, "createOnce", key, linkedMaybe(error) ? "store-outcome-unknown" : undefined);
    } finally {
      await unlink(temporary).catch(() => {});
    }
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    assertKey(key);
    const path = join(this.#root, key);
    const temporary = await this.#writeTemporary("put", key, bytes);
    try {
      await inFolderOf(path, () => rename(temporary, path));
    } catch (error) {
      await unlink(temporary).catch(() => {});
      throw this.#trouble(error, "put", key);
    }
  }

  async get(key: string, range?: { start: number; end: number }, options?: GetOptions): Promise<Uint8Array | undefined> {
    assertKey(key);
    assert(range === undefined || (range.start >= 0 && range.start < range.end), `empty range of ${key}`);
    return this.#withFile("get", key, async (file, sizeBytes) => {
      const start = range?.start ?? 0;
      const end = range?.end ?? sizeBytes;
      if (end > sizeBytes) {
        const detail = `asked for bytes [${start}, ${end}) of ${sizeBytes}`;
        throw storeTrouble("store-object-short", { store: this.description, operation: "get", key, detail });
      }
      const { into } = options ?? {};
      assert(into === undefined || into.length === end - start, `memory of the range's length for ${key}`);
      return readFully(file, start, into ?? new Uint8Array(end - start));
    });
  }

  async getTail(key: string, lengthBytes: number): Promise<{ bytes: Uint8Array; sizeBytes: number } | undefined> {
    assertKey(key);
    return this.#withFile("getTail", key, async (file, sizeBytes) => {
      const length = Math.min(lengthBytes, sizeBytes);
      return { bytes: await readFully(file, sizeBytes - length, new Uint8Array(length)), sizeBytes };
    });
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    assertKey(key);
    try {
      const info = await stat(join(this.#root, key));
      return info.isFile() ? { key, sizeBytes: info.size, lastModifiedMs: Math.floor(info.mtimeMs) } : undefined;
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw this.#trouble(error, "head", key);
    }
  }

  async list(prefix: string, after?: string): Promise<ListPage> {
    assertListPrefix(prefix);
    try {
      const objects = await listFiles(this.#root, prefix, after, MAX_LIST_PAGE + 1);
      if (objects.length <= MAX_LIST_PAGE) return { objects, next: undefined };
      objects.pop();
      return { objects, next: objects.at(-1)!.key };
    } catch (error) {
      throw this.#trouble(error, "list", prefix);
    }
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      assertKey(key);
      try {
        await unlink(join(this.#root, key));
      } catch (error) {
        if (!isAbsent(error)) throw this.#trouble(error, "delete", key);
      }
    }
  }

  async close(): Promise<void> {}

  async #writeTemporary(operation: string, key: string, bytes: Uint8Array): Promise<string> {
    const path = `${this.#temporaryPrefix}${this.#temporaryCount++}`;
    try {
      await writeNewFile(path, bytes);
      return path;
    } catch (error) {
      await unlink(path).catch(() => {});
      throw this.#trouble(error, operation, key);
    }
  }

  async #withFile<T>(operation: string, key: string, use: (file: FileHandle, sizeBytes: number) => Promise<T>): Promise<T | undefined> {
    let file: FileHandle | undefined;
    try {
      file = await open(join(this.#root, key), fsConstants.O_RDONLY);
      const info = await file.stat();
      return info.isFile() ? await use(file, info.size) : undefined;
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw this.#trouble(error, operation, key);
    } finally {
      await file?.close();
    }
  }

  #trouble(error: unknown, operation: string, key: string, code?: StoreTroubleCode): Trouble {
    if (error instanceof Trouble) return error;
    const context = { store: this.description, operation, key, detail: describeError(error), cause: error };
    return storeTrouble(code ?? codeOfErrno(errnoOf(error)), context);
  }
}

/** Marks a failure after the name may have appeared. */
class FolderSyncFailure extends Error {
  override readonly name = "FolderSyncFailure";
}

function linkedMaybe(error: unknown): boolean {
  return error instanceof FolderSyncFailure;
}

/** Runs `change`, making the folder of `path` when it is missing, and fsyncs the folder after it. */
async function inFolderOf<T>(path: string, change: () => Promise<T>): Promise<T> {
  const folder = join(path, "..");
  let result: T;
  try {
    result = await change();
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
    await makeFolder(folder);
    result = await change();
  }
  await syncFolder(folder);
  return result;
}

async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, fsConstants.O_RDONLY | fsConstants.O_DIRECTORY);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw new FolderSyncFailure(`fsync of folder ${folder} failed: ${describeError(error)}`, { cause: error });
  }
}

/** mkdir -p that makes each new level durable. */
async function makeFolder(folder: string): Promise<void> {
  const firstMade = await mkdir(folder, { recursive: true });
  if (firstMade === undefined) return;
  for (let level = folder; level.length >= firstMade.length; level = join(level, "..")) await syncFolder(join(level, ".."));
}

/** Fills `bytes`. */
async function readFully(file: FileHandle, start: number, bytes: Uint8Array): Promise<Uint8Array> {
  const { length } = bytes;
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, length - done, start + done);
    if (bytesRead === 0) throw new Error(`file ended at ${start + done} of ${start + length}`);
    done += bytesRead;
  }
  return bytes;
}

async function removeTemporariesOfTheDead(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = Number.parseInt(name, 10);
    if (pid === process.pid || (Number.isInteger(pid) && (await exists(`/proc/${pid}`)))) continue;
    await unlink(join(folder, name)).catch(() => {});
  }
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function errnoOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

/** ENOTDIR: a part of the key is a file, so the key itself cannot exist. EISDIR: the key is a folder. */
function isAbsent(error: unknown): boolean {
  return ["ENOENT", "ENOTDIR", "EISDIR"].includes(errnoOf(error));
}

function codeOfErrno(errno: string): StoreTroubleCode {
  if (errno === "EACCES" || errno === "EPERM" || errno === "EROFS") return "store-access-denied";
  if (errno === "ENOSPC" || errno === "EDQUOT") return "store-full";
  if (errno === "ENOENT" || errno === "ENOTDIR") return "store-no-bucket";
  return "store-unavailable";
}
