/** The counts that `npm test` and CI print are the runners' own. */
import { expect, test } from "bun:test";
import { addCounts, formatCounts, parseCargoOutput, parseJunit } from "../../../scripts/lib/counts.ts";

test("JUnit: skipped and todo are not passed, errors are failures", () => {
  const xml =
    '<?xml version="1.0"?>\n<testsuites name="bun test" tests="7" assertions="9" failures="1" errors="1" skipped="2" time="0.1">\n</testsuites>';
  expect(parseJunit(xml)).toEqual({ passed: 3, failed: 2, skipped: 2 });
});

test("JUnit: a report without its element is refused", () => {
  expect(() => parseJunit("<html/>")).toThrow("no <testsuites>");
});

test("cargo: every test binary's line is summed", () => {
  const output = `
running 3 tests
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
`;
  expect(parseCargoOutput(output)).toEqual({ passed: 6, failed: 1, skipped: 1 });
});

test("the closing line", () => {
  const sum = addCounts({ passed: 1, failed: 0, skipped: 2 }, { passed: 3, failed: 0, skipped: 0 });
  expect(formatCounts(sum)).toBe("4 passed, 0 failed, 2 skipped");
});
