/**
 * `weir doctor` and the bucket's lifecycle rules: one that expires or archives what lies below our prefix takes records away behind the broker's back. A
 * broker never reads the rules, so that it needs no permission for it; where doctor has none either, the answer is "unknown", and that fails nothing.
 */
import { GetBucketLifecycleConfigurationCommand, type LifecycleRule as LifecycleRuleOutput, S3Client } from "@aws-sdk/client-s3";
import { FetchHttpHandler } from "@smithy/fetch-http-handler";
import type { ObjectStoreConfig } from "../config/config.ts";
import { type Check, failed, ok } from "./doctor-checks.ts";

const LIFECYCLE_TIMEOUT_MS = 10_000;

export interface LifecycleRule {
  readonly id: string;
  readonly prefix: string;
  readonly isEnabled: boolean;
  /** Removes objects, or moves them where a GET does not reach them at once. */
  readonly harms: boolean;
}

/** Rules that reach into `prefix` ("" is the whole bucket). */
export function judgeLifecycle(rules: readonly LifecycleRule[], prefix: string): Check {
  const ours = prefix === "" ? "" : `${prefix}/`;
  const harmful = rules.filter((rule) => rule.isEnabled && rule.harms && (ours.startsWith(rule.prefix) || rule.prefix.startsWith(ours)));
  if (harmful.length === 0) return ok("lifecycle rules", `none of ${rules.length} expires or archives objects below "${ours}"`);
  const names = harmful.map(({ id }) => id).join(", ");
  return failed(
    "lifecycle rules",
    `${names} expires or archives objects below "${ours}"`,
    "exclude this prefix: Weir deletes what it no longer needs itself",
  );
}

/** Reading the rules needs a permission that Weir itself does not: without it the answer is unknown. */
export async function checkLifecycle(
  config: ObjectStoreConfig,
  readRules: (bucket: Extract<ObjectStoreConfig, { kind: "s3" }>) => Promise<readonly LifecycleRule[]>,
): Promise<readonly Check[]> {
  if (config.kind !== "s3") return [];
  try {
    return [judgeLifecycle(await readRules(config), config.prefix)];
  } catch (error) {
    const detail = `they cannot be read: ${error instanceof Error ? error.message || error.name : String(error)}`;
    return [{ check: "lifecycle rules", verdict: "unknown", detail, remedy: "allow s3:GetLifecycleConfiguration to have them checked" }];
  }
}

/** Rejects with the SDK's error; no rules at all is an answer. */
export async function readLifecycleRules(config: Extract<ObjectStoreConfig, { kind: "s3" }>): Promise<readonly LifecycleRule[]> {
  const region = config.region ?? (config.endpoint === undefined ? undefined : "us-east-1");
  const client = new S3Client({
    forcePathStyle: config.pathStyle,
    maxAttempts: 1,
    requestHandler: new FetchHttpHandler({ requestTimeout: LIFECYCLE_TIMEOUT_MS }),
    ...(config.endpoint === undefined ? {} : { endpoint: config.endpoint }),
    ...(region === undefined ? {} : { region }),
  });
  try {
    const answer = await client.send(new GetBucketLifecycleConfigurationCommand({ Bucket: config.bucket }));
    return (answer.Rules ?? []).map((rule) => ({
      id: rule.ID ?? "a rule without id",
      prefix: rule.Filter?.Prefix ?? rule.Filter?.And?.Prefix ?? rule.Prefix ?? "",
      isEnabled: rule.Status === "Enabled",
      harms: doesHarm(rule),
    }));
  } catch (error) {
    if (error instanceof Error && error.name === "NoSuchLifecycleConfiguration") return [];
    throw error;
  } finally {
    client.destroy();
  }
}

/**
 * Versions that are not current, markers of deletions and uploads that were given up are nothing that Weir reads, and objects with tags are none of ours.
 */
function doesHarm({ Filter, Expiration, Transitions = [] }: LifecycleRuleOutput): boolean {
  if (Filter?.Tag !== undefined || (Filter?.And?.Tags ?? []).length > 0) return false;
  const expires = Expiration?.Days !== undefined || Expiration?.Date !== undefined;
  return expires || Transitions.some(({ StorageClass }) => /GLACIER|DEEP_ARCHIVE/.test(StorageClass ?? ""));
}
