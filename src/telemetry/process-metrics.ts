/**
 * What every process exposes by Prometheus's conventions (process_...), and which build this is. Read from /proc when scraped; a figure that cannot be read
 * is NaN, never 0.
 */
import { readdirSync, readFileSync } from "node:fs";
import type { Clock } from "../base/clock.ts";
import type { Metrics } from "./telemetry.ts";

const KIBIBYTE = 1024;

export function declareProcessMetrics(metrics: Metrics, clock: Clock, build: Readonly<{ version: string; kafka: string }>): void {
  const startedSeconds = clock.wallMs() / 1_000;
  metrics.gauge("weir_build_info", "1; its labels say which version this is, and which Kafka's protocol it follows.", build).set(1);
  metrics
    .gauge("process_start_time_seconds", "When the process began, in seconds since 1970. A change is a restart.")
    .set(Math.round(startedSeconds * 1_000) / 1_000);
  metrics.observedGauge("process_open_fds", "Descriptors in use: connections, the WAL, requests to the object store.", readOpenDescriptors);
  metrics.observedGauge("process_max_fds", "Most descriptors that the process may use (RLIMIT_NOFILE).", readMaxDescriptors);
  metrics.observedGauge("process_resident_memory_bytes", "Resident memory, the touched part of the ring included.", readResidentBytes);
}

function readOpenDescriptors(): number {
  try {
    // One of them is the folder that is being read.
    return readdirSync("/proc/self/fd").length - 1;
  } catch {
    return Number.NaN;
  }
}

function readMaxDescriptors(): number {
  const soft = /^Max open files\s+(\S+)/m.exec(readText("/proc/self/limits"))?.[1];
  return soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft ?? Number.NaN);
}

function readResidentBytes(): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readText("/proc/self/status"))?.[1] ?? Number.NaN) * KIBIBYTE;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
