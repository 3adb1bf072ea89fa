/** The committed codecs and tables are what the generator makes from Kafka's jars. */
import { expect, test } from "bun:test";
import { dirname, join } from "node:path";
import { findKafkaJars } from "./kafka-jars.ts";

const jars = findKafkaJars();
const ROOT = join(import.meta.dir, "../../..");
const TIMEOUT_MS = 120_000;

test.skipIf("missing" in jars)(
  `generated files are current${"missing" in jars ? ` (skipped: ${jars.missing})` : ""}`,
  () => {
    if ("missing" in jars) return;
    const command = [process.execPath, "scripts/generate-protocol.ts", "--check", "--jars", dirname(jars.classPath)];
    const { exitCode, stderr } = Bun.spawnSync(command, { cwd: ROOT });
    expect(
      stderr
        .toString()
        .split("\n")
        .filter((line) => line.includes("is not what the generator makes")),
    ).toEqual([]);
    expect(exitCode).toBe(0);
  },
  TIMEOUT_MS,
);
