/** The shared suite over the bodies that need nothing from outside, plain and under the decorators. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SystemClock } from "../../../src/base/system-clock.ts";
import { SystemRandom } from "../../../src/base/system-random.ts";
import { DirectoryStore } from "../../../src/objectstore/directory-store.ts";
import { MemoryStore } from "../../../src/objectstore/memory-store.ts";
import { MeteredStore } from "../../../src/objectstore/metered-store.ts";
import { RetryingStore } from "../../../src/objectstore/retrying-store.ts";
import { ScopedStore } from "../../../src/objectstore/scoped-store.ts";
import { describeStore } from "../../support/store-suite.ts";
import { NO_METRICS } from "../support/recording-telemetry.ts";

const clock = new SystemClock();

describe("memory store", () => {
  const store = new MemoryStore(clock);
  describeStore(() => store);
});

describe("directory store", () => {
  let folder: string;
  let store: DirectoryStore;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "weir-directory-store-"));
    store = await DirectoryStore.open(folder, new SystemRandom());
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  describeStore(() => store, 120_000);
});

describe("decorated store", () => {
  const inner = new MemoryStore(clock);
  const store = new RetryingStore(new MeteredStore(new ScopedStore(inner, "some/folder"), clock, NO_METRICS), clock, new SystemRandom());
  describeStore(() => store);

  test("hands the caller's memory through", async () => {
    await store.put("into", Buffer.from("0123456789"));
    const into = new Uint8Array(4);
    expect(await store.get("into", { start: 2, end: 6 }, { into })).toBe(into);
    expect(Buffer.from(into).toString()).toBe("2345");
  });
});
