/**
 * How much memory this process may use: the least of the cgroup's limit (v2 and v1, any level above us) and the machine's memory.
 * Defaults of every buffer derive from it, so that a small container survives every load (CASES M11).
 */
const CGROUP_ROOT = "/sys/fs/cgroup";
/** Used when nothing can be read: a small machine. */
const FALLBACK_BYTES = 1024 ** 3;

/** Content of a small file; undefined when it cannot be read. */
export type ReadTextFile = (path: string) => string | undefined;

export function readMemoryLimitBytes(readTextFile: ReadTextFile): number {
  const limits = [readMachineBytes(readTextFile)];
  for (const line of (readTextFile("/proc/self/cgroup") ?? "").split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path === undefined) continue;
    if (controllers === "") limits.push(leastAlong(readTextFile, CGROUP_ROOT, path, "memory.max"));
    else if (controllers?.split(",").includes("memory")) {
      limits.push(leastAlong(readTextFile, `${CGROUP_ROOT}/memory`, path, "memory.limit_in_bytes"));
    }
  }
  const least = Math.min(...limits);
  return Number.isFinite(least) ? least : FALLBACK_BYTES;
}

function readMachineBytes(readTextFile: ReadTextFile): number {
  const kilobytes = /^MemTotal:\s+(\d+) kB$/m.exec(readTextFile("/proc/meminfo") ?? "")?.[1];
  return kilobytes === undefined ? Number.POSITIVE_INFINITY : Number(kilobytes) * 1024;
}

/** The least limit from our own group up to the root; inside a container our path may not be visible, then the root is what is ours. */
function leastAlong(readTextFile: ReadTextFile, root: string, path: string, file: string): number {
  let least = Number.POSITIVE_INFINITY;
  const parts = path.split("/").filter((part) => part !== "" && part !== "..");
  for (let depth = parts.length; depth >= 0; depth--) {
    const text = readTextFile([root, ...parts.slice(0, depth), file].join("/"))?.trim();
    if (text !== undefined && /^\d+$/.test(text)) least = Math.min(least, Number(text));
  }
  return least;
}
