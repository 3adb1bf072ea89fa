/** The layer check finds what it is for, and is quiet about what is allowed. */
import { expect, test } from "bun:test";
import { allowedImports, checkLayers, findCycles, roomOf } from "../../../scripts/check-layers.ts";

const file = (path: string, text: string) => ({ path, text });

test("an import of a room above is found, with its line", () => {
  const findings = checkLayers([file("src/storage/a.ts", '// one\nimport { x } from "../api/handler.ts";\n')]);
  expect(findings).toHaveLength(1);
  expect(findings[0]).toMatchObject({ path: "src/storage/a.ts", line: 2 });
  expect(findings[0]?.message).toContain("storage must not import api");
});

test("exports from, dynamic imports and type imports count too", () => {
  expect(checkLayers([file("src/base/a.ts", 'export { x } from "../config/config.ts";')])).toHaveLength(1);
  expect(checkLayers([file("src/base/a.ts", 'await import("../config/config.ts");')])).toHaveLength(1);
  expect(checkLayers([file("src/base/a.ts", 'import type { X } from "../config/config.ts";')])).toHaveLength(1);
});

test("imports of rooms below, of the same room and of packages are allowed", () => {
  const text =
    'import { a } from "../storage/storage.ts";\nimport { b } from "./b.ts";\nimport fs from "node:fs";\nimport c from "prom-client";';
  expect(checkLayers([file("src/partition/a.ts", text)])).toEqual([]);
});

test("an import in a comment is no import", () => {
  expect(checkLayers([file("src/base/a.ts", '// import { x } from "../api/handler.ts";\n/* from "../cli/x.ts" */')])).toEqual([]);
});

test("an unknown room, and an import that leaves src, are found", () => {
  expect(checkLayers([file("src/misc/a.ts", "")])).toHaveLength(1);
  expect(checkLayers([file("src/base/a.ts", 'import x from "../../test/x.ts";')])).toHaveLength(1);
});

test("a circle between files is found; one of types alone is not", () => {
  const a = file("src/base/a.ts", 'import { b } from "./b.ts";');
  const b = file("src/base/b.ts", 'import { c } from "./c.ts";');
  const c = file("src/base/c.ts", 'import { a } from "./a.ts";');
  expect(findCycles([a, b, c])).toHaveLength(1);
  expect(findCycles([a, b, c])[0]?.message).toContain("src/base/a.ts -> src/base/b.ts -> src/base/c.ts -> src/base/a.ts");
  expect(findCycles([a, b, file("src/base/c.ts", 'import type { a } from "./a.ts";')])).toEqual([]);
});

test("no room may import itself through another: what is allowed points one way", () => {
  const mutual: string[] = [];
  for (const [room, allowed] of Object.entries(allowedImports)) {
    for (const other of allowed) if (allowedImports[other]?.includes(room)) mutual.push([room, other].sort().join("-"));
  }
  expect([...new Set(mutual)].sort()).toEqual([]);
});

test("rooms by path", () => {
  expect(roomOf("src/main.ts")).toBe("main");
  expect(roomOf("src/storage/wal/x.ts")).toBe("storage");
  expect(roomOf("test/unit/x.ts")).toBeUndefined();
});
