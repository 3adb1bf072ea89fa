/** The memory limit under cgroup v1, v2, in containers and without any. */
import { expect, test } from "bun:test";
import { readMemoryLimitBytes } from "../../../src/config/memory-limit.ts";

const meminfo = { "/proc/meminfo": "MemTotal:       16384000 kB\nMemFree: 1 kB\n" };
const read = (files: Readonly<Record<string, string>>) => readMemoryLimitBytes((path) => files[path]);

test.each([
  ["no cgroup: the machine", { ...meminfo }, 16384000 * 1024],
  ["v2, own group", { ...meminfo, "/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/b/memory.max": "1073741824\n" }, 1073741824],
  [
    "v2, a level above",
    { ...meminfo, "/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/b/memory.max": "max\n", "/sys/fs/cgroup/a/memory.max": "2147483648" },
    2147483648,
  ],
  ["v2 inside a container", { ...meminfo, "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "536870912" }, 536870912],
  [
    "v2, path outside the namespace",
    { ...meminfo, "/proc/self/cgroup": "0::/../x\n", "/sys/fs/cgroup/memory.max": "536870912" },
    536870912,
  ],
  [
    "v1",
    {
      ...meminfo,
      "/proc/self/cgroup": "3:cpu,memory:/docker/x\n1:name=systemd:/\n",
      "/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "268435456",
    },
    268435456,
  ],
  [
    "v1 in a container, unlimited",
    { ...meminfo, "/proc/self/cgroup": "3:memory:/docker/x\n", "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712" },
    16384000 * 1024,
  ],
  ["nothing readable", {}, 1024 ** 3],
] as [string, Record<string, string>, number][])("%s", (_, files, expected) => {
  expect(read(files)).toBe(expected);
});
