/**
 * What `weir doctor` looks at, a function each; every one gives rows and never rejects. They leave no object and no file behind: probe objects are deleted, the scratch
 * file is removed (a directory store keeps empty folders), and on a formatted device only block 3 is written, which its format keeps for probes (`storage/wal/wal-format.ts`).
 */
import { rmSync } from "node:fs";
import { Trouble } from "../base/trouble.ts";
import { ClientConnection, formatPlace } from "../client/client-connection.ts";
import type { Config } from "../config/config.ts";
import { findClusterId } from "../metadata/cluster-id.ts";
import type { Addon } from "../native/addon.ts";
import type { ObjectStore } from "../objectstore/object-store.ts";
import { probeConditionalWrites } from "../objectstore/probe-store.ts";
import { ScopedStore } from "../objectstore/scoped-store.ts";
import { describeClusterApi, newDescribeClusterRequest } from "../protocol/messages/describe-cluster.ts";
import { openNativeWalDevice } from "../storage/wal/native-wal-device.ts";
import { WAL_BLOCK_BYTES, type WalDevice } from "../storage/wal/wal-device.ts";
import type { World } from "./world.ts";

export type Verdict = "ok" | "warning" | "failed" | "unknown";

export interface Check {
  readonly check: string;
  readonly verdict: Verdict;
  readonly detail: string;
  readonly remedy: string | null;
}

const FLUSHES = 200;
const SCRATCH_BLOCK = 3;
/** A device slower than this keeps acknowledgements from being single-digit milliseconds. */
const SLOW_FLUSH_MS = 10;
/** AWS refuses signatures beyond 15 minutes; Weir wants far less. */
const MAX_SKEW_MS = 60_000;
const WARN_SKEW_MS = 2_000;
const STORE_DEADLINE = { deadlineMs: 10_000 } as const;
const CONNECT_TIMEOUT_MS = 3000;

export const ok = (check: string, detail: string): Check => ({ check, verdict: "ok", detail, remedy: null });
export const warning = (check: string, detail: string, remedy: string): Check => ({ check, verdict: "warning", detail, remedy });
export const failed = (check: string, detail: string, remedy: string): Check => ({ check, verdict: "failed", detail, remedy });

export function failedBy(check: string, error: unknown, remedy: string): Check {
  if (error instanceof Trouble) return failed(check, error.message, error.remedy ?? remedy);
  return failed(check, error instanceof Error ? error.message : String(error), remedy);
}

/** `isRunning`: a process holds the device, so nothing is measured on it. */
export async function checkDevice(
  { wal }: Config,
  world: World,
  addon: Addon,
): Promise<{ readonly rows: readonly Check[]; readonly isRunning: boolean }> {
  if (wal.kind === "memory") {
    return {
      rows: [warning("device", "wal=memory: keeps nothing when the process ends", "use wal=block:DEVICE or wal=file:PATH")],
      isRunning: false,
    };
  }
  const place = `wal=${wal.kind}:${wal.path}`;
  try {
    const found = addon.inspectDevice(wal.path);
    if (wal.kind === "block" && found.content !== "weir") {
      const holds = found.exists ? `holds ${found.content === "" ? "nothing" : found.content}` : "does not exist";
      return {
        rows: [failed("device", `${place} ${holds}`, `run \`weir wal format ${wal.path}\` once for a new volume`)],
        isRunning: false,
      };
    }
    if (wal.kind === "block") return { rows: await measureOpen(place, wal.path, undefined, world, addon), isRunning: false };
    if (found.exists) await openNativeWalDevice(addon, { path: wal.path, kind: "file", writeDepth: 1 }).close();
    // A file's latency is that of its file system: a scratch file beside it tells it without touching the log.
    const scratch = `${wal.path}.doctor`;
    try {
      const rows = await measureOpen(place, scratch, 16 * WAL_BLOCK_BYTES, world, addon);
      return { rows, isRunning: false };
    } finally {
      rmSync(scratch, { force: true });
    }
  } catch (error) {
    if (error instanceof Trouble && error.code === "wal-device-busy") {
      return {
        rows: [ok("device", `${place} is open in a running broker; its latency is weir_wal_write_seconds in /metrics`)],
        isRunning: true,
      };
    }
    return { rows: [failedBy("device", error, "check the path and this user's permission for it")], isRunning: false };
  }
}

async function measureOpen(
  place: string,
  path: string,
  createSizeBytes: number | undefined,
  world: World,
  addon: Addon,
): Promise<readonly Check[]> {
  const device = openNativeWalDevice(addon, { path, writeDepth: 1, ...(createSizeBytes === undefined ? {} : { createSizeBytes }) });
  try {
    return [ok("device", `${place}: ${device.description}`), await measureFlushes(device, world)];
  } finally {
    await device.close();
  }
}

