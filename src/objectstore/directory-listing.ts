/**
 * Lists the files below a directory as keys in byte order. A folder sorts as its name plus "/": "a-b" comes before "a/c" because "-" is
 * less than "/". Names that begin with a dot are not keys. Reads each folder on the way once per call.
 */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { compareKeys } from "./keys.ts";
import type { ObjectInfo } from "./object-store.ts";

/** At most `limit` keys that begin with `prefix` and lie after `after`. */
export async function listFiles(root: string, prefix: string, after: string | undefined, limit: number): Promise<ObjectInfo[]> {
  const found: ObjectInfo[] = [];
  const slash = prefix.lastIndexOf("/");
  await walk(root, slash === -1 ? "" : prefix.slice(0, slash + 1), { prefix, after, limit, found });
  return found;
}

interface Walk {
  readonly prefix: string;
  readonly after: string | undefined;
  readonly limit: number;
  readonly found: ObjectInfo[];
}

async function walk(root: string, folderKey: string, request: Walk): Promise<void> {
  for (const name of await sortedNames(join(root, folderKey))) {
    if (request.found.length === request.limit) return;
    const key = folderKey + name;
    if (name.endsWith("/")) {
      if (mayHold(key, request)) await walk(root, key, request);
    } else if (key.startsWith(request.prefix) && (request.after === undefined || key > request.after)) {
      const info = await statIfThere(join(root, key));
      if (info !== undefined) request.found.push({ key, sizeBytes: info.size, lastModifiedMs: Math.floor(info.mtimeMs) });
    }
  }
}

/** Can a key below the folder `key` (it ends with "/") match? */
function mayHold(key: string, { prefix, after }: Walk): boolean {
  if (!key.startsWith(prefix) && !prefix.startsWith(key)) return false;
  return after === undefined || after < key || after.startsWith(key);
}

async function sortedNames(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    const names: string[] = [];
    for (const entry of entries) {
      if (!entry.name.startsWith(".")) names.push(entry.isDirectory() ? `${entry.name}/` : entry.name);
    }
    return names.sort(compareKeys);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

async function statIfThere(path: string): Promise<{ size: number; mtimeMs: number } | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");
}
