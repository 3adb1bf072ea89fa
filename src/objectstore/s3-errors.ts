/**
 * S3's and the network's errors, translated once into troubles.
 *
 * What matters most is whether a failed `createOnce` may have been applied. Certainly not: the request was refused before it was executed (4xx,
 * 503 SlowDown, connection refused, name not found) or never sent. Everything else (500, a broken connection, a timeout) is unknown.
 */
import { Trouble } from "../base/trouble.ts";
import { describeError, type StoreTroubleCode, storeTrouble } from "./troubles.ts";

export interface S3Failure {
  readonly store: string;
  readonly operation: string;
  readonly key: string;
  readonly error: unknown;
  /** A request with these credentials has succeeded before: refused now, they were rotated or have expired. */
  readonly credentialsWorked?: boolean;
  /** False when the call ended before its request went out. */
  readonly sent: boolean;
  readonly timedOut: boolean;
  readonly aborted: boolean;
}

const CODE_BY_S3_NAME: ReadonlyMap<string, StoreTroubleCode> = new Map<string, StoreTroubleCode>([
  ["NoSuchBucket", "store-no-bucket"],
  ["InvalidBucketName", "store-no-bucket"],
  ["PermanentRedirect", "store-wrong-region"],
  ["TemporaryRedirect", "store-wrong-region"],
  ["AuthorizationHeaderMalformed", "store-wrong-region"],
  ["IllegalLocationConstraintException", "store-wrong-region"],
  ["RequestTimeTooSkewed", "store-clock-skew"],
  ["RequestExpired", "store-clock-skew"],
  ["ExpiredToken", "store-credentials-expired"],
  ["ExpiredTokenException", "store-credentials-expired"],
  ["TokenRefreshRequired", "store-credentials-expired"],
  ["AccessDenied", "store-access-denied"],
  ["InvalidAccessKeyId", "store-access-denied"],
  ["InvalidToken", "store-access-denied"],
  ["SignatureDoesNotMatch", "store-access-denied"],
  // versitygw's word for an unknown access key, with status 404.
  ["XAdminUserNotFound", "store-access-denied"],
  ["CredentialsProviderError", "store-no-credentials"],
  ["BadDigest", "store-checksum-mismatch"],
  ["XAmzContentChecksumMismatch", "store-checksum-mismatch"],
  ["ConditionalRequestConflict", "store-conflict"],
  ["OperationAborted", "store-conflict"],
  ["SlowDown", "store-unavailable"],
  ["ServiceUnavailable", "store-unavailable"],
]);

/** Refusals of the credentials themselves, not of what they may do. */
const CREDENTIALS_REFUSED: ReadonlySet<string> = new Set([
  "ExpiredToken",
  "ExpiredTokenException",
  "TokenRefreshRequired",
  "InvalidToken",
  "InvalidAccessKeyId",
  "SignatureDoesNotMatch",
  "XAdminUserNotFound",
]);

/** Network failures before any byte of the request was sent. */
const NEVER_SENT = /ConnectionRefused|ECONNREFUSED|ENOTFOUND|EAI_AGAIN|FailedToOpenSocket|DNS|Unable to connect/i;

export function classifyS3Error(failure: S3Failure): unknown {
  const { error } = failure;
  if (error instanceof Trouble) return error;
  const isCreate = failure.operation === "createOnce";
  if (failure.timedOut || failure.aborted) {
    if (isCreate && failure.sent) return make("store-outcome-unknown", failure);
    return failure.timedOut ? make("store-timeout", failure) : error;
  }
  const name = error instanceof Error ? error.name : "";
  // Only an answer that was read whole says anything; one that broke off in its body is a broken connection, whatever its status.
  const status = isServiceAnswer(error) ? statusOf(error) : undefined;
  if (name === "Error" && /Region is missing/.test(describeError(error))) return make("store-wrong-region", failure);
  const known = CODE_BY_S3_NAME.get(name);
  if (failure.credentialsWorked === true && areCredentialsRefused(error)) return make("store-credentials-expired", failure);
  if (known !== undefined) return make(known, failure);
  if (status === undefined) {
    if (NEVER_SENT.test(`${networkCode(error)} ${describeError(error)}`)) return make("store-unreachable", failure);
    return make(isCreate ? "store-outcome-unknown" : "store-unavailable", failure);
  }
  return make(codeOfStatus(status, isCreate), failure);
}

/** The server knows the credentials not, or no longer: others may be at hand. */
export function areCredentialsRefused(error: unknown): boolean {
  return error instanceof Error && CREDENTIALS_REFUSED.has(error.name);
}

/** A definite "no such object": the bucket exists and the server says the key does not. */
export function isMissingObject(error: unknown): boolean {
  return error instanceof Error && error.name === "NoSuchKey";
}

/** The key exists already (412 to If-None-Match: *). */
export function isPreconditionFailed(error: unknown): boolean {
  return error instanceof Error && error.name === "PreconditionFailed";
}

export function isRangeUnsatisfiable(error: unknown): boolean {
  return error instanceof Error && error.name === "InvalidRange";
}

function codeOfStatus(status: number, isCreate: boolean): StoreTroubleCode {
  if (status === 301 || status === 307) return "store-wrong-region";
  if (status === 401 || status === 403) return "store-access-denied";
  if (status === 409) return "store-conflict";
  if (status === 416) return "store-object-short";
  if (status === 429 || status === 503) return "store-unavailable";
  if (status === 507) return "store-full";
  if (status >= 500 && status !== 501) return isCreate ? "store-outcome-unknown" : "store-unavailable";
  return "store-refused";
}

function make(code: StoreTroubleCode, failure: S3Failure): Trouble {
  const status = statusOf(failure.error);
  const detail = status === undefined ? describeError(failure.error) : `HTTP ${status} ${describeError(failure.error)}`;
  return storeTrouble(code, { store: failure.store, operation: failure.operation, key: failure.key, detail, cause: failure.error });
}

function statusOf(error: unknown): number | undefined {
  const metadata = (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata;
  return metadata?.httpStatusCode;
}

/** An error that the SDK made from the server's own error document. */
function isServiceAnswer(error: unknown): boolean {
  return typeof error === "object" && error !== null && "$fault" in error;
}

function networkCode(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === "string" ? code : "";
}