async function measureFlushes(device: WalDevice, { clock, allocateRing }: World): Promise<Check> {
  const block = allocateRing(WAL_BLOCK_BYTES);
  const took: number[] = [];
  for (let index = 0; index < FLUSHES; index++) {
    const startedMs = clock.monotonicMs();
    await device.write(block, SCRATCH_BLOCK * WAL_BLOCK_BYTES);
    took.push(clock.monotonicMs() - startedMs);
  }
  took.sort((left, right) => left - right);
  const p50 = took[Math.floor(FLUSHES * 0.5)] ?? 0;
  const p99 = took[Math.floor(FLUSHES * 0.99)] ?? 0;
  const detail = `durable 4 KiB writes: p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms of ${FLUSHES}`;
  if (p99 <= SLOW_FLUSH_MS) return ok("flush latency", detail);
  return warning("flush latency", detail, "every acknowledgement waits for one: use a faster volume, or find what else writes to it");
}

/** Bucket, clock, permissions and conditional writes, each by trying. */
export async function checkStore(store: ObjectStore, { random }: World, crc32c: Addon["crc32c"]): Promise<readonly Check[]> {
  const rows: Check[] = [];
  let scoped: ObjectStore;
  try {
    const found = await findClusterId({ store, random, crc32c });
    scoped = new ScopedStore(store, found.clusterId);
    rows.push(ok("bucket", `${store.description}: ${found.exists ? `cluster ${found.clusterId}` : "no cluster yet"}`));
  } catch (error) {
    return [failedBy("bucket", error, "check object.store and the credentials")];
  }
  rows.push(checkClock(store));
  rows.push(...(await checkPermissions(scoped, Buffer.from(random.fillBytes(new Uint8Array(8))).toString("hex"))));
  try {
    await probeConditionalWrites(scoped, random, STORE_DEADLINE);
    rows.push(ok("conditional writes", "a second create of one key is refused"));
  } catch (error) {
    rows.push(failedBy("conditional writes", error, "Weir needs PUT with If-None-Match: *"));
  }
  return rows;
}

/** Exported for its thresholds: beyond two seconds a warning, beyond a minute a failure. */
export function checkClock({ clockSkewMs }: ObjectStore): Check {
  if (clockSkewMs === undefined) return ok("clock", "the store has no clock of its own");
  const detail = `the store's clock is ${Math.abs(Math.round(clockSkewMs))} ms ${clockSkewMs < 0 ? "behind" : "ahead"} (its Date has a resolution of 1 s)`;
  if (Math.abs(clockSkewMs) > MAX_SKEW_MS)
    return failed("clock", detail, "run an NTP client; signatures and retention need the right time");
  if (Math.abs(clockSkewMs) > WARN_SKEW_MS) return warning("clock", detail, "run an NTP client");
  return ok("clock", detail);
}

async function checkPermissions(store: ObjectStore, nonce: string): Promise<readonly Check[]> {
  const key = `probe/doctor-${nonce}`;
  const bytes = Buffer.from(`doctor ${nonce}\n`);
  const attempt = async (name: string, permission: string, body: () => Promise<unknown>): Promise<Check> => {
    try {
      await body();
      return ok(`permission ${name}`, "allowed");
    } catch (error) {
      return failedBy(`permission ${name}`, error, `allow ${permission} on the bucket's prefix`);
    }
  };
  return [
    await attempt("put", "s3:PutObject", () => store.put(key, bytes, STORE_DEADLINE)),
    await attempt("get", "s3:GetObject", () => store.get(key, undefined, STORE_DEADLINE)),
    await attempt("list", "s3:ListBucket", () => store.list("probe/", undefined, STORE_DEADLINE)),
    await attempt("delete", "s3:DeleteObject", () => store.delete([key], STORE_DEADLINE)),
  ];
}

/** As a client would: the answer must be a broker that lists our node id. Nothing there is a failure only while a broker runs. */
export async function checkAdvertised(config: Config, world: World, isRunning: boolean): Promise<readonly Check[]> {
  return Promise.all(
    config.advertisedListeners.map(async (listener) => {
      const name = `advertised ${listener.name}`;
      if (listener.port === 0) return ok(name, "port 0: chosen when the broker starts");
      const place = { host: listener.host, port: listener.port };
      const options = {
        ...world,
        clientId: "weir-doctor",
        softwareVersion: world.version,
        connectTimeoutMs: CONNECT_TIMEOUT_MS,
        requestTimeoutMs: CONNECT_TIMEOUT_MS,
      };
      try {
        const connection = await ClientConnection.open(place, options);
        const answer = await connection.request(describeClusterApi, newDescribeClusterRequest());
        connection.close();
        if (answer.brokers.some(({ brokerId }) => brokerId === config.nodeId))
          return ok(name, `${formatPlace(place)} is a broker of cluster ${answer.clusterId}`);
        return failed(name, `${formatPlace(place)} is a cluster without node.id=${config.nodeId}`, "correct advertised.listeners");
      } catch (error) {
        const remedy = "check advertised.listeners, name resolution and firewalls from here and from a client's machine";
        if (isRunning) return failedBy(name, error, remedy);
        return warning(name, error instanceof Error ? error.message : String(error), "start the broker and run this again");
      }
    }),
  );
}
