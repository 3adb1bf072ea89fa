/** What is special about files: what a crash leaves, two processes on one directory, and the operating system's refusals. */
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SystemRandom } from "../../../src/base/system-random.ts";
import { DirectoryStore } from "../../../src/objectstore/directory-store.ts";
import { TemporaryFolder } from "../../support/temporary.ts";

const random = new SystemRandom();
const X = Buffer.from("x");

describe("directory store", () => {
  test("removes what a dead process left half-written, and never shows it", async () => {
    using folder = new TemporaryFolder("directory");
    mkdirSync(join(folder.path, ".tmp"));
    const dead = join(folder.path, ".tmp", "4194999-aabbcc-0");
    const own = join(folder.path, ".tmp", `${process.pid}-aabbcc-0`);
    for (const path of [dead, own]) writeFileSync(path, "half");
    const store = await DirectoryStore.open(folder.path, random);
    expect([existsSync(dead), existsSync(own)]).toEqual([false, true]);
    expect((await store.list("")).objects).toEqual([]);
    await store.createOnce("a/b", X);
    expect(await store.createOnce("a/b", X)).toEqual({ outcome: "exists" });
    expect(readdirSync(join(folder.path, ".tmp"))).toEqual([`${process.pid}-aabbcc-0`]);
  });

  test("has one winner among stores that are open at once", async () => {
    using folder = new TemporaryFolder("directory");
    const stores = await Promise.all(Array.from({ length: 4 }, () => DirectoryStore.open(folder.path, random)));
    for (let round = 0; round < 25; round++) {
      const results = await Promise.all(stores.map((store, index) => store.createOnce(`log/${round}`, Buffer.from(`${index}`))));
      const winners = results.flatMap(({ outcome }, index) => (outcome === "created" ? [`${index}`] : []));
      expect(winners).toEqual([Buffer.from((await stores[0]!.get(`log/${round}`))!).toString()]);
    }
  });

  test("names the directory when it cannot be used", async () => {
    using folder = new TemporaryFolder("directory");
    const file = join(folder.path, "file");
    writeFileSync(file, "");
    await expect(DirectoryStore.open(join(file, "below"), random)).rejects.toMatchObject({ message: expect.stringContaining(file) });
  });

  test("does not take a folder for an object, nor an object for a folder", async () => {
    using folder = new TemporaryFolder("directory");
    const store = await DirectoryStore.open(folder.path, random);
    await store.put("a/b", X);
    expect(await store.get("a")).toBeUndefined();
    expect(await store.head("a")).toBeUndefined();
    expect(await store.get("a/b/c")).toBeUndefined();
    await store.delete(["a/b/c", "none/at/all"]);
    expect(await store.get("a/b")).toBeDefined();
  });
});
