/** A store in memory whose puts wait to be let through, in any order; counts reads; fails or forgets on demand. */
import { Trouble } from "../../../src/base/trouble.ts";
import { MemoryStore } from "../../../src/objectstore/memory-store.ts";
import type { GetOptions, PutResult } from "../../../src/objectstore/object-store.ts";

interface HeldPut {
  readonly key: string;
  let(): void;
}

export class GateStore extends MemoryStore {
  holds = false;
  readonly held: HeldPut[] = [];
  readonly putKeys: string[] = [];
  rangedReads = 0;
  /** createOnce calls to fail, as unknown outcome; `applies`: the object is there all the same. */
  failPuts = 0;
  applies = false;
  /** Reads to fail with "store-unavailable". */
  failReads = 0;

  override async createOnce(key: string, bytes: Uint8Array): Promise<PutResult> {
    this.putKeys.push(key);
    if (this.holds) await new Promise<void>((resolve) => this.held.push({ key, let: resolve }));
    if (this.failPuts > 0) {
      this.failPuts -= 1;
      if (this.applies) await super.createOnce(key, bytes);
      throw new Trouble({ code: "store-outcome-unknown", message: "no answer", retryable: true });
    }
    return super.createOnce(key, bytes);
  }

  /** Lets the held put at `index` through. */
  let(index: number): void {
    const [put] = this.held.splice(index, 1);
    if (put === undefined) throw new Error(`no held put ${index}`);
    put.let();
  }

  override async get(key: string, range?: { start: number; end: number }, options?: GetOptions): Promise<Uint8Array | undefined> {
    this.rangedReads += 1;
    this.maybeFail();
    return super.get(key, range, options);
  }

  override async getTail(key: string, lengthBytes: number): Promise<{ bytes: Uint8Array; sizeBytes: number } | undefined> {
    this.rangedReads += 1;
    this.maybeFail();
    return super.getTail(key, lengthBytes);
  }

  private maybeFail(): void {
    if (this.failReads <= 0) return;
    this.failReads -= 1;
    throw new Trouble({ code: "store-unavailable", message: "503", retryable: true });
  }
}
