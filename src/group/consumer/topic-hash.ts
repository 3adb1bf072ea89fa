/**
 * The hash by which a consumer group notices that its topics have changed (KIP-1101), as Kafka 4.4 makes it: XXH3, of all subscribed topics that exist, in the
 * order of their names. Racks, which Kafka puts in where its brokers have any, are left out: a partition that moves to another broker is no reason to rebalance.
 */
export interface HashedTopic {
  readonly name: string;
  readonly topicId: string;
  readonly partitionCount: number;
}

/** Of the way the hash is made. */
const MAGIC = 0;

/** 0 when there is none. */
export function hashTopics(topics: readonly HashedTopic[]): bigint {
  if (topics.length === 0) return 0n;
  const hashes = Buffer.alloc(8 * topics.length);
  const sorted = [...topics].sort((a, b) => (a.name < b.name ? -1 : 1));
  sorted.forEach((topic, index) => {
    hashes.writeBigInt64LE(hashTopic(topic), 8 * index);
  });
  return xxh3(hashes);
}

export function hashTopic({ name, topicId, partitionCount }: HashedTopic): bigint {
  const bytes = Buffer.alloc(1 + 16 + 2 * name.length + 4 + 4 + 4 * partitionCount);
  const id = Buffer.from(topicId, "base64url");
  bytes[0] = MAGIC;
  // Two longs, low byte first.
  id.subarray(0, 8).reverse().copy(bytes, 1);
  id.subarray(8, 16).reverse().copy(bytes, 9);
  let at = 17 + bytes.write(name, 17, "utf16le");
  at = bytes.writeInt32LE(name.length, at);
  at = bytes.writeInt32LE(partitionCount, at);
  for (let partition = 0; partition < partitionCount; partition++) at = bytes.writeInt32LE(partition, at);
  return xxh3(bytes);
}

function xxh3(bytes: Uint8Array): bigint {
  return BigInt.asIntN(64, Bun.hash.xxHash3(bytes));
}
