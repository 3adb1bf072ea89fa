/**
 * `weir wal bench PATH`: how fast a device makes writes durable, measured through the same addon calls that a broker uses, before a broker has it.
 *
 * What a device holds is safe unless --force is given: one that is mounted, or holds a WAL or anything else, is refused, as `weir wal format` refuses it, and
 * so is any file that exists. Nothing is written to the first MiB, so a blank device is still blank afterwards, also when this is cut
 * short. With --force that MiB is zeroed first: what is left can never be taken for a whole WAL. A file that this makes has no name any more once it is open.
 * Neighbours: `wal-command.ts` (what is there, refusals), `storage/wal/` (the device).
 */
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import { Trouble } from "../base/trouble.ts";
import type { DeviceInspection } from "../native/addon.ts";
import type { Crc32c } from "../storage/wal/wal.ts";
import type { WalDevice } from "../storage/wal/wal-device.ts";
import { type OutputForm, renderFields, renderJson, renderTable } from "./output.ts";
import { renderEnd } from "./terminal.ts";
import { type CommandResult, refuseUsed } from "./wal-command.ts";

const KIBIBYTE = 1024;
const MEBIBYTE = 1024 * KIBIBYTE;
const GIBIBYTE = 1024 * MEBIBYTE;

/** Left alone: where a header, a file system or a partition table begins, and where `weir wal format` looks. */
const KEPT_BYTES = MEBIBYTE;
/** Room for the largest write at the largest depth, some times over. */
const LEAST_BYTES = 32 * MEBIBYTE;
const LAYOUT_BYTES = MEBIBYTE;
const MAX_DEPTH = 64;
const MAX_SIZE_BYTES = 16 * MEBIBYTE;
const MAX_FILE_BYTES = 64 * GIBIBYTE;
const BLOCK_BYTES = 4 * KIBIBYTE;

export interface WalBenchArguments {
  /** Path of a block device, or of a file to make. */
  readonly device: string;
  /** "4KiB,1MiB": lengths of a write, each with each depth. */
  readonly sizes: string;
  /** "1,4": writes in flight. */
  readonly depths: string;
  /** Length of each measurement. */
  readonly seconds: string;
  /** Size of a file that is made. */
  readonly fileSize: string;
  /** Also over what is there. */
  readonly force: boolean;
  /** Reads instead of writes; harms nothing and works beside a running broker. */
  readonly readOnly: boolean;
  readonly output: OutputForm;
}

export interface WalBenchWorld {
  inspectDevice(path: string): DeviceInspection;
  /** Exclusive unless read-only; makes a missing file of `createSizeBytes`. Throws a Trouble. */
  openDevice(
    path: string,
    options: { readonly readOnly: boolean; readonly writeDepth?: number; readonly createSizeBytes?: number },
  ): WalDevice;
  /** Page-aligned memory, as the broker's ring is. */
  allocateRing(bytes: number): Uint8Array;
  /** Takes a file's name away; what is open stays. */
  unlink(path: string): void;
  /** The folder that a path lies in exists. */
  hasFolder(path: string): boolean;
  readonly crc32c: Crc32c;
  readonly clock: Clock;
  readonly random: Random;
}

/** One line of the table. Latencies are those of one write, from the call to its completion in the event loop. */
export interface WalBenchRow {
  readonly sizeBytes: number;
  readonly depth: number;
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  readonly operationsPerSecond: number;
  readonly megabytesPerSecond: number;
}

interface Plan {
  readonly sizes: readonly number[];
  readonly depths: readonly number[];
  readonly seconds: number;
  readonly fileBytes: number;
}

/** Never rejects: a Trouble becomes one line on stderr and its exit code. `say` gets a line for each measurement that begins. */
export async function runWalBench(args: WalBenchArguments, world: WalBenchWorld, say: (line: string) => void): Promise<CommandResult> {
  try {
    const plan = parsePlan(args);
    const device = await open(args, plan, world, say);
    try {
      const rows = await measureAll(args, plan, device, world, say);
      return { exitCode: 0, stdout: render(args, device, rows), stderr: "" };
    } finally {
      await device.close();
    }
  } catch (error) {
    const { line, exitCode } = renderEnd(error);
    return { exitCode: exitCode as CommandResult["exitCode"], stdout: "", stderr: `${line}\n` };
  }
}

