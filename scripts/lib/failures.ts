/** What runners printed of the tests that failed, gathered for the end of a run: a log's beginning is what gets lost. */

/** Lines kept before a test's own "(fail)" line; its error and the values it compared stand there. */
const linesBefore = 40;
const verdict = /^\((pass|fail|skip|todo)\) /;
const header = /^\S+\.test\.tsx?:$/;
/** Behind it Bun says all failures once more, without their errors. */
const recapitulation = /^\d+ tests? failed:$/;

/** Of each failed test of `bun test`: the file's name, what was printed since the verdict before, and its verdict. */
export function bunFailures(output: string): string[] {
  const found: string[] = [];
  let file = "";
  let since: string[] = [];
  for (const line of output.split("\n")) {
    if (recapitulation.test(line)) break;
    if (header.test(line)) {
      file = line;
      since = [];
    } else if (verdict.test(line)) {
      if (line.startsWith("(fail) ")) found.push([file, ...since.slice(-linesBefore), line].join("\n"));
      since = [];
    } else since.push(line);
  }
  return found;
}

/** The lines of failed tests and what cargo prints of them under "failures:". */
export function cargoFailures(output: string): string[] {
  const end = output.indexOf("\nfailures:\n");
  return end < 0
    ? []
    : [
        output
          .slice(end + 1)
          .split("\n")
          .slice(0, linesBefore)
          .join("\n"),
      ];
}
