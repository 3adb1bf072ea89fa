/** Kafka's settings against ConfigDef of Kafka's published jars (needs a JDK and the jars; visibly skipped otherwise). */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { dumpConfig, limitsOf, renderBrokerSettings, renderGroupSettings } from "../../../scripts/generate-kafka-settings.ts";
import { KAFKA_SETTINGS } from "../../../src/config/kafka-settings.ts";
import { KAFKA_MEANINGS, SETTINGS, WEIR_SETTINGS } from "../../../src/config/settings.ts";
import { describeExpected, normaliseValue } from "../../../src/config/values.ts";

/** Where Kafka's jars may lie: named by the environment, or where the peer that the conformance tests run was unpacked. */
const library = [process.env.KAFKA_LIB_DIR, join(homedir(), ".cache/kafka-peer/broker-lib")].find(
  (folder) => folder !== undefined && existsSync(join(folder, "kafka_2.13-4.4.0.jar")),
);
const oracleMissing =
  library === undefined
    ? "Kafka's jars are not on this machine (KAFKA_LIB_DIR)"
    : Bun.which("java") === null
      ? "there is no JDK"
      : undefined;

describe("Kafka's settings", () => {
  test.skipIf(oracleMissing !== undefined)(
    `names, types, defaults, limits and texts are those of ConfigDef${oracleMissing === undefined ? "" : ` (skipped: ${oracleMissing})`}`,
    async () => {
      const dumped = dumpConfig(library ?? "", "broker");
      expect(dumped.length).toBe(KAFKA_SETTINGS.length);
      expect(await Bun.file(join(import.meta.dir, "../../../src/config/kafka-settings.ts")).text()).toBe(renderBrokerSettings(dumped));
      const groups = dumpConfig(library ?? "", "group");
      expect(await Bun.file(join(import.meta.dir, "../../../src/config/kafka-group-settings.ts")).text()).toBe(renderGroupSettings(groups));
      // Every default is Kafka's unless it is marked.
      for (const { name, default: kafkaDefault } of dumped) {
        const setting = SETTINGS.get(name);
        if (setting?.kafkaDefault === undefined) expect([name, setting?.default]).toEqual([name, kafkaDefault]);
        else expect([name, setting.kafkaDefault]).toEqual([name, kafkaDefault]);
      }
    },
    60_000,
  );

  test("every meaning is of a setting that Kafka has, and every changed default says why", () => {
    const names = new Set(KAFKA_SETTINGS.map(({ name }) => name));
    for (const [name, meaning] of Object.entries(KAFKA_MEANINGS)) {
      expect([name, names.has(name)]).toEqual([name, true]);
      expect(meaning.note.length).toBeGreaterThan(10);
    }
    for (const { name } of WEIR_SETTINGS) expect([name, names.has(name)]).toEqual([name, false]);
  });

  test("every default is a right value of its own setting", () => {
    for (const setting of SETTINGS.values()) {
      if (setting.default === null || (setting.type === "list" && setting.default === "")) continue;
      expect(() => normaliseValue(setting, setting.default ?? "", "default")).not.toThrow();
      expect(describeExpected(setting).length).toBeGreaterThan(5);
    }
  });

  test.each([
    ["int", "[0,...]", "{ min: 0 }"],
    ["double", "[0,...,0.5]", "{ min: 0, max: 0.5 }"],
    ["int", "[1,...,9] or -1", "{ min: 1, max: 9, except: [-1] }"],
    ["string", "[a, b]", '{ values: ["a", "b"] }'],
    ["string", "(case insensitive) [A, B]", '{ values: ["A", "B"], ignoreCase: true }'],
    ["string", "non-empty string", "{}"],
  ])("limits of %s %s", (type, validator, expected) => {
    expect(limitsOf({ name: "x", type, default: null, required: false, internal: false, importance: "low", validator, doc: "" })).toBe(
      expected,
    );
  });
});
