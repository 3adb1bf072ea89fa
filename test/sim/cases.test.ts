/** docs/cases.md follows the tests: it is current, and no case is without a test, a scenario or a named feature to wait for. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { CASES_DOCUMENT, renderCases } from "../../scripts/generate-cases.ts";
import { CASES } from "./cases.ts";

test("docs/cases.md is what the tests say", () => {
  expect(readFileSync(CASES_DOCUMENT, "utf8")).toBe(renderCases());
});

test("every case has a test, a scenario, or waits for a feature that is named", () => {
  expect(renderCases()).not.toContain("no test yet");
  expect(new Set(CASES.map((each) => each.id)).size).toBe(CASES.length);
  for (const { shownBy } of CASES) if (shownBy !== undefined) expect(existsSync(shownBy)).toBe(true);
});
