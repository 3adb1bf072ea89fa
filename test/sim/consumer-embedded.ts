/** What consumers of the classic protocol say to each other, in version 0 of ConsumerProtocolSubscription and ConsumerProtocolAssignment; code of its own. */

export function encodeSubscription(topics: readonly string[]): Buffer {
  return Buffer.concat([int16(0), int32(topics.length), ...topics.map(string), int32(-1)]);
}

export function decodeSubscription(bytes: Uint8Array): readonly string[] {
  const cursor = new Cursor(bytes, 2);
  return Array.from({ length: cursor.int32() }, () => cursor.string());
}

export function encodeAssignment(partitions: ReadonlyMap<string, readonly number[]>): Buffer {
  const topics = [...partitions].map(([topic, own]) => Buffer.concat([string(topic), int32(own.length), ...own.map(int32)]));
  return Buffer.concat([int16(0), int32(topics.length), ...topics, int32(-1)]);
}

/** Empty bytes: nothing is assigned. */
export function decodeAssignment(bytes: Uint8Array): ReadonlyMap<string, readonly number[]> {
  const partitions = new Map<string, readonly number[]>();
  if (bytes.length === 0) return partitions;
  const cursor = new Cursor(bytes, 2);
  for (let left = cursor.int32(); left > 0; left--) {
    const topic = cursor.string();
    partitions.set(
      topic,
      Array.from({ length: cursor.int32() }, () => cursor.int32()),
    );
  }
  return partitions;
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function string(value: string): Buffer {
  return Buffer.concat([int16(value.length), Buffer.from(value)]);
}

class Cursor {
  private readonly bytes: Buffer;
  private at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.at = at;
  }

  int32(): number {
    this.at += 4;
    return this.bytes.readInt32BE(this.at - 4);
  }

  string(): string {
    const length = this.bytes.readInt16BE(this.at);
    this.at += 2 + length;
    return this.bytes.toString("utf8", this.at - length, this.at);
  }
}
