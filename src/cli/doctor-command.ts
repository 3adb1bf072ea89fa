/** `weir doctor`: reads a broker's configuration as `weir start` does and tries what that broker will need. Exit code 1 when a check failed. */
import { SystemClock } from "../base/system-clock.ts";
import { loadAddon } from "../native/load-addon.ts";
import { StructuredLogger } from "../telemetry/logger.ts";
import { printAll } from "./broker-session.ts";
import { type Check, checkAdvertised, checkDevice, checkStore, failedBy } from "./doctor-checks.ts";
import { checkLifecycle, readLifecycleRules } from "./doctor-lifecycle.ts";
import { type OutputForm, renderJson, renderTable } from "./output.ts";
import { readConfig, type StartOptions } from "./start-command.ts";
import { makeSystemWorld } from "./system-world.ts";
import { renderEnd, writeLine } from "./terminal.ts";

const LONGEST_RUN_MS = 10 * 60_000;

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
