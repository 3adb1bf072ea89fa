/**
 * Feature levels that this broker understands, of those that Apache Kafka 4.4 has (KIP-584): each is listed only from when what it stands for is
 * served. A new cluster finalises the highest level of each; later ones are raised by an operator (UpdateFeatures). A feature without a level in the log is
 * at level 0, as one whose level was taken back to 0: the log keeps that 0.
 *
 * metadata.version gives Weir's own formats no meaning; tools and clients look at it.
 */
export interface SupportedFeature {
  readonly name: string;
  readonly min: number;
  readonly max: number;
}

export const SUPPORTED_FEATURES: readonly SupportedFeature[] = [
  { name: "metadata.version", min: 7, max: 33 },
  { name: "transaction.version", min: 0, max: 2 },
  { name: "group.version", min: 0, max: 1 },
];

export const METADATA_VERSION = "metadata.version";

/** Levels of metadata.version whose records an older one does not know (MetadataVersion of 4.4): Kafka goes back to just above one of them, not below it. */
const METADATA_CHANGES: readonly number[] = [7, 8, 11, 13, 14, 15, 17, 23, 30, 32, 33];

/** Whether records of metadata.version `from` may be unknown to the lower level `to`. */
export function isMetadataLost(from: number, to: number): boolean {
  return METADATA_CHANGES.some((level) => level > to && level <= from);
}
