/**
 * `weir wal format|inspect|verify DEVICE`: what an operator does with a WAL device before a broker has it, and when something is wrong with it. Only `format`
 * writes. Takes parsed arguments and gives text and exit code; the caller prints. Neighbours: `storage/wal/` (header, scan, verify), `native` through the functions given.
 */
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import { Trouble } from "../base/trouble.ts";
import type { DeviceInspection } from "../native/addon.ts";
import { readHeader } from "../storage/wal/header-store.ts";
import { formatWal } from "../storage/wal/open-wal.ts";
import { verifyWal } from "../storage/wal/verify.ts";
import type { Crc32c } from "../storage/wal/wal.ts";
import { WAL_BLOCK_BYTES, type WalDevice } from "../storage/wal/wal-device.ts";
import { WAL_FORMAT_VERSION, type WalHeader } from "../storage/wal/wal-format.ts";
import type { Logger } from "../telemetry/telemetry.ts";
import { renderEnd } from "./terminal.ts";

export interface WalCommandArguments {
  readonly verb: "format" | "inspect" | "verify";
  /** Path of the device or file. */
  readonly device: string;
  /** `format` only: over whatever is there. */
  readonly force?: boolean;
  readonly output?: "table" | "json";
}

export interface WalCommandWorld {
  inspectDevice(path: string): DeviceInspection;
  /** Exclusive unless read-only. Throws a Trouble. */
  openDevice(path: string, options: { readonly readOnly: boolean }): WalDevice;
  readonly crc32c: Crc32c;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: Random;
}

export interface CommandResult {
  readonly exitCode: 0 | 1 | 2 | 70;
  readonly stdout: string;
  readonly stderr: string;
}

type Field = string | number | boolean | null;
type Fields = Readonly<Record<string, Field | readonly Readonly<Record<string, Field>>[]>>;

/** Never rejects: a Trouble becomes one line on stderr and its exit code. `verify` exits 1 when it finds damage. */
export async function runWalCommand(args: WalCommandArguments, world: WalCommandWorld): Promise<CommandResult> {
  try {
    const inspection = inspectPresent(args.device, world);
    if (args.verb === "format") return await format(args, inspection, world);
    const device = world.openDevice(args.device, { readOnly: true });
    try {
      return args.verb === "inspect" ? await inspect(args, device, inspection, world) : await verify(args, device, world);
    } finally {
      await device.close();
    }
  } catch (error) {
    const { line, exitCode } = renderEnd(error);
    return { exitCode: exitCode as CommandResult["exitCode"], stdout: "", stderr: `${line}\n` };
  }
}

function inspectPresent(path: string, world: WalCommandWorld): DeviceInspection {
  const inspection = world.inspectDevice(path);
  if (inspection.exists && inspection.kind !== "other") return inspection;
  throw new Trouble({
    code: inspection.exists ? "wal-device-unsuitable" : "wal-device-missing",
    message: inspection.exists ? `${path} is neither a block device nor a regular file` : `${path} does not exist`,
    remedy: "name a block device, or a file that a broker with wal=file:PATH has made",
    retryable: false,
    exitCode: 2,
  });
}

async function format(args: WalCommandArguments, inspection: DeviceInspection, world: WalCommandWorld): Promise<CommandResult> {
  if (args.force !== true) await refuseUsed(args.device, inspection, world, "formats");
  const device = world.openDevice(args.device, { readOnly: false });
  try {
    const header = await formatWal(device, world.crc32c, world.random);
    return done(args, { device: args.device, ...headerFields(header) }, 0);
  } finally {
    await device.close();
  }
}

/** Throws a Trouble unless nobody uses the device and it is blank. `verb` is what --force would do to it. */
export async function refuseUsed(
  path: string,
  inspection: DeviceInspection,
  world: Pick<WalCommandWorld, "openDevice" | "crc32c">,
  verb: "formats" | "overwrites",
): Promise<void> {
  if (inspection.usedBy.length > 0) {
    const remedy = "unmount it first, and make sure that nobody needs what is on it";
    throw refusal("wal-device-mounted", `${path} is in use: ${inspection.usedBy.join(", ")}`, remedy);
  }
  if (inspection.content === "") return;
  const holds = inspection.content === "weir" ? await describeOwner(path, world) : inspection.content;
  throw refusal(
    "wal-device-not-blank",
    `${path} is not blank: it holds ${holds}`,
    `name another device; --force ${verb} it and gives up what it holds`,
  );
}