function usage(message: string, remedy: string): Trouble {
  return new Trouble({ code: "usage", message, remedy, retryable: false, exitCode: 2 });
}

function parsePlan(args: WalBenchArguments): Plan {
  const sizes = args.sizes.split(",").map((text) => {
    const bytes = parseBytes("--sizes", text, MAX_SIZE_BYTES);
    if (bytes % BLOCK_BYTES !== 0) throw usage(`--sizes ${text} is not a multiple of 4KiB`, "a WAL is written in blocks of 4KiB");
    return bytes;
  });
  const depths = args.depths.split(",").map((text) => {
    const depth = Number(text);
    if (!Number.isInteger(depth) || depth < 1 || depth > MAX_DEPTH) throw usage(`--depths ${text}`, `a depth is 1 to ${MAX_DEPTH}`);
    return depth;
  });
  const seconds = Number(args.seconds);
  if (!(seconds > 0 && seconds <= 3600)) throw usage(`--seconds ${args.seconds}`, "a number above 0, at most 3600");
  const fileBytes = parseBytes("--file-size", args.fileSize, MAX_FILE_BYTES);
  if (fileBytes < LEAST_BYTES || fileBytes % BLOCK_BYTES !== 0)
    throw usage(`--file-size ${args.fileSize}`, "at least 32MiB, a multiple of 4KiB");
  return { sizes, depths, seconds, fileBytes };
}

function parseBytes(option: string, text: string, most: number): number {
  const match = /^(\d{1,12})(KiB|MiB|GiB)?$/.exec(text.trim());
  const unit = { KiB: KIBIBYTE, MiB: MEBIBYTE, GiB: GIBIBYTE }[match?.[2] ?? ""] ?? 1;
  const bytes = Number(match?.[1] ?? Number.NaN) * unit;
  if (!(bytes > 0 && bytes <= most))
    throw usage(`${option} ${text} is not known`, `bytes, or such as 4KiB or 1MiB, at most ${showBytes(most)}`);
  return bytes;
}

function showBytes(bytes: number): string {
  for (const [unit, name] of [
    [GIBIBYTE, "GiB"],
    [MEBIBYTE, "MiB"],
    [KIBIBYTE, "KiB"],
  ] as const) {
    if (bytes % unit === 0) return `${bytes / unit} ${name}`;
  }
  return `${bytes} B`;
}

/** The device, ready to be measured: what was refused is untouched, what is given up is zeroed, a new file is laid out. */
async function open(args: WalBenchArguments, plan: Plan, world: WalBenchWorld, say: (line: string) => void): Promise<WalDevice> {
  const { device: path, readOnly, force } = args;
  const inspection = world.inspectDevice(path);
  if (inspection.exists && inspection.kind === "other") throw unsuitable(path);
  if (!inspection.exists) {
    if (readOnly) throw missing(`${path} does not exist`, "--read-only wants a device or a file that is there");
    if (path.startsWith("/dev/"))
      throw missing(`${path} does not exist`, "name a block device, or a file outside of /dev that is to be made");
    if (!world.hasFolder(path)) throw missing(`the folder of ${path} does not exist`, "make it, or name another");
  } else if (!readOnly && !force) {
    await refuseUsed(path, inspection, world, "overwrites");
    if (inspection.kind === "file") {
      const remedy = "name a file that does not exist yet; --force overwrites this one; --read-only reads it";
      throw new Trouble({ code: "wal-file-exists", message: `${path} is there already`, remedy, retryable: false, exitCode: 2 });
    }
  }
  const writeDepth = Math.max(...plan.depths);
  const device = world.openDevice(path, { readOnly, writeDepth, ...(inspection.exists ? {} : { createSizeBytes: plan.fileBytes }) });
  try {
    if (!inspection.exists) world.unlink(path);
    if (device.capacityBytes < LEAST_BYTES)
      throw unsuitable(path, `${path} has ${device.capacityBytes} bytes`, "at least 32MiB are needed");
    if (!readOnly && inspection.exists && inspection.content !== "") await device.write(world.allocateRing(KEPT_BYTES), 0);
    if (!inspection.exists) await layOut(device, world, say);
    return device;
  } catch (error) {
    await device.close();
    throw error;
  }
}

