/** What processes have used, from /proc: CPU of all threads, resident memory, bytes to and from the disk; and how sessions are weighed. Linux alone. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";

/** USER_HZ, which Linux fixes at 100 for what it tells programs. */
const TICKS_PER_SECOND = 100;

/** User and system seconds of all threads that the process has and had. */
export function readCpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Busy seconds of all processors since boot: everything but idle and waiting for IO. */
export function readMachineBusySeconds(): number {
  const [, user, nice, system, , , irq, softIrq] = (readFileSync("/proc/stat", "utf8").split("\n")[0] ?? "").split(/\s+/).map(Number);
  return ((user ?? 0) + (nice ?? 0) + (system ?? 0) + (irq ?? 0) + (softIrq ?? 0)) / TICKS_PER_SECOND;
}

/** Seconds that a hypervisor gave to other machines while this one had work, all processors. */
export function readStolenSeconds(): number {
  return Number((readFileSync("/proc/stat", "utf8").split("\n")[0] ?? "").split(/\s+/)[8] ?? 0) / TICKS_PER_SECOND;
}

function readStatusBytes(pid: number, field: "VmRSS" | "VmHWM"): number {
  const kib = new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  if (kib === undefined) throw new Error(`no ${field} for process ${pid}`);
  return Number(kib) * 1024;
}

export const readResidentBytes = (pid: number): number => readStatusBytes(pid, "VmRSS");

/** Highest resident memory since the process began, or since `resetPeakResident`. */
export const readPeakResidentBytes = (pid: number): number => readStatusBytes(pid, "VmHWM");

export function resetPeakResident(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

/** Bytes that the process caused to be fetched from, and sent to, the disk; the page cache serves and gathers without being counted. */
export function readDiskBytes(pid: number): { readonly read: number; readonly written: number } {
  const io = readFileSync(`/proc/${pid}/io`, "utf8");
  const field = (name: string): number => Number(new RegExp(`^${name}: (\\d+)$`, "m").exec(io)?.[1] ?? 0);
  return { read: field("read_bytes"), written: field("write_bytes") };
}

/** Weighs a process's whole session against others, as nice does processes within one. Negative needs root. Does nothing where sessions are not weighed. */
export function setSessionNice(pid: number | "self", nice: number): void {
  const file = `/proc/${pid}/autogroup`;
  if (nice !== 0 && existsSync(file)) writeFileSync(file, String(nice));
}
