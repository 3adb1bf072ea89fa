/** One measured run: what a server and the load program used while something happened and until the server owed nothing any more. */
import type { Answer, LoadProgram } from "./load-program.ts";
import {
  readCpuSeconds,
  readDiskBytes,
  readMachineBusySeconds,
  readPeakResidentBytes,
  readStolenSeconds,
  resetPeakResident,
} from "./process-usage.ts";
import type { BenchServer } from "./servers.ts";

export interface Usage {
  /** User and system, all threads, from before the first request until `settle`. */
  readonly serverCpuSeconds: number;
  readonly loadCpuSeconds: number;
  readonly peakResidentBytes: number;
  readonly diskReadBytes: number;
  readonly diskWrittenBytes: number;
  readonly wallSeconds: number;
  /** Cores that other programs, and the kernel for nobody in particular, kept busy. */
  readonly otherCores: number;
  /** Cores that the hypervisor gave to other machines. */
  readonly stolenCores: number;
}

export async function measureUsage(
  server: BenchServer,
  load: LoadProgram,
  body: () => Promise<Answer>,
): Promise<{ readonly answer: Answer; readonly usage: Usage }> {
  const { pid } = server;
  resetPeakResident(pid);
  const read = () => ({
    server: readCpuSeconds(pid),
    load: readCpuSeconds(load.pid),
    disk: readDiskBytes(pid),
    busy: readMachineBusySeconds(),
    stolen: readStolenSeconds(),
    at: performance.now(),
  });
  const before = read();
  const answer = await body();
  await server.settle();
  const after = read();
  const serverCpuSeconds = after.server - before.server;
  const loadCpuSeconds = after.load - before.load;
  const wallSeconds = (after.at - before.at) / 1000;
  return {
    answer,
    usage: {
      serverCpuSeconds,
      loadCpuSeconds,
      peakResidentBytes: readPeakResidentBytes(pid),
      diskReadBytes: after.disk.read - before.disk.read,
      diskWrittenBytes: after.disk.written - before.disk.written,
      wallSeconds,
      otherCores: Math.max(0, after.busy - before.busy - serverCpuSeconds - loadCpuSeconds) / wallSeconds,
      stolenCores: (after.stolen - before.stolen) / wallSeconds,
    },
  };
}