function unsuitable(
  path: string,
  message = `${path} is neither a block device nor a regular file`,
  remedy = "name a block device, or a file that does not exist yet",
): Trouble {
  return new Trouble({ code: "wal-device-unsuitable", message, remedy, retryable: false, exitCode: 2 });
}

function missing(message: string, remedy: string): Trouble {
  return new Trouble({ code: "wal-device-missing", message, remedy, retryable: false, exitCode: 2 });
}

/** Writes a new file once: a file system is slower at the first write into a block than at all later ones, of which a WAL is made. */
async function layOut(device: WalDevice, world: WalBenchWorld, say: (line: string) => void): Promise<void> {
  say(`laying out a file of ${showBytes(device.capacityBytes)}`);
  const bytes = world.random.fillBytes(world.allocateRing(LAYOUT_BYTES));
  for (let offset = 0; offset < device.capacityBytes; offset += bytes.length) {
    await device.write(bytes.subarray(0, Math.min(bytes.length, device.capacityBytes - offset)), offset);
  }
}

async function measureAll(
  args: WalBenchArguments,
  plan: Plan,
  device: WalDevice,
  world: WalBenchWorld,
  say: (line: string) => void,
): Promise<WalBenchRow[]> {
  // Random, so that no device saves itself the work; one buffer a lane would only cost memory, since nobody reads it back.
  const bytes = world.random.fillBytes(world.allocateRing(Math.max(...plan.sizes)));
  const rows: WalBenchRow[] = [];
  const cases = plan.sizes.flatMap((sizeBytes) => plan.depths.map((depth) => ({ sizeBytes, depth })));
  for (const [index, { sizeBytes, depth }] of cases.entries()) {
    const what = `${showBytes(sizeBytes)} ${args.readOnly ? "reads" : "durable writes"}, ${depth} in flight`;
    say(`${what}: ${plan.seconds} s (${index + 1} of ${cases.length})`);
    const operate = args.readOnly
      ? async (offset: number): Promise<void> => void (await device.read(offset, sizeBytes))
      : (offset: number) => device.write(bytes.subarray(0, sizeBytes), offset);
    rows.push(await measure(operate, sizeBytes, depth, plan.seconds, device.capacityBytes, world.clock));
  }
  return rows;
}

/** Goes through the device in order and round again, as a WAL does. */
async function measure(
  operate: (offset: number) => Promise<void>,
  sizeBytes: number,
  depth: number,
  seconds: number,
  capacityBytes: number,
  clock: Clock,
): Promise<WalBenchRow> {
  const latenciesMs: number[] = [];
  const slots = Math.floor((capacityBytes - KEPT_BYTES) / sizeBytes);
  const begun = clock.monotonicMs();
  const end = begun + seconds * 1000;
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let now = clock.monotonicMs(); now < end; ) {
      await operate(KEPT_BYTES + (next++ % slots) * sizeBytes);
      const after = clock.monotonicMs();
      latenciesMs.push(after - now);
      now = after;
    }
  };
  await Promise.all(Array.from({ length: depth }, lane));
  const elapsedSeconds = (clock.monotonicMs() - begun) / 1000;
  const sorted = Float64Array.from(latenciesMs).sort();
  const at = (share: number): number => round(sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? 0);
  return {
    sizeBytes,
    depth,
    count: sorted.length,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    p999Ms: at(0.999),
    maxMs: at(1),
    operationsPerSecond: round(sorted.length / elapsedSeconds),
    megabytesPerSecond: round((sorted.length * sizeBytes) / elapsedSeconds / 1e6),
  };
}

const round = (value: number): number => Math.round(value * 1000) / 1000;

function render(args: WalBenchArguments, device: WalDevice, rows: readonly WalBenchRow[]): string {
  const what = args.readOnly ? "reads" : "durable writes";
  if (args.output === "json") return renderJson({ device: args.device, description: device.description, what, rows });
  const fields = renderFields([
    ["device", device.description],
    ["measured", what],
  ]);
  const header = ["size", "in flight", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "a second", "MB/s"];
  const cells = rows.map((row) => [
    showBytes(row.sizeBytes),
    row.depth,
    ...[row.p50Ms, row.p99Ms, row.p999Ms, row.maxMs].map((ms) => ms.toFixed(3)),
    Math.round(row.operationsPerSecond),
    row.megabytesPerSecond.toFixed(1),
  ]);
  return `${fields}\n${renderTable(header, cells)}`;
}
