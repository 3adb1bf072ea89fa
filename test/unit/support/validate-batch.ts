/** Both steps of validating a batch as one, as Produce takes them when no transaction is asked about in between. */
import {
  type BatchRefusal,
  type BatchRules,
  type CheckedBatch,
  findFramingRefusal,
  type ValidationContext,
  validateFramedBatch,
} from "../../../src/partition/batch-validation.ts";

/** `bytes` may be patched in place. */
export function validateBatch(bytes: Uint8Array, rules: BatchRules, context: ValidationContext): CheckedBatch | BatchRefusal {
  return findFramingRefusal(bytes, context) ?? validateFramedBatch(bytes, rules, context);
}
