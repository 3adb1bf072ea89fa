/**
 * What consumers of the classic protocol say to each other: ConsumerProtocolSubscription in version 0, or 1 with what a member has (KIP-429), and
 * ConsumerProtocolAssignment; code of its own.
 */

export interface SimSubscription {
  readonly topics: readonly string[];
  /** Undefined: it has let everything go. */
  readonly owned: ReadonlyMap<string, readonly number[]> | undefined;
}

export function encodeSubscription({ topics, owned }: SimSubscription): Buffer {
  const parts = [int16(owned === undefined ? 0 : 1), int32(topics.length), ...topics.map(string), int32(-1)];
  return Buffer.concat(owned === undefined ? parts : [...parts, partitionsOf(owned)]);
}

export function decodeSubscription(bytes: Uint8Array): SimSubscription {
  const cursor = new Cursor(bytes);
  const version = cursor.int16();
  const topics = Array.from({ length: cursor.int32() }, () => cursor.string());
  cursor.int32();
  return { topics, owned: version === 0 ? undefined : cursor.partitions() };
}

export function encodeAssignment(partitions: ReadonlyMap<string, readonly number[]>): Buffer {
  return Buffer.concat([int16(0), partitionsOf(partitions), int32(-1)]);
}

/** Empty bytes: nothing is assigned. */
export function decodeAssignment(bytes: Uint8Array): ReadonlyMap<string, readonly number[]> {
  if (bytes.length === 0) return new Map();
  const cursor = new Cursor(bytes);
  cursor.int16();
  return cursor.partitions();
}

function partitionsOf(partitions: ReadonlyMap<string, readonly number[]>): Buffer {
  const topics = [...partitions].map(([topic, own]) => Buffer.concat([string(topic), int32(own.length), ...own.map(int32)]));
  return Buffer.concat([int32(topics.length), ...topics]);
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
  private at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  int16(): number {
    this.at += 2;
    return this.bytes.readInt16BE(this.at - 2);
  }

  partitions(): ReadonlyMap<string, readonly number[]> {
    const found = new Map<string, readonly number[]>();
    for (let left = this.int32(); left > 0; left--) {
      const topic = this.string();
      const own = Array.from({ length: this.int32() }, () => this.int32());
      found.set(topic, own);
    }
    return found;
  }

  int32(): number {
    this.at += 4;
    return this.bytes.readInt32BE(this.at - 4);
  }

  string(): string {
    const length = this.int16();
    this.at += length;
    return this.bytes.toString("utf8", this.at - length, this.at);
  }
}
