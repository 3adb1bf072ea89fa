/** The exactly-once run until each of its paths was taken, and its checker; `bun test/chaos/exactly-once.ts --seconds 600` is the run itself. */
import { describe, expect, test } from "bun:test";
import { hasKafkaTools, noKafkaTools } from "../conformance/clients.ts";
import { testIf } from "../support/tools.ts";
import { hasWeir, weirMissing } from "../support/weir-process.ts";
import { runExactlyOnce } from "./exactly-once.ts";
import { type CopiedRecord, checkAttempts, checkCopy } from "./exactly-once-check.ts";

describe("exactly once under kill -9", () => {
  testIf(hasWeir && hasKafkaTools, hasWeir ? noKafkaTools : weirMissing)(
    "each input is copied once while the broker dies, clients are fenced, and transactions fail and time out",
    async () => {
      const { findings, summary } = await runExactlyOnce({
        seconds: 0,
        graceSeconds: 90,
        goals: { inputs: 1000, brokerKills: 2, commits: 10, aborts: 4, abortable: 2, timeouts: 1, fenced: 1 },
        killEverySeconds: 3,
        troubleEverySeconds: 2,
        loops: 2,
        maxUncopied: 2000,
        seed: 1,
      });
      console.log(summary);
      expect(findings).toEqual([]);
    },
    240_000,
  );
});

const committed = (...inputOffsets: readonly number[]): CopiedRecord[] =>
  inputOffsets.map((inputOffset, offset) => ({ offset, inputOffset, attempt: "a.1", plan: "commit" }));

describe("the checker of copies", () => {
  test("a true copy gives nothing", () => expect(checkCopy(0, 3, committed(0, 1, 2))).toEqual([]));
  test("a gap is found", () =>
    expect(checkCopy(0, 3, committed(0, 2))).toEqual(["partition 0: 1 of 3 inputs are missing, the first is 1"]));
  test("a missing end is found", () => expect(checkCopy(0, 3, committed(0, 1))).toHaveLength(1));
  test("a duplicate is found", () => expect(checkCopy(0, 2, committed(0, 1, 1))).toEqual(["partition 0: input 1 is there twice"]));
  test("disorder is found", () => expect(checkCopy(0, 3, committed(0, 2, 1))).toEqual(["partition 0: input 1 comes after 2"]));
  test("an input that nobody wrote is found", () => expect(checkCopy(0, 1, committed(0, 1))).toHaveLength(1));
  test("an offset that is read again is found", () => {
    expect(checkCopy(0, 2, [...committed(0), { ...committed(1)[0]!, offset: 0 }])[0]).toContain("read after");
  });
  test("a record of an attempt to be aborted is found", () => {
    const copy = [
      { offset: 0, inputOffset: 0, attempt: "a.1", plan: "abort" },
      { ...committed(0)[0]!, offset: 1 },
    ];
    expect(checkCopy(0, 1, copy)[0]).toContain("to be aborted");
  });
});

describe("the checker of attempts", () => {
  const nothingKnown = { committed: new Set<string>(), aborted: new Set<string>() };
  const attempt = (name: string, ...offsets: readonly number[]): CopiedRecord[] =>
    offsets.map((offset) => ({ offset, inputOffset: offset, attempt: name, plan: "commit" }));

  test("whole attempts give nothing", () => {
    const everything = [[...attempt("a.1", 0, 1), ...attempt("a.2", 3)], attempt("a.1", 0)];
    const verdicts = { committed: new Set(["a.1"]), aborted: new Set(["a.2"]) };
    expect(checkAttempts([attempt("a.1", 0, 1), attempt("a.1", 0)], everything, verdicts)).toEqual([]);
  });
  test("a part of an attempt is found", () => {
    const findings = checkAttempts([attempt("a.1", 0), []], [attempt("a.1", 0), attempt("a.1", 0)], nothingKnown);
    expect(findings).toEqual(["1 of 2 records of a.1 are visible"]);
  });
  test("a record that the uncommitted view lacks is found", () => {
    expect(checkAttempts([attempt("a.1", 0)], [attempt("a.2", 0)], nothingKnown)[0]).toContain("not in the uncommitted view");
  });
  test("a lost commit is found", () => {
    expect(checkAttempts([[]], [[]], { ...nothingKnown, committed: new Set(["a.1"]) })).toEqual(["a.1 was committed and is not visible"]);
  });
  test("an abort that is visible is found", () => {
    const findings = checkAttempts([attempt("a.1", 0)], [attempt("a.1", 0)], { ...nothingKnown, aborted: new Set(["a.1"]) });
    expect(findings).toEqual(["a.1 was aborted and is visible"]);
  });
});
