/** The tidy check finds what it is for. */
import { expect, test } from "bun:test";
import { checkTidy } from "../../../scripts/tidy.ts";

const readme = { path: "src/base/README.md", text: "# base\n" };
const messages = (files: { path: string; text: string }[], exceptions = {}) =>
  checkTidy(files, exceptions).map((finding) => finding.message);

test("a clean room gives nothing", () => {
  expect(messages([readme, { path: "src/base/a.ts", text: "/** Header. */\nexport const a = 1;\n" }])).toEqual([]);
});

test("a file that is too long is found, unless its reason is named", () => {
  const long = { path: "src/base/a.ts", text: `/** Header. */\n${"x();\n".repeat(600)}` };
  expect(messages([readme, long])).toEqual(["601 lines; split it by 600 or name the reason in scripts/tidy.ts"]);
  expect(messages([readme, long], { "src/base/a.ts": "a table" })).toEqual([]);
});

test("generated codecs are not counted", () => {
  expect(
    messages([
      { path: "src/protocol/README.md", text: "#\n" },
      { path: "src/protocol/messages/x.ts", text: "x();\n".repeat(900) },
    ]),
  ).toEqual([]);
});

test("a missing header comment is found", () => {
  expect(messages([readme, { path: "src/base/a.ts", text: "export const a = 1;\n" }])[0]).toContain("header comment");
  expect(messages([{ path: "test/x/A.java", text: "package a;\n\nimport b.C;\n\n/** Header. */\nclass A {}\n" }])).toEqual([]);
  expect(messages([{ path: "test/x/A.java", text: "import b.C;\n\nclass A {}\n" }])[0]).toContain("header comment");
});

test("a room without a README, and one with a long README, are found", () => {
  expect(messages([{ path: "src/base/a.ts", text: "/** H. */\n" }])).toEqual(["the room has no README.md"]);
  expect(messages([{ path: "src/base/README.md", text: "x\n".repeat(61) }])[0]).toContain("61 lines");
});

test("a path of one machine is found in any text", () => {
  const path = ["", "root", "weir", "x"].join("/");
  expect(messages([{ path: "docs/a.md", text: `see ${path}\n` }])).toEqual(["names a path of one machine"]);
  expect(messages([{ path: "docs/a.md", text: `see $HOME${path} and a${path}\n` }])).toEqual([]);
});
