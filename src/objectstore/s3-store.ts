/**
 * Objects in an S3 bucket, through the AWS SDK and the runtime's fetch.
 *
 * - Payloads are sent unsigned (hashing them costs more than sending them) but always with a CRC32C, which the server verifies; on a whole
 *   GET the server's CRC32C is verified here.
 * - The SDK does not retry: retries belong to `retrying-store.ts`, which knows what may be repeated.
 * - Credentials of the default chain are renewed without a restart (`s3-credentials.ts`).
 * - Errors become troubles in `s3-errors.ts`, nowhere else.
 * - The runtime caps concurrent fetches at 256 per process; calls beyond `maxConcurrentRequests` wait here, first come first served.
 */
import {
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  type GetObjectCommandOutput,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
} from "@aws-sdk/client-s3";
import { defaultProvider } from "@aws-sdk/credential-provider-node";
import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import { CallTimeout } from "./call-timeout.ts";
import { assertKey, assertListPrefix, checkPrefix, MAX_LIST_PAGE } from "./keys.ts";
import type { GetOptions, ListPage, ObjectInfo, ObjectStore, PutResult, StoreCallOptions } from "./object-store.ts";
import { type Credentials, RenewedCredentials } from "./s3-credentials.ts";
import {
  areCredentialsRefused,
  classifyS3Error,
  isMissingObject,
  isPreconditionFailed,
  isRangeUnsatisfiable,
  type S3Failure,
} from "./s3-errors.ts";
import { S3HttpHandler } from "./s3-http.ts";
import { Slots } from "./slots.ts";
import { storeTrouble } from "./troubles.ts";

export interface S3StoreOptions {
  readonly bucket: string;
  readonly prefix: string;
  /** undefined: as the AWS default chain says; "us-east-1" when there is an endpoint and the chain says nothing. */
  readonly region: string | undefined;
  readonly endpoint: string | undefined;
  readonly pathStyle: boolean;
  /** undefined: the AWS default chain. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly clock: Clock;
  readonly crc32c: (bytes: Uint8Array, start: number, end: number) => number;
  readonly maxConcurrentRequests?: number;
  /** A call without a deadline of its own ends after this. */
  readonly defaultDeadlineMs?: number;
}

const DEFAULT_MAX_CONCURRENT_REQUESTS = 192;
const DEFAULT_DEADLINE_MS = 30_000;

export class S3Store implements ObjectStore {
  readonly description: string;
  /** On the ground that `s3-http.ts` gives. */
  readonly keepsNoBytes: boolean = true;
  readonly #client: S3Client;
  readonly #credentials: RenewedCredentials;
  readonly #bucket: string;
  /** "" or ends with "/". */
  readonly #keyPrefix: string;
  readonly #clock: Clock;
  readonly #crc32c: (bytes: Uint8Array, start: number, end: number) => number;
  readonly #slots: Slots;
  readonly #defaultDeadlineMs: number;
  #clockSkewMs: number | undefined;

