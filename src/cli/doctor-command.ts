/** `weir doctor`: reads a broker's configuration as `weir start` does and tries what that broker will need. Exit code 1 when a check failed. */
import { GetBucketLifecycleConfigurationCommand, S3Client } from "@aws-sdk/client-s3";
import { FetchHttpHandler } from "@smithy/fetch-http-handler";
import { SystemClock } from "../base/system-clock.ts";
import type { ObjectStoreConfig } from "../config/config.ts";
import { loadAddon } from "../native/load-addon.ts";
import { StructuredLogger } from "../telemetry/logger.ts";
import { printAll } from "./broker-session.ts";
import { type Check, checkAdvertised, checkDevice, checkLifecycle, checkStore, failedBy, type LifecycleRule } from "./doctor-checks.ts";
import { type OutputForm, renderJson, renderTable } from "./output.ts";
import { readConfig, type StartOptions } from "./start-command.ts";
import { makeSystemWorld } from "./system-world.ts";
import { renderEnd, writeLine } from "./terminal.ts";

const LONGEST_RUN_MS = 10 * 60_000;
const LIFECYCLE_TIMEOUT_MS = 10_000;

/** Resolves with the exit code; rejects with a Trouble for a configuration that is wrong. */
export async function runDoctor(options: StartOptions, output: OutputForm): Promise<number> {
  const { config, warnings } = readConfig(options);
  const clock = new SystemClock({ holdsProcess: true });
  const logger = new StructuredLogger({ clock, level: "error", format: "text", write: (line) => writeLine(2, line) });
  const world = makeSystemWorld(config, logger, (error) => {
    writeLine(2, renderEnd(error).line);
    process.exit(1);
  });
  const addon = loadAddon();
  // Waits of the store's retries do not hold the process.
  const hold = clock.schedule(LONGEST_RUN_MS, () => {});
  const rows: Check[] = warnings.map(({ key, message }) => ({
    check: "configuration",
    verdict: "warning",
    detail: message,
    remedy: `look at ${key}`,
  }));
  const device = await checkDevice(config, world, addon);
  rows.push(...device.rows);
  try {
    const store = await world.openObjectStore();
    rows.push(...(await checkStore(store, world, addon.crc32c)));
    await store.close();
  } catch (error) {
    rows.push(failedBy("bucket", error, "check object.store"));
  }
  rows.push(...(await checkLifecycle(config.objectStore, readLifecycleRules)));
  rows.push(...(await checkAdvertised(config, world, device.isRunning)));
  hold.cancel();
  const table = (): string =>
    renderTable(
      ["check", "verdict", "detail", "remedy"],
      rows.map((row) => [row.check, row.verdict, row.detail, row.remedy]),
    );
  await printAll(output === "json" ? renderJson(rows) : table());
  return rows.some(({ verdict }) => verdict === "failed") ? 1 : 0;
}

/** Rejects with the SDK's error; no rules at all is an answer. */
async function readLifecycleRules(config: Extract<ObjectStoreConfig, { kind: "s3" }>): Promise<readonly LifecycleRule[]> {
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
      // Versions that are not current, and uploads that were given up, are nothing that Weir reads.
      harms:
        rule.Expiration !== undefined ||
        (rule.Transitions ?? []).some(({ StorageClass }) => /GLACIER|DEEP_ARCHIVE/.test(StorageClass ?? "")),
    }));
  } catch (error) {
    if (error instanceof Error && error.name === "NoSuchLifecycleConfiguration") return [];
    throw error;
  } finally {
    client.destroy();
  }
}
