import { expect, test } from "bun:test";
import { compilePattern } from "../../../src/base/linear-pattern.ts";

function matches(pattern: string, text: string): boolean {
  const compiled = compilePattern(pattern);
  if (compiled.kind !== "pattern") throw new Error(compiled.reason);
  return compiled.matches(text);
}

test("a pattern must match the whole text, alternatives included", () => {
  expect([matches("orders-.*", "orders-eu"), matches("orders", "orders-eu"), matches("a|ab", "ab"), matches("", "")]).toEqual([
    true,
    false,
    true,
    true,
  ]);
  expect([matches("(?i)ABC", "aBc"), matches("\\p{L}+", "straße"), matches("\\Qa.b\\E", "a.b"), matches("\\Qa.b\\E", "axb")]).toEqual([
    true,
    true,
    true,
    false,
  ]);
});

test("what RE2 has not is invalid, with a reason", () => {
  for (const pattern of ["(", "[", "*a", "a(?=b)", "(?<!a)b", "(a)\\1", "a{2,1}", "a{1001}", "\\8", "(".repeat(5000)]) {
    const compiled = compilePattern(pattern);
    expect(compiled.kind, pattern).toBe("invalid-pattern");
    if (compiled.kind === "invalid-pattern") expect(compiled.reason).not.toBe("");
  }
});

test("the reason is that of RE2/J's PatternSyntaxException.getDescription", () => {
  expect(compilePattern("a[b")).toMatchObject({ reason: "missing closing ]" });
  expect(compilePattern("*a")).toMatchObject({ reason: "missing argument to repetition operator" });
});

test("patterns that take a backtracking engine for ever are decided", () => {
  for (const pattern of ["(x+x+)+y", "(a|aa)+b", "(.*a){25}", "(x*)*y"]) expect(matches(pattern, "x".repeat(20_000))).toBe(false);
});

test("a pattern whose program would be huge is refused before it is made", () => {
  for (const pattern of ["x{1000}".repeat(30), `(${"x".repeat(500)}){1000}`, "x".repeat(40_000)]) {
    expect(compilePattern(pattern)).toMatchObject({ kind: "invalid-pattern", reason: "expression is too large" });
  }
  expect(matches("[a-z0-9._-]{1,249}", "topic-1")).toBe(true);
});
