/** The README's five minutes, line by line; and that the test notices when one of them stops working. */
import { describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { TemporaryFolder } from "../support/temporary.ts";
import { testIf } from "../support/tools.ts";
import { hasWeir, weirMissing } from "../support/weir-process.ts";
import { findBroken, makeBuiltTree, readReadme, readTour, type TourResult, takeTour, whyNoTour } from "./tour.ts";

async function tour(readme: string): Promise<TourResult> {
  using temporary = new TemporaryFolder("tour");
  const folder = join(temporary.path, "weir");
  mkdirSync(folder);
  makeBuiltTree(folder);
  return await takeTour({ readme, folder, startLine: "dist/weir start" });
}

const take = testIf(hasWeir && whyNoTour === undefined, whyNoTour ?? weirMissing);

describe("the README's five minutes", () => {
  take(
    "every line works and prints what the README says; after kill -9 everything is there",
    async () => {
      const result = await tour(readReadme());
      for (const line of result.skipped) console.log(`skipped: ${line}`);
      expect(result.findings).toEqual([]);
      expect(result.typed).toBeGreaterThan(8);
    },
    300_000,
  );

  take(
    "a line that does not work and a promise that is not kept are found",
    async () => {
      const readme =
        "## Five minutes\n\n```sh\nnpm start\n```\n\n```sh\nexport PATH=$PWD/dist:$PATH\nprintf 'one\\ntwo\\nthree\\n' | weir produce greetings\n" +
        "weir consume greetings --from start\nweir cluster\n```\n\n```text\nbrokers 2\n```\n\n### On\n";
      const { findings } = await tour(readme);
      expect(findings).toEqual([
        expect.stringContaining('"weir consume greetings --from start" ended with 2'),
        expect.stringContaining('"brokers 2"'),
      ]);
    },
    120_000,
  );

  test("has lines to type and outputs to expect", () => {
    const blocks = readTour(readReadme());
    const lines = blocks.flatMap((block) => block.lines);
    expect(lines[0]).toBe("npm start");
    for (const word of ["weir cluster", "weir produce", "weir consume", "weir doctor", "kcat", "kafka-tool.sh", "/readyz", "/metrics"])
      expect([word, lines.some((line) => line.includes(word))]).toEqual([word, true]);
    expect(blocks.flatMap((block) => block.promised).length).toBeGreaterThan(5);
  });

  test("promised lines are looked for in order; blanks count as one and ... as anything", () => {
    expect(findBroken(["a  b", "c ... e"], "x\na b\nc d e\n")).toEqual([]);
    expect(findBroken(["c", "a"], "a\nc\n")).toEqual(["a"]);
    expect(findBroken(["a.c"], "abc")).toEqual(["a.c"]);
  });
});
