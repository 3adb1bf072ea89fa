/** The world check finds every banned name, and only there. */
import { expect, test } from "bun:test";
import { checkWorld } from "../../../scripts/check-world.ts";

const inFile = (text: string, path = "src/partition/a.ts") =>
  checkWorld([{ path, text }], { "src/base/system-clock.ts": ["time", "timers"] });

test.each([
  "const t = Date.now();",
  "const t = new Date();",
  "const t = performance.now();",
  "const t = Bun.nanoseconds();",
  "setTimeout(f, 1);",
  "setInterval(f, 1);",
  "setImmediate(f);",
  "queueMicrotask(f);",
  "await Bun.sleep(1);",
  "Math.random();",
  "crypto.randomUUID();",
  "randomBytes(4);",
  "crypto.getRandomValues(x);",
  "Bun.listen({});",
  "Bun.connect({});",
  "Bun.serve({});",
  "await fetch(url);",
  "const answer = fetch(url);",
  "all([fetch(url)]);",
  "fetch(url).then(f);",
  "process.env.HOME;",
  "Bun.env.HOME;",
])("%s is found", (text) => {
  expect(inFile(`// header\n${text}\n`)).toHaveLength(1);
  expect(inFile(`// header\n${text}\n`)[0]?.line).toBe(2);
});

test.each([
  "// Date.now is banned",
  "/* Math.random() */",
  'log("setTimeout");',
  "partition.fetch(request);",
  "  fetch(request: Request): Answer {",
  "  async fetch(request) {",
  "clock.setTimeout;",
  "new Date(stamp);",
  "prefetch(x);",
])("%s is no finding", (text) => {
  expect(inFile(text)).toEqual([]);
});

test("an implementing file may use what it is listed for, and nothing else", () => {
  expect(inFile("Date.now(); setTimeout(f, 1);", "src/base/system-clock.ts")).toEqual([]);
  expect(inFile("Math.random();", "src/base/system-clock.ts")).toHaveLength(1);
});
