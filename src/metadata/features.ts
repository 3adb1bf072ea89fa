/**
 * Feature levels that this broker understands, of those that Apache Kafka 4.4 has (KIP-584): each is listed only from when what it stands for is
 * served. A new cluster finalises the highest level of each; later ones are raised by an operator.
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
