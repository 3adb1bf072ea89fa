/** docs/compatibility.md says what the registry says. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { compatibilityPath, renderCompatibility } from "../../../scripts/generate-compatibility.ts";

test("docs/compatibility.md is up to date: run `bun scripts/generate-compatibility.ts`", () => {
  expect(readFileSync(compatibilityPath, "utf8")).toBe(renderCompatibility());
});
