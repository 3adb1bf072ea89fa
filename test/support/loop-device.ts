/**
 * A block device made of a file: what a WAL volume is to the executable. Needs root and the loop driver; tests that want one are skipped
 * where it cannot be made. Direct I/O goes through to the file below.
 */
import { closeSync, ftruncateSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { hasTool, isRoot, tryRunToolSync } from "./tools.ts";

export class LoopDevice {
  /** "/dev/loop3" */
  readonly path: string;
  private readonly backing: string;

  private constructor(path: string, backing: string) {
    this.path = path;
    this.backing = backing;
  }

  /** Undefined where loop devices cannot be made. The backing file lies in `folder`. */
  static tryCreate(folder: string, sizeBytes: number, name = "wal-device"): LoopDevice | undefined {
    const backing = join(folder, name);
    const descriptor = openSync(backing, "w");
    ftruncateSync(descriptor, sizeBytes);
    closeSync(descriptor);
    const path = tryRunToolSync(["losetup", "--find", "--show", "--direct-io=on", backing])?.trim();
    if (path === undefined || path === "") {
      rmSync(backing);
      return undefined;
    }
    return new LoopDevice(path, backing);
  }

  [Symbol.dispose](): void {
    tryRunToolSync(["losetup", "--detach", this.path]);
    rmSync(this.backing, { force: true });
  }
}

/** Whether this machine can make loop devices at all, asked once. */
export const canUseLoopDevices = isRoot && hasTool("losetup") && tryRunToolSync(["losetup", "--find"]) !== undefined;
export const noLoopDevices = "loop devices need root and losetup";
