/**
 * Where the metadata lies in the bucket. `weir.cluster` (cluster-id.ts) lies directly below the configured prefix; everything else in the cluster's own folder,
 * `<cluster id>/`, to which the stores of metadata and storage are scoped:
 *
 *   meta/log/<slot>                 a batch of records, created once         log-batch.ts
 *   meta/floor/<step>               a rise of the floor, created once, kept  floor.ts
 *   meta/snapshot/<slot>/<chunk>    a part of the image after `slot`         snapshot-format.ts
 *   meta/snapshot/<slot>/manifest   names the chunks; written last
 *   data/<broker epoch>-...         segment objects                          storage
 *
 * Numbers are decimal, padded with zeros to 16 digits (2^53 has 16), so that byte order is numeric order.
 */
import { assertSafe } from "../base/assert.ts";

export const CLUSTER_KEY = "weir.cluster";
const DIGITS = 16;

export function padNumber(value: number): string {
  return String(assertSafe(value, "number in a key")).padStart(DIGITS, "0");
}

export const LOG_PREFIX = "meta/log/";
export const SNAPSHOT_PREFIX = "meta/snapshot/";
export const DATA_PREFIX = "data/";

export function slotKey(slot: number): string {
  return LOG_PREFIX + padNumber(slot);
}

export function floorKey(step: number): string {
  return `meta/floor/${padNumber(step)}`;
}

export function manifestKey(slot: number): string {
  return `${SNAPSHOT_PREFIX}${padNumber(slot)}/manifest`;
}

export function chunkKey(slot: number, index: number): string {
  return `${SNAPSHOT_PREFIX}${padNumber(slot)}/${padNumber(index)}`;
}

/** The slot of a key below SNAPSHOT_PREFIX; undefined for a foreign key. */
export function snapshotSlotOf(key: string): number | undefined {
  const match = /^(\d{16})\/(\d{16}|manifest)$/.exec(key.slice(SNAPSHOT_PREFIX.length));
  return match === null ? undefined : Number(match[1]);
}

/** The broker epoch under which a segment object was written; undefined for a foreign key. */
export function writerEpochOf(key: string): number | undefined {
  const match = /^data\/(\d{1,16})-/.exec(key);
  return match === null ? undefined : Number(match[1]);
}
