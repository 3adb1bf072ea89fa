/**
 * The object stores' troubles, made in one place so that codes and remedies stay the same whichever body speaks.
 *
 * For `createOnce` the code tells what is known: "store-unreachable", "store-unavailable", "store-conflict" and what the server refuses to hear at all (credentials, clock) mean *certainly not applied*;
 * "store-outcome-unknown" means it may have been. For every other call all of them mean "try again".
 */
import { Trouble } from "../base/trouble.ts";

export interface StoreTroubleContext {
  /** "s3://bucket/prefix (endpoint)" or "file:DIR". */
  readonly store: string;
  /** "createOnce", "get", ... */
  readonly operation: string;
  /** Key or prefix. */
  readonly key: string;
  /** What the store or the operating system said. */
  readonly detail: string;
  readonly cause?: unknown;
}

interface Kind {
  readonly says: string;
  readonly remedy: string;
  readonly retryable: boolean;
  /** Default 1: trying again later may do. 2: the configuration is wrong. */
  readonly exitCode?: 2;
}

const KINDS = {
  "store-unavailable": { says: "is not answering", remedy: "Check that the store is up and reachable from here.", retryable: true },
  "store-unreachable": {
    says: "cannot be reached",
    remedy: "Correct the endpoint in object.store, or check that the store is up and that its name and port can be reached from here.",
    retryable: true,
  },
  "store-timeout": { says: "did not answer in time", remedy: "Check the network and the load of the store.", retryable: true },
  "store-outcome-unknown": {
    says: "may or may not have applied the request",
    remedy: "Nothing to do: the outcome is decided by reading.",
    retryable: true,
  },
  "store-conflict": {
    says: "met a concurrent conditional request",
    remedy: "Nothing to do: the request is repeated.",
    retryable: true,
  },
  "store-access-denied": {
    says: "refused access",
    remedy:
      "Check the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...), and grant them GetObject, PutObject, DeleteObject and ListBucket here.",
    retryable: false,
  },
  "store-no-bucket": {
    says: "has no such bucket or folder",
    remedy: "Create it, or correct object.store.",
    retryable: false,
    exitCode: 2,
  },
  "store-wrong-region": {
    says: "lies in another region than configured",
    remedy: "Set region=... in object.store to the bucket's region.",
    retryable: false,
    exitCode: 2,
  },
  "store-credentials-expired": {
    says: "takes our credentials no longer",
    remedy: "Provide new ones where these came from: they are read again without a restart (not those of the environment).",
    retryable: true,
  },
  "store-clock-skew": {
    says: "refuses our clock",
    remedy: "Synchronise this machine's wall clock (chrony, ntpd).",
    retryable: true,
  },
  "store-no-credentials": {
    says: "needs credentials and none were found",
    remedy: "Give them as the AWS default chain takes them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or an instance role.",
    retryable: false,
  },
  "store-checksum-mismatch": {
    says: "gave or got bytes whose CRC32C does not match",
    remedy: "Check memory and network of both machines; the object itself may be damaged.",
    retryable: true,
  },
  "store-object-short": {
    says: "holds an object shorter than its readers were told",
    remedy: "Run an audit of the bucket; the object may be damaged.",
    retryable: false,
  },
  "store-full": { says: "has no room", remedy: "Free or add space; writing goes on by itself.", retryable: true },
  "store-no-conditional-writes": {
    says: "does not honour If-None-Match: *, which keeps two brokers from writing one slot",
    remedy: "Name a store with conditional writes in object.store (Amazon S3, MinIO, and others document it).",
    retryable: false,
    exitCode: 2,
  },
  "store-unordered-listing": {
    says: "does not list keys in byte order",
    remedy: "Use a general purpose bucket; directory buckets are not supported.",
    retryable: false,
  },
  "store-refused": { says: "refused the request", remedy: "See the store's answer in this line.", retryable: false },
} as const satisfies Record<string, Kind>;

export type StoreTroubleCode = keyof typeof KINDS;

export function storeTrouble(code: StoreTroubleCode, context: StoreTroubleContext): Trouble {
  const kind: Kind = KINDS[code];
  const where = context.key === "" ? "" : ` ${context.key}`;
  return new Trouble({
    code,
    message: `object.store ${context.store} ${kind.says}: ${context.operation}${where}: ${context.detail}`,
    remedy: kind.remedy,
    retryable: kind.retryable,
    ...(kind.exitCode === undefined ? {} : { exitCode: kind.exitCode }),
    cause: context.cause,
  });
}

/** `error` as a line of text, without a stack. */
export function describeError(error: unknown): string {
  if (error instanceof Error) return error.message === "" ? error.name : `${error.name}: ${error.message}`;
  return String(error);
}
