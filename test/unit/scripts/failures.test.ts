/** The end of `npm test` says which tests failed and why. */
import { expect, test } from "bun:test";
import { bunFailures, cargoFailures } from "../../../scripts/lib/failures.ts";

const output = `
test/unit/a.test.ts:
(pass) a > one [0.52ms]
noise of two
error: expect(received).toBe(expected)
Expected: 1
(fail) a > two [1.00ms]
  ^ this test timed out after 1ms.
(pass) a > three [0.10ms]

test/unit/b.test.ts:
said by four
(fail) b > four

2 tests failed:
(fail) a > two [1.00ms]
(fail) b > four
`;

test("each failed test comes with its file and what it printed", () => {
  expect(bunFailures(output)).toEqual([
    "test/unit/a.test.ts:\nnoise of two\nerror: expect(received).toBe(expected)\nExpected: 1\n(fail) a > two [1.00ms]",
    "test/unit/b.test.ts:\nsaid by four\n(fail) b > four",
  ]);
});

test("a long story is cut to its end", () => {
  const lines = Array.from({ length: 100 }, (_, index) => `line ${index}`);
  const [found = ""] = bunFailures(["test/unit/a.test.ts:", ...lines, "(fail) a > long"].join("\n"));
  expect(found.split("\n")).toHaveLength(42);
  expect(found).toContain("line 99\n(fail) a > long");
});

test("nothing failed, nothing is said", () => {
  expect(bunFailures("test/unit/a.test.ts:\n(pass) a > one\n")).toEqual([]);
  expect(cargoFailures("test result: ok. 31 passed; 0 failed; 0 ignored;")).toEqual([]);
});

test("cargo's account of its failures is kept", () => {
  expect(cargoFailures("test x ... FAILED\n\nfailures:\n\n---- x stdout ----\npanicked\n")[0]).toStartWith(
    "failures:\n\n---- x stdout ----",
  );
});
