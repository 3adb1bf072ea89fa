/** A WAL device in memory: `wal=memory:` and tests. "Durable" as long as the process; a write lands as a whole. */
import { assert } from "../../base/assert.ts";
import { WAL_BLOCK_BYTES, type WalDevice } from "./wal-device.ts";

export class MemoryWalDevice implements WalDevice {
  readonly description: string;
  readonly capacityBytes: number;
  readonly #bytes: Uint8Array;

  /** Begins with a copy of `image` when one is given. */
  constructor(capacityBytes: number, image?: Uint8Array) {
    assert(capacityBytes > 0 && capacityBytes % WAL_BLOCK_BYTES === 0, `capacity is not whole blocks: ${capacityBytes}`);
    this.description = `memory: (${capacityBytes} bytes)`;
    this.capacityBytes = capacityBytes;
    this.#bytes = new Uint8Array(capacityBytes);
    if (image !== undefined) this.#bytes.set(image);
  }

  async write(bytes: Uint8Array, deviceOffset: number): Promise<void> {
    assert(deviceOffset % WAL_BLOCK_BYTES === 0 && bytes.length % WAL_BLOCK_BYTES === 0, "unaligned write");
    assert(deviceOffset + bytes.length <= this.capacityBytes, "write beyond the device's end");
    this.#bytes.set(bytes, deviceOffset);
  }

  async read(deviceOffset: number, lengthBytes: number): Promise<Uint8Array> {
    assert(deviceOffset >= 0 && deviceOffset + lengthBytes <= this.capacityBytes, "read beyond the device's end");
    return this.#bytes.slice(deviceOffset, deviceOffset + lengthBytes);
  }

  async flush(): Promise<void> {}

  async close(): Promise<void> {}
}
