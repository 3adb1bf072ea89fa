/**
 * The kernel's own record of the executable's writes: the WAL is opened with O_DIRECT, and each write to it carries RWF_DSYNC (or the file was
 * opened with O_DSYNC), on a file and on a block device. An acknowledgement follows such a write.
 */
import { describe, expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { canUseLoopDevices, LoopDevice, noLoopDevices } from "../support/loop-device.ts";
import { createTopicRaw, produceValues } from "../support/raw-client.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { hasTool, mustRunTool, testIf } from "../support/tools.ts";
import { hasWeir, WeirProcess, weirExecutable, weirMissing } from "../support/weir-process.ts";

const hasStrace = hasTool("strace");
const reason = hasWeir ? "needs the Debian package strace" : weirMissing;
const produced = 20;

interface Trace {
  readonly opens: readonly string[];
  readonly writes: readonly string[];
}

/** Lines of an `strace -y` output that open or write `path`. A call that another thread interrupted is put together again. */
function readTrace(file: string, path: string): Trace {
  const unfinished = new Map<string, string>();
  const calls: string[] = [];
  for (const line of readFileSync(file, "utf8").split("\n")) {
    const [, thread = "", text = ""] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(text);
    if (text.endsWith("<unfinished ...>")) unfinished.set(thread, text.replace("<unfinished ...>", ""));
    else if (resumed !== null) calls.push(`${unfinished.get(thread) ?? ""}${resumed[1]}`);
    else calls.push(text);
  }
  return {
    opens: calls.filter((call) => /^open(?:at)?\(/.test(call) && call.includes(`"${path}"`)),
    writes: calls.filter((call) => /^(?:pwrite|write|io_uring)/.test(call) && call.includes(`<${path}`)),
  };
}

async function traceBroker(folder: string, walPath: string, setting: string): Promise<Trace> {
  const output = join(folder, "trace.txt");
  // -D: the broker, not strace, is the child that signals reach.
  const wrapper = [
    "strace",
    "-D",
    "-f",
    "-y",
    "-o",
    output,
    "-e",
    "trace=open,openat,write,pwrite64,pwritev,pwritev2,writev,io_uring_enter",
  ];
  const weir = await WeirProcess.start({ folder, wrapper, settings: { wal: setting } });
  using connection = await KafkaConnection.open(weir.kafkaPort);
  await createTopicRaw(connection, "traced");
  for (let index = 0; index < produced; index++) {
    const { errorCode } = await produceValues(connection, "traced", 0, [`record ${index}`]);
    expect(errorCode).toBe(0);
  }
  expect(await weir.stop()).toBe(0);
  return readTrace(output, walPath);
}

function checkTrace(trace: Trace): void {
  const forWriting = trace.opens.filter((open) => open.includes("O_RDWR") || open.includes("O_WRONLY"));
  const direct = forWriting.filter((open) => open.includes("O_DIRECT"));
  expect(direct.length).toBeGreaterThan(0);
  const isSynchronous = direct.some((open) => open.includes("O_DSYNC"));
  // One produce at a time: each acknowledgement had a write of its own.
  expect(trace.writes.length).toBeGreaterThanOrEqual(produced);
  const undurable = trace.writes.filter((write) => !isSynchronous && !write.includes("RWF_DSYNC"));
  expect(undurable).toEqual([]);
}

describe("strace", () => {
  testIf(hasWeir && hasStrace, reason)("a file WAL is written with O_DIRECT, each write durably", async () => {
    using folder = new TemporaryFolder("strace");
    const path = join(folder.path, "wal");
    checkTrace(await traceBroker(folder.path, path, `file:${path}?size=64MiB`));
  });

  testIf(hasWeir && hasStrace && canUseLoopDevices, canUseLoopDevices ? reason : noLoopDevices)("a block device too", async () => {
    using folder = new TemporaryFolder("strace");
    using device = LoopDevice.tryCreate(folder.path, 64 * 1024 * 1024);
    if (device === undefined) throw new Error(noLoopDevices);
    await mustRunTool([weirExecutable, "wal", "format", device.path]);
    checkTrace(await traceBroker(folder.path, device.path, `block:${device.path}`));
  });
});
