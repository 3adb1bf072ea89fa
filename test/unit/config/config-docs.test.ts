/** docs/configuration.md is what the table of settings says. */
import { expect, test } from "bun:test";
import { CONFIG_DOCS_PATH, renderConfigDocs } from "../../../scripts/generate-config-docs.ts";
import { SETTINGS } from "../../../src/config/settings.ts";

test("docs/configuration.md is up to date (bun scripts/generate-config-docs.ts)", async () => {
  expect(await Bun.file(CONFIG_DOCS_PATH).text()).toBe(renderConfigDocs());
});

test("it names every setting that is not internal, and marks every default that is not Kafka's", () => {
  const text = renderConfigDocs();
  for (const setting of SETTINGS.values()) {
    if (setting.isInternal) continue;
    const row = text.split("\n").find((line) => line.startsWith(`| \`${setting.name}\` |`));
    expect([setting.name, row !== undefined]).toEqual([setting.name, true]);
    expect([setting.name, row?.includes("**differs**")]).toEqual([setting.name, setting.kafkaDefault !== undefined]);
  }
});
