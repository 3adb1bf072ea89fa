/**
 * The bucket as the code sees it. Keys are relative to the configured prefix, `/`-separated, ASCII, no empty part, and no key is another
 * key's folder (some S3 servers refuse that). Bodies: s3, directory, memory; decorators: retry, meter, faults.
 *
 * Outcomes that callers expect are values; everything else is a Trouble with code "store-unavailable" (retryable), "store-access-denied",
 * "store-no-bucket", "store-wrong-region", "store-clock-skew", "store-checksum-mismatch", ... "Unreadable is not absent": only a definite 404
 * is `undefined`.
 */
import type { Trouble } from "../base/trouble.ts";

export interface PutResult {
  /** "created": this call's bytes are there. "exists": somebody's bytes were there before (412). "unknown" never leaves this interface: see createOnce. */
  readonly outcome: "created" | "exists";
}

export interface ObjectInfo {
  readonly key: string;
  readonly sizeBytes: number;
  readonly lastModifiedMs: number;
}

export interface ListPage {
  readonly objects: readonly ObjectInfo[];
  /** Pass as `after` to go on; undefined at the end. */
  readonly next: string | undefined;
}

export interface StoreCallOptions {
  readonly signal?: AbortSignal;
  /** The whole call including retries; then Trouble "store-timeout" (retryable). */
  readonly deadlineMs?: number;
}

export interface GetOptions extends StoreCallOptions {
  /**
   * Memory of the range's length that the body may read into; then the answer is that array. Nothing is written to it once the call has settled. A body
   * may as well answer with memory of its own.
   */
  readonly into?: Uint8Array;
}

export interface ObjectStore {
  /** For logs: "s3://bucket/prefix (endpoint)", "file:DIR". No credentials. */
  readonly description: string;

  /**
   * Creates the object if no object has the key (PUT If-None-Match: *), else answers "exists". One attempt: a request whose outcome is not
   * known rejects with Trouble code "store-outcome-unknown" (retryable); `base` callers decide by reading. 409 (conditional conflict) is retryable trouble.
   */
  createOnce(key: string, bytes: Uint8Array, options?: StoreCallOptions): Promise<PutResult>;

  /** Unconditional PUT: only for keys whose content is the same whoever writes them, or that only rise (meta/floor). */
  put(key: string, bytes: Uint8Array, options?: StoreCallOptions): Promise<void>;

  /** Whole object, or bytes [start, end) of it. undefined when there is no such object. Rejects when shorter than asked. */
  get(key: string, range?: { start: number; end: number }, options?: GetOptions): Promise<Uint8Array | undefined>;

  /** The last `lengthBytes` bytes (fewer when the object is shorter) and the object's size. */
  getTail(key: string, lengthBytes: number, options?: StoreCallOptions): Promise<{ bytes: Uint8Array; sizeBytes: number } | undefined>;

  head(key: string, options?: StoreCallOptions): Promise<ObjectInfo | undefined>;

  /** Keys that begin with `prefix`, in byte order, after `after`. At most 1,000 a page. */
  list(prefix: string, after?: string, options?: StoreCallOptions): Promise<ListPage>;

  /** Deleting what is not there is fine. */
  delete(keys: readonly string[], options?: StoreCallOptions): Promise<void>;

  /** The server's wall clock (Date header of the newest answer) minus ours, in ms; undefined when the body has no clock of its own. */
  readonly clockSkewMs: number | undefined;

  /**
   * True: once `createOnce` or `put` has settled, however it ended, nothing reads the bytes that it was given, and the caller may write others
   * there. Otherwise they are left to the garbage collector.
   */
  readonly keepsNoBytes?: boolean;

  /** What the store as a whole is away for at present, where somebody watches (`store-watch.ts`); undefined while it answers. */
  readonly outage?: Trouble | undefined;

  close(): Promise<void>;
}
