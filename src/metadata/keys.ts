/**
 * Where the metadata lies in the bucket. Relative to the configured prefix:
 *
 *   weir.cluster                               the cluster's id, created once; the only key outside the cluster's own folder
 *   <cluster id>/meta/log/<slot>               a batch of records, created once            log-batch.ts
 *   <cluster id>/meta/floor/<step>             a rise of the floor, created once, kept     floor.ts
 *   <cluster id>/meta/snapshot/<slot>/<chunk>  a part of the image after `slot`            snapshot.ts
 *   <cluster id>/meta/snapshot/<slot>/manifest names the chunks; written last
 *
 * Numbers are decimal, padded with zeros to 16 digits (2^53 has 16), so that byte order is numeric order.
 */
import { assertSafe } from "../base/assert.ts";

export const CLUSTER_KEY = "weir.cluster";
const DIGITS = 16;

export function padNumber(value: number): string {
  return String(assertSafe(value, "number in a key")).padStart(DIGITS, "0");
}

export class MetadataKeys {
  readonly logPrefix: string;
  readonly floorPrefix: string;
  readonly snapshotPrefix: string;

  constructor(clusterId: string) {
    this.logPrefix = `${clusterId}/meta/log/`;
    this.floorPrefix = `${clusterId}/meta/floor/`;
    this.snapshotPrefix = `${clusterId}/meta/snapshot/`;
  }

  slot(slot: number): string {
    return this.logPrefix + padNumber(slot);
  }

  floorStep(step: number): string {
    return this.floorPrefix + padNumber(step);
  }

  snapshotManifest(slot: number): string {
    return `${this.snapshotPrefix}${padNumber(slot)}/manifest`;
  }

  snapshotChunk(slot: number, index: number): string {
    return `${this.snapshotPrefix}${padNumber(slot)}/${padNumber(index)}`;
  }

  /** The slot of a key below `snapshotPrefix`; undefined for a foreign key. */
  snapshotSlotOf(key: string): number | undefined {
    const match = /^(\d{16})\/(\d{16}|manifest)$/.exec(key.slice(this.snapshotPrefix.length));
    return match === null ? undefined : Number(match[1]);
  }
}
