/** The checker of the exactly-once run finds what it is for; `bun test/chaos/exactly-once.ts --seconds 600` is the run itself. */
import { describe, expect, test } from "bun:test";
import { checkCopy } from "./exactly-once-check.ts";

describe("the checker of copies", () => {
  const committed = (...offsets: readonly number[]) => offsets.map((inputOffset) => ({ inputOffset, verdict: "commit" }));

  test("a true copy gives nothing", () => expect(checkCopy(0, 3, committed(0, 1, 2))).toEqual([]));
  test("a gap is found", () =>
    expect(checkCopy(0, 3, committed(0, 2))).toEqual(["partition 0: 1 of 3 inputs are missing, the first is 1"]));
  test("a missing end is found", () => expect(checkCopy(0, 3, committed(0, 1))).toHaveLength(1));
  test("a duplicate is found", () => expect(checkCopy(0, 2, committed(0, 1, 1))).toEqual(["partition 0: input 1 is there twice"]));
  test("disorder is found", () => expect(checkCopy(0, 3, committed(0, 2, 1))).toEqual(["partition 0: input 1 comes after 2"]));
  test("an input that nobody wrote is found", () => expect(checkCopy(0, 1, committed(0, 1))).toHaveLength(1));
  test("a record of an aborted attempt is found", () => {
    const copy = [{ inputOffset: 0, verdict: "abort" }, ...committed(0)];
    expect(checkCopy(0, 1, copy)[0]).toContain("aborted");
  });
});
