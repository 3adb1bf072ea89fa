/** Which partition of its internal topic a group or a transactional id lives in: as in Kafka, so that its tools find it. */

/** Java's String.hashCode: 31-based over UTF-16 code units, 32 bits. */
export function javaHashCode(text: string): number {
  let hash = 0;
  for (let index = 0; index < text.length; index++) hash = (Math.imul(hash, 31) + text.charCodeAt(index)) | 0;
  return hash;
}

export function shardOfKey(key: string, partitionCount: number): number {
  const hash = javaHashCode(key);
  // Kafka's Utils.abs: the one int32 without a positive counterpart counts as 0.
  return (hash === -0x8000_0000 ? 0 : Math.abs(hash)) % partitionCount;
}
