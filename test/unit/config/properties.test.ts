/** Java's .properties syntax, as a table. */
import { describe, expect, test } from "bun:test";
import { Trouble } from "../../../src/base/trouble.ts";
import { parseProperties } from "../../../src/config/properties.ts";

const pairs = (text: string): readonly (readonly [string, string])[] => parseProperties(text, "test").map(({ key, value }) => [key, value]);

describe("Java .properties", () => {
  test.each([
    ["a=b", [["a", "b"]]],
    ["a = b ", [["a", "b "]]],
    ["a:b", [["a", "b"]]],
    ["a b", [["a", "b"]]],
    ["a\tb", [["a", "b"]]],
    ["  a  =  b=c", [["a", "b=c"]]],
    ["a", [["a", ""]]],
    ["a=", [["a", ""]]],
    ["=b", [["", "b"]]],
    ["# comment\n! comment\n\n   \na=b", [["a", "b"]]],
    [
      "a=one,\\\n   two,\\\n   three\nb=1",
      [
        ["a", "one,two,three"],
        ["b", "1"],
      ],
    ],
    [
      "a=b\\\\\nc=d",
      [
        ["a", "b\\"],
        ["c", "d"],
      ],
    ],
    ["a=b\\", [["a", "b"]]],
    ["a\\=b=c", [["a=b", "c"]]],
    ["a\\:b\\ c=d", [["a:b c", "d"]]],
    ["a=\\t\\n\\r\\f\\q\\u00e9", [["a", "\t\n\r\fqé"]]],
    [
      "a=1\r\nb=2\rc=3",
      [
        ["a", "1"],
        ["b", "2"],
        ["c", "3"],
      ],
    ],
    ["a=# not a comment", [["a", "# not a comment"]]],
    [
      "a=1\na=2",
      [
        ["a", "1"],
        ["a", "2"],
      ],
    ],
    ["a=\\\n# continued, not a comment", [["a", "# continued, not a comment"]]],
  ] as const)("%j", (text, expected) => {
    expect(pairs(text)).toEqual(expected as unknown as [string, string][]);
  });

  test("line numbers are those of the first natural line", () => {
    expect(parseProperties("\n#\na=1,\\\n2\nb=2", "test").map(({ line }) => line)).toEqual([3, 5]);
  });

  test("a malformed unicode escape names its line", () => {
    expect(() => parseProperties("a=1\nb=\\u12g4", "server.properties")).toThrow(Trouble);
    expect(() => parseProperties("a=1\nb=\\u12g4", "server.properties")).toThrow("server.properties line 2");
  });
});
