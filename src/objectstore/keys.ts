/**
 * What an object key may look like, checked where a store takes one. Keys are made by our own code, so a bad one is a bug, not a trouble; the
 * configured prefix is the operator's and gets a trouble (`checkPrefix`). The rules are what every known S3 server takes and lists in the
 * same order: ASCII, no empty part, no "." or ".." part.
 */
import { assert } from "../base/assert.ts";
import { Trouble } from "../base/trouble.ts";

/** S3 allows 1,024 bytes; the rest is left for the configured prefix. */
export const MAX_KEY_BYTES = 700;
const MAX_PREFIX_BYTES = 300;
/** S3's limit for one page of a listing and for one DeleteObjects request. */
export const MAX_LIST_PAGE = 1_000;

const PART = "[A-Za-z0-9_=+@-][A-Za-z0-9._=+@-]*";
const KEY_PATTERN = new RegExp(`^${PART}(/${PART})*$`);
const LIST_PREFIX_PATTERN = new RegExp(`^(${PART}/)*(${PART})?$`);

export function assertKey(key: string): void {
  assert(key.length <= MAX_KEY_BYTES && KEY_PATTERN.test(key), `not an object key: ${JSON.stringify(key)}`);
}

/** A prefix to list: "" or the beginning of a key. */
export function assertListPrefix(prefix: string): void {
  assert(prefix.length <= MAX_KEY_BYTES && LIST_PREFIX_PATTERN.test(prefix), `not a prefix of object keys: ${JSON.stringify(prefix)}`);
}

/** Takes the operator's prefix without slashes at its ends; "" is none. */
export function checkPrefix(prefix: string): string {
  const trimmed = prefix.replace(/^\/+|\/+$/g, "");
  if (trimmed === "" || (trimmed.length <= MAX_PREFIX_BYTES && KEY_PATTERN.test(trimmed))) return trimmed;
  throw new Trouble({
    code: "store-bad-prefix",
    message: `object.store: the prefix ${JSON.stringify(prefix)} is not usable`,
    remedy: "Use letters, digits and ._=+@- in parts separated by single slashes, at most 300 characters.",
    retryable: false,
    exitCode: 2,
  });
}

/** Byte order of ASCII keys. */
export function compareKeys(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
