/** A build step is skipped exactly while its inputs, its facts and its output are as they were. */
import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashInputs, isCurrent, type Step, writeStamp } from "../../../scripts/lib/stamp.ts";

const step: Step = { inputs: ["in"], facts: ["host"], output: "out", stamp: "stamps/x" };

test("current after the stamp; stale after any change", () => {
  const root = mkdtempSync(join(tmpdir(), "weir-stamp-"));
  try {
    mkdirSync(join(root, "in", "target"), { recursive: true });
    writeFileSync(join(root, "in", "a"), "1");
    writeFileSync(join(root, "out"), "made");
    expect(isCurrent(root, step)).toBe(false);
    writeStamp(root, step, hashInputs(root, step));
    expect(isCurrent(root, step)).toBe(true);

    writeFileSync(join(root, "in", "target", "cache"), "ignored");
    expect(isCurrent(root, step)).toBe(true);
    expect(isCurrent(root, { ...step, facts: ["arm64"] })).toBe(false);
    writeFileSync(join(root, "in", "a"), "2");
    expect(isCurrent(root, step)).toBe(false);
    writeFileSync(join(root, "in", "a"), "1");
    writeFileSync(join(root, "in", "b"), "");
    expect(isCurrent(root, step)).toBe(false);
    rmSync(join(root, "in", "b"));
    rmSync(join(root, "out"));
    expect(isCurrent(root, step)).toBe(false);
  } finally {
    rmSync(root, { recursive: true });
  }
});