async function describeOwner(path: string, world: Pick<WalCommandWorld, "openDevice" | "crc32c">): Promise<string> {
  const device = world.openDevice(path, { readOnly: true });
  try {
    const read = await readHeader(device, world.crc32c);
    if (read.kind === "blank") return "a WAL";
    const owner = read.header.claimedBy;
    return `WAL ${read.header.walId}, ${owner === undefined ? "not claimed yet" : `of cluster ${owner.clusterId} node ${owner.nodeId}`}`;
  } catch {
    return "a WAL whose header cannot be read";
  } finally {
    await device.close();
  }
}

function refusal(code: string, message: string, remedy: string): Trouble {
  return new Trouble({ code, message, remedy, retryable: false, exitCode: 2 });
}

async function inspect(
  args: WalCommandArguments,
  device: WalDevice,
  inspection: DeviceInspection,
  world: WalCommandWorld,
): Promise<CommandResult> {
  const about = {
    device: args.device,
    kind: inspection.kind,
    deviceBytes: device.capacityBytes,
    usedBy: inspection.usedBy.join(", ") || null,
  };
  const read = await readHeader(device, world.crc32c);
  if (read.kind === "blank") return done(args, { ...about, state: "not a WAL", content: inspection.content || "blank" }, 0);
  return done(args, { ...about, ...headerFields(read.header), oneCopyDamaged: read.oneCopyDamaged }, 0);
}

async function verify(args: WalCommandArguments, device: WalDevice, world: WalCommandWorld): Promise<CommandResult> {
  const { crc32c, clock, logger } = world;
  const read = await readHeader(device, crc32c);
  if (read.kind === "blank") throw refusal("wal-not-formatted", `${args.device} has no header of a WAL`, "name the device of a broker");
  const { header } = read;
  const report = await verifyWal({ device, header, crc32c, clock, logger });
  const about = { device: args.device, walId: header.walId, walEpoch: header.walEpoch, capacityBlocks: header.capacityBlocks };
  const damage = report.damage.map((gap) => ({ fromLsn: gap.fromLsn, toLsn: gap.toLsn, blocks: gap.toLsn - gap.fromLsn }));
  const isSound = damage.length === 0 && !read.oneCopyDamaged;
  const fields = {
    ...about,
    ...(report.log ?? { commits: 0 }),
    leftoverCommits: report.leftoverCommits,
    oneHeaderCopyDamaged: read.oneCopyDamaged,
    damage,
    verdict: isSound ? "sound" : "damaged",
  };
  return done(args, fields, isSound ? 0 : 1);
}

function headerFields(header: WalHeader): Record<string, Field> {
  return {
    formatVersion: WAL_FORMAT_VERSION,
    walId: header.walId,
    state: header.claimedBy === undefined ? "unclaimed" : "claimed",
    clusterId: header.claimedBy?.clusterId ?? null,
    nodeId: header.claimedBy?.nodeId ?? null,
    walEpoch: header.walEpoch,
    generation: header.generation,
    capacityBlocks: header.capacityBlocks,
    capacityBytes: header.capacityBlocks * WAL_BLOCK_BYTES,
    dataStartBlock: header.dataStartBlock,
    maxInFlightBytes: header.maxInFlightBytes,
    metadataSlot: header.metadataSlot?.slot ?? null,
    metadataSlotHash: header.metadataSlot?.hash ?? null,
  };
}

function done(args: WalCommandArguments, fields: Fields, exitCode: 0 | 1): CommandResult {
  return { exitCode, stdout: args.output === "json" ? `${JSON.stringify(fields)}\n` : renderTable(fields), stderr: "" };
}

/** One "name  value" line a field; a list gets a line an item. */
function renderTable(fields: Fields): string {
  const rows: [string, string][] = [];
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value !== "object" || value === null) rows.push([name, value === null ? "-" : String(value)]);
    else if (value.length === 0) rows.push([name, "none"]);
    else
      for (const item of value)
        rows.push([
          name,
          Object.entries(item)
            .map(([key, each]) => `${key}=${String(each)}`)
            .join(" "),
        ]);
  }
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join("");
}
