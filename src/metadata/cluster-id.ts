/**
 * `weir.cluster`: the cluster's id, created once and never changed. Whoever finds it joins that cluster; whoever creates it founds one, which is
 * allowed only to a broker whose WAL is blank, so that a lost or mistyped bucket is not taken for a new cluster.
 *
 * | offset | bytes | field                  |
 * |--------|-------|------------------------|
 * | 0      | 8     | magic "WEIRCLUS"       |
 * | 8      | 4     | format version, 1      |
 * | 12     | 4     | CRC32C of the rest     |
 * | 16     | 16    | cluster id             |
 */
import { type Random, randomUuidBytes } from "../base/random.ts";
import { Trouble } from "../base/trouble.ts";
import type { ObjectStore } from "../objectstore/object-store.ts";
import { CLUSTER_KEY } from "./keys.ts";
import { beginChecked, type Crc32c, openChecked, sealChecked, troubleOf } from "./log-batch.ts";

export interface FoundClusterId {
  /** Of the cluster in the bucket; when there is none, the one that a new cluster here would get. */
  readonly clusterId: string;
  readonly exists: boolean;
}

export interface FindClusterIdOptions {
  readonly store: ObjectStore;
  readonly random: Random;
  readonly crc32c: Crc32c;
}

export interface ClusterIdOptions extends FindClusterIdOptions {
  /** From `findClusterId`, when the caller has looked already. */
  readonly found?: FoundClusterId | undefined;
  /** 22-character base64url UUID that a new cluster gets and an existing one must have. */
  readonly wantedClusterId: string | undefined;
  /** The cluster that this broker's WAL is claimed for; undefined when it is blank. */
  readonly walClusterId: string | undefined;
}

const MAGIC = "WEIRCLUS";
const VERSION = 1;
const CREATE_ATTEMPTS = 10;

/** One request; nothing is created. Rejects with a Trouble of the store, or "metadata-..." when the object is damaged. */
export async function findClusterId({ store, random, crc32c }: FindClusterIdOptions): Promise<FoundClusterId> {
  const bytes = await store.get(CLUSTER_KEY);
  if (bytes !== undefined) return { clusterId: decode(bytes, crc32c), exists: true };
  return { clusterId: Buffer.from(randomUuidBytes(random)).toString("base64url"), exists: false };
}

/** Rejects with Trouble "cluster-id-mismatch", "cluster-missing", "cluster-id-invalid", or the store's. */
export async function readOrCreateClusterId(options: ClusterIdOptions): Promise<{ clusterId: string; isNew: boolean }> {
  const { store, crc32c, wantedClusterId } = options;
  if (wantedClusterId !== undefined) checkClusterId(wantedClusterId);
  let isNew = false;
  let found = options.found;
  for (let attempt = 1; ; attempt++) {
    found ??= await findClusterId(options);
    if (found.exists) {
      refuseForeign(found.clusterId, options);
      return { clusterId: found.clusterId, isNew };
    }
    refuseToFound(options);
    const clusterId = wantedClusterId ?? found.clusterId;
    found = undefined;
    const writer = beginChecked(MAGIC, VERSION);
    writer.uuid(clusterId);
    try {
      const { outcome } = await store.createOnce(CLUSTER_KEY, sealChecked(writer, crc32c));
      isNew = outcome === "created";
      if (isNew) return { clusterId, isNew };
    } catch (error) {
      if (!(error instanceof Trouble) || !error.retryable || attempt === CREATE_ATTEMPTS) throw error;
    }
  }
}

function decode(bytes: Uint8Array, crc32c: Crc32c): string {
  try {
    const reader = openChecked(bytes, MAGIC, VERSION, crc32c);
    const clusterId = reader.uuid();
    reader.expectEnd();
    return clusterId;
  } catch (error) {
    throw troubleOf(error, CLUSTER_KEY);
  }
}

function checkClusterId(clusterId: string): void {
  if (/^[A-Za-z0-9_-]{22}$/.test(clusterId) && Buffer.from(clusterId, "base64url").toString("base64url") === clusterId) return;
  throw new Trouble({
    code: "cluster-id-invalid",
    message: `the cluster id ${JSON.stringify(clusterId)} is not a 22-character base64url UUID`,
    remedy: "Leave it out to have one made.",
    retryable: false,
    exitCode: 2,
  });
}

function refuseForeign(clusterId: string, { store, wantedClusterId, walClusterId }: ClusterIdOptions): void {
  if (walClusterId !== undefined && walClusterId !== clusterId) {
    throw new Trouble({
      code: "wal-foreign-cluster",
      message: `the WAL belongs to cluster ${walClusterId}, and ${store.description} holds cluster ${clusterId}`,
      remedy: "Give the WAL of this cluster in wal=..., or the bucket of that one in object.store.",
      retryable: false,
      exitCode: 2,
    });
  }
  if (wantedClusterId !== undefined && wantedClusterId !== clusterId) {
    throw new Trouble({
      code: "cluster-id-mismatch",
      message: `the configured cluster id is ${wantedClusterId}, and ${store.description} holds cluster ${clusterId}`,
      remedy: "Leave the cluster id out, or correct object.store.",
      retryable: false,
      exitCode: 2,
    });
  }
}

function refuseToFound({ store, walClusterId }: ClusterIdOptions): void {
  if (walClusterId === undefined) return;
  throw new Trouble({
    code: "cluster-missing",
    message: `the WAL belongs to cluster ${walClusterId}, and ${store.description} holds no cluster`,
    remedy: "Correct object.store, or restore the bucket; a new cluster is founded only with a blank WAL.",
    retryable: false,
    exitCode: 2,
  });
}