  constructor(options: S3StoreOptions) {
    const prefix = checkPrefix(options.prefix);
    this.#bucket = options.bucket;
    this.#keyPrefix = prefix === "" ? "" : `${prefix}/`;
    this.#clock = options.clock;
    this.#crc32c = options.crc32c;
    this.#slots = new Slots(options.maxConcurrentRequests ?? DEFAULT_MAX_CONCURRENT_REQUESTS);
    this.#defaultDeadlineMs = options.defaultDeadlineMs ?? DEFAULT_DEADLINE_MS;
    this.description = `s3://${options.bucket}/${prefix} (${options.endpoint ?? "AWS"}, region ${options.region ?? "by default"})`;
    this.#credentials = new RenewedCredentials(askChain(options.credentials), options.clock);
    this.#client = makeClient(options, this.#credentials, (date) => {
      this.#clockSkewMs = date - this.#clock.wallMs();
    });
  }

  get clockSkewMs(): number | undefined {
    return this.#clockSkewMs;
  }

  async createOnce(key: string, bytes: Uint8Array, options?: StoreCallOptions): Promise<PutResult> {
    assertKey(key);
    return this.#call("createOnce", key, options, async (abortSignal) => {
      try {
        await this.#client.send(new PutObjectCommand({ ...this.#putInput(key, bytes), IfNoneMatch: "*" }), { abortSignal });
        return { outcome: "created" };
      } catch (error) {
        if (isPreconditionFailed(error)) return { outcome: "exists" };
        throw error;
      }
    });
  }

  async put(key: string, bytes: Uint8Array, options?: StoreCallOptions): Promise<void> {
    assertKey(key);
    await this.#call("put", key, options, (abortSignal) =>
      this.#client.send(new PutObjectCommand(this.#putInput(key, bytes)), { abortSignal }),
    );
  }

  async get(key: string, range?: { start: number; end: number }, options?: GetOptions): Promise<Uint8Array | undefined> {
    assertKey(key);
    assert(range === undefined || (range.start >= 0 && range.start < range.end), `empty range of ${key}`);
    return this.#call("get", key, options, async (abortSignal) => {
      const wanted = range === undefined ? undefined : `bytes=${range.start}-${range.end - 1}`;
      const answer = await this.#getObject(key, wanted, abortSignal, options?.into);
      if (answer === undefined) return undefined;
      if (range === undefined) {
        this.#verifyChecksum(key, answer.bytes, answer.output.ChecksumCRC32C);
        return answer.bytes;
      }
      this.#verifyLength(key, range.end - range.start, answer.bytes.length);
      return answer.bytes;
    });
  }

  async getTail(
    key: string,
    lengthBytes: number,
    options?: StoreCallOptions,
  ): Promise<{ bytes: Uint8Array; sizeBytes: number } | undefined> {
    assertKey(key);
    assert(lengthBytes > 0, `empty tail of ${key}`);
    return this.#call("getTail", key, options, async (abortSignal) => {
      const answer = await this.#getObjectOrEmpty(key, `bytes=-${lengthBytes}`, abortSignal);
      if (answer === undefined) return undefined;
      const sizeBytes = totalSize(answer.output, answer.bytes.length);
      this.#verifyLength(key, Math.min(lengthBytes, sizeBytes), answer.bytes.length);
      return { bytes: answer.bytes, sizeBytes };
    });
  }

  /** One byte is fetched instead of a HEAD: the answer to a HEAD has no body, so it could not tell a missing object from a missing bucket. */
  async head(key: string, options?: StoreCallOptions): Promise<ObjectInfo | undefined> {
    assertKey(key);
    return this.#call("head", key, options, async (abortSignal) => {
      const answer = await this.#getObjectOrEmpty(key, "bytes=0-0", abortSignal);
      if (answer === undefined) return undefined;
      return { key, sizeBytes: totalSize(answer.output, answer.bytes.length), lastModifiedMs: answer.output.LastModified?.getTime() ?? 0 };
    });
  }

  async list(prefix: string, after?: string, options?: StoreCallOptions): Promise<ListPage> {
    assertListPrefix(prefix);
    return this.#call("list", prefix, options, async (abortSignal) => {
      const command = new ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: this.#keyPrefix + prefix,
        MaxKeys: MAX_LIST_PAGE,
        ...(after === undefined ? {} : { StartAfter: this.#keyPrefix + after }),
      });
      const answer = await this.#client.send(command, { abortSignal });
      const objects: ObjectInfo[] = [];
      let last = after ?? "";
      for (const object of answer.Contents ?? []) {
        const key = (object.Key ?? "").slice(this.#keyPrefix.length);
        if (key <= last) {
          throw storeTrouble("store-unordered-listing", this.#context("list", prefix, `${key} came after ${last}`));
        }
        objects.push({ key, sizeBytes: object.Size ?? 0, lastModifiedMs: object.LastModified?.getTime() ?? 0 });
        last = key;
      }
      return { objects, next: answer.IsTruncated === true && objects.length > 0 ? last : undefined };
    });
  }

  async delete(keys: readonly string[], options?: StoreCallOptions): Promise<void> {
    for (const key of keys) assertKey(key);
    for (let start = 0; start < keys.length; start += MAX_LIST_PAGE) {
      const page = keys.slice(start, start + MAX_LIST_PAGE);
      await this.#call("delete", page[0]!, options, (abortSignal) => this.#deletePage(page, abortSignal));
    }
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }

  async #deletePage(keys: readonly string[], abortSignal: AbortSignal): Promise<void> {
    if (keys.length === 1) {
      await this.#client.send(new DeleteObjectCommand({ Bucket: this.#bucket, Key: this.#keyPrefix + keys[0]! }), { abortSignal });
      return;
    }
    const objects = keys.map((key) => ({ Key: this.#keyPrefix + key }));
    const command = new DeleteObjectsCommand({ Bucket: this.#bucket, Delete: { Objects: objects, Quiet: true } });
    const answer = await this.#client.send(command, { abortSignal });
    const failed = answer.Errors?.find((error) => error.Code !== "NoSuchKey");
    if (failed === undefined) return;
    const detail = `${answer.Errors?.length} of ${keys.length} keys, first ${failed.Key}: ${failed.Code}: ${failed.Message}`;
    const code = failed.Code === "AccessDenied" ? "store-access-denied" : "store-unavailable";
    throw storeTrouble(code, this.#context("delete", keys[0]!, detail));
  }

  #putInput(
    key: string,
    bytes: Uint8Array,
  ): { Bucket: string; Key: string; Body: Uint8Array; ContentLength: number; ChecksumCRC32C: string } {
    const checksum = encodeChecksum(this.#crc32c(bytes, 0, bytes.length));
    return { Bucket: this.#bucket, Key: this.#keyPrefix + key, Body: bytes, ContentLength: bytes.length, ChecksumCRC32C: checksum };
  }

  async #getObject(
    key: string,
    range: string | undefined,
    abortSignal: AbortSignal,
    into?: Uint8Array,
  ): Promise<{ output: GetObjectCommandOutput; bytes: Uint8Array } | undefined> {
    try {
      const input = { Bucket: this.#bucket, Key: this.#keyPrefix + key, ...(range === undefined ? {} : { Range: range }) };
      const output = await this.#client.send(new GetObjectCommand(input), { abortSignal });
      return { output, bytes: await this.#readBody(key, output.Body, into, abortSignal) };
    } catch (error) {
      if (isMissingObject(error)) return undefined;
      throw error;
    }
  }

  /**
   * The body's bytes; with `into`, as much of it as they fill. After the abort nothing is written there any more: its owner uses it for something else
   * (`endingWith` does not wait for this).
   */
  async #readBody(
    key: string,
    body: GetObjectCommandOutput["Body"],
    into: Uint8Array | undefined,
    abortSignal: AbortSignal,
  ): Promise<Uint8Array> {
    if (body === undefined) return new Uint8Array(0);
    if (into === undefined) return body.transformToByteArray();
    const reader = body.transformToWebStream().getReader();
    try {
      for (let filled = 0; ; ) {
        const { done, value } = await reader.read();
        abortSignal.throwIfAborted();
        if (done) return into.subarray(0, filled);
        const chunk: Uint8Array = value;
        if (filled + chunk.length > into.length) this.#verifyLength(key, into.length, filled + chunk.length);
        into.set(chunk, filled);
        filled += chunk.length;
      }
    } finally {
      reader.cancel().catch(() => undefined);
    }
  }

  /** For ranges that only an empty object cannot satisfy. */
  async #getObjectOrEmpty(
    key: string,
    range: string,
    abortSignal: AbortSignal,
  ): Promise<{ output: GetObjectCommandOutput; bytes: Uint8Array } | undefined> {
    try {
      return await this.#getObject(key, range, abortSignal);
    } catch (error) {
      if (!isRangeUnsatisfiable(error)) throw error;
      return this.#getObject(key, undefined, abortSignal);
    }
  }

  #verifyChecksum(key: string, bytes: Uint8Array, expected: string | undefined): void {
    // "-N" marks a checksum over the checksums of N parts.
    if (expected === undefined || expected.includes("-")) return;
    const actual = encodeChecksum(this.#crc32c(bytes, 0, bytes.length));
    if (actual === expected) return;
    throw storeTrouble("store-checksum-mismatch", this.#context("get", key, `CRC32C is ${actual}, the store says ${expected}`));
  }

  #verifyLength(key: string, expected: number, actual: number): void {
    if (actual === expected) return;
    throw storeTrouble("store-object-short", this.#context("get", key, `asked for ${expected} bytes, got ${actual}`));
  }

  /** One request: a place among the concurrent ones, a deadline, and the error's translation. */
  async #call<T>(
    operation: string,
    key: string,
    options: StoreCallOptions | undefined,
    send: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    options?.signal?.throwIfAborted();
    const timeout = new CallTimeout(this.#clock, options?.deadlineMs ?? this.#defaultDeadlineMs, options?.signal);
    let sent = false;
    let generation = this.#credentials.generation;
    try {
      await this.#slots.take(timeout.signal);
      try {
        sent = true;
        generation = this.#credentials.generation;
        const answer = await endingWith(timeout.signal, send(timeout.signal));
        this.#credentials.noteAccepted();
        return answer;
      } finally {
        this.#slots.give();
      }
    } catch (error) {
      if (areCredentialsRefused(error)) this.#credentials.noteRefused(generation);
      const failure: S3Failure = {
        ...this.#context(operation, key, ""),
        error,
        credentialsWorked: this.#credentials.hasWorked,
        sent,
        timedOut: timeout.expired,
        aborted: timeout.aborted,
      };
      throw classifyS3Error(failure);
    } finally {
      timeout.dispose();
    }
  }

  #context(operation: string, key: string, detail: string): { store: string; operation: string; key: string; detail: string } {
    return { store: this.description, operation, key: key === "" ? "" : this.#keyPrefix + key, detail };
  }
}

/** The chain afresh at each question: nothing that it read before is kept. */
function askChain(given: S3StoreOptions["credentials"]): (context: unknown) => Promise<Credentials> {
  if (given !== undefined) return () => Promise.resolve(given);
  return (context) => defaultProvider({ ignoreCache: true })(context as Parameters<ReturnType<typeof defaultProvider>>[0]);
}

function makeClient(options: S3StoreOptions, credentials: RenewedCredentials, onServerDate: (dateMs: number) => void): S3Client {
  const config: S3ClientConfig = {
    forcePathStyle: options.pathStyle,
    maxAttempts: 1,
    requestHandler: new S3HttpHandler(),
    // "memoized": the SDK must not remember them beside us.
    credentials: Object.assign(credentials.provide, { memoized: true }),
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  };
  if (options.endpoint !== undefined) config.endpoint = options.endpoint;
  if (options.region !== undefined) config.region = options.region;
  else if (options.endpoint !== undefined) config.region = "us-east-1";
  const client = new S3Client(config);
  client.middlewareStack.add(
    (next, context) => (args) => {
      const { headers, method } = args.request as { headers: Record<string, string>; method: string };
      if (method === "PUT") headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD";
      // Asked for by header and not by ChecksumMode: the SDK would verify in slow JavaScript what the addon verifies fast.
      if (context.commandName === "GetObjectCommand") headers["x-amz-checksum-mode"] = "ENABLED";
      return next(args);
    },
    { step: "build", name: "weirHeaders" },
  );
  client.middlewareStack.add(
    (next) => async (args) => {
      const answer = await next(args);
      const { headers } = answer.response as { headers?: Record<string, string> };
      const dateMs = Date.parse(headers?.date ?? "");
      if (!Number.isNaN(dateMs)) onServerDate(dateMs);
      return answer;
    },
    { step: "deserialize", name: "weirServerDate", priority: "low" },
  );
  return client;
}

/** `call`, or the signal's reason when that comes first: the SDK looks for credentials without minding the signal. */
async function endingWith<T>(signal: AbortSignal, call: Promise<T>): Promise<T> {
  const ended = Promise.withResolvers<never>();
  const onAbort = (): void => ended.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([call, ended.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function encodeChecksum(crc: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc);
  return bytes.toString("base64");
}

/** The object's size from "bytes 0-9/100"; an answer without Content-Range is the whole object. */
function totalSize(output: GetObjectCommandOutput, receivedBytes: number): number {
  const size = Number(/\/(\d+)$/.exec(output.ContentRange ?? "")?.[1]);
  return Number.isSafeInteger(size) ? size : receivedBytes;
}
