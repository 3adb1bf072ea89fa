/** One line an event in both formats, nothing of a client's splits it, repeats are counted. */
import { expect, test } from "bun:test";
import { StructuredLogger } from "../../../src/telemetry/logger.ts";
import { ManualClock } from "../server/fakes.ts";

function makeLogger(format: "text" | "json", level: "debug" | "info" | "warn" = "info") {
  const clock = new ManualClock();
  const lines: string[] = [];
  return {
    clock,
    lines,
    logger: new StructuredLogger({ clock, level, format, write: (line) => lines.push(line), repeatsWritten: 2, repeatWindowMs: 1000 }),
  };
}

test("text: one line, values quoted where needed, control characters escaped", () => {
  const { logger, lines } = makeLogger("text");
  logger.info("broker.started", "Weir serves", {
    nodeId: 1,
    name: "a b",
    plain: "x/y:z",
    nothing: null,
    absent: undefined,
    evil: "a\nb\u001b[31m",
  });
  expect(lines).toEqual([
    '2023-11-14T22:13:20.000Z INFO broker.started Weir serves nodeId=1 name="a b" plain=x/y:z nothing=null evil="a\\nb\\u001b[31m"\n',
  ]);
});

test("json: one object a line", () => {
  const { logger, lines } = makeLogger("json");
  logger.warn("x.y", 'says "hi"\n', { count: 2 });
  expect(lines.length).toBe(1);
  expect(JSON.parse(lines[0] ?? "")).toEqual({
    time: "2023-11-14T22:13:20.000Z",
    level: "warn",
    event: "x.y",
    message: 'says "hi"\n',
    count: 2,
  });
  expect(lines[0]?.indexOf("\n")).toBe((lines[0]?.length ?? 0) - 1);
});

test("levels below the configured one are silent", () => {
  const { logger, lines } = makeLogger("text", "warn");
  logger.debug("a", "a");
  logger.info("a", "a");
  logger.error("a", "a");
  expect(lines.length).toBe(1);
});

test("repeats are counted and the count is written when the window ends", async () => {
  const { clock, logger, lines } = makeLogger("text");
  for (let index = 0; index < 10; index++) logger.warn("a.b", "again", { index });
  logger.warn("a.b", "something else");
  expect(lines.length).toBe(3);
  await clock.advance(1000);
  expect(lines.at(-1)).toContain("WARN log.repeated again event=a.b times=8");
  logger.warn("a.b", "again");
  expect(lines.length).toBe(5);
});
