/** What every ObjectStore body must do, whichever it is: one suite, run over all of them. */
import { expect, test } from "bun:test";
import { SystemRandom } from "../../src/base/system-random.ts";
import type { ObjectStore } from "../../src/objectstore/object-store.ts";
import { probeConditionalWrites } from "../../src/objectstore/probe-store.ts";

const TEXT = "the quick brown fox";
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array | undefined): string | undefined => (bytes === undefined ? undefined : new TextDecoder().decode(bytes));

/** `getStore` is called inside tests; keys of one run never meet those of another. */
export function describeStore(getStore: () => ObjectStore, timeoutMs = 30_000): void {
  let cases = 0;
  const check = (what: string, body: (store: ObjectStore, folder: string) => Promise<void>): void => {
    const folder = `suite/${(cases++).toString().padStart(2, "0")}`;
    test(what, () => body(getStore(), folder), timeoutMs);
  };

  check("creates an object once and keeps the first content", async (store, folder) => {
    expect(await store.createOnce(`${folder}/a`, bytesOf(TEXT))).toEqual({ outcome: "created" });
    expect(await store.createOnce(`${folder}/a`, bytesOf(TEXT))).toEqual({ outcome: "exists" });
    expect(await store.createOnce(`${folder}/a`, bytesOf("other"))).toEqual({ outcome: "exists" });
    expect(textOf(await store.get(`${folder}/a`))).toBe(TEXT);
  });

  check("has one winner of many creates at once", async (store, folder) => {
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, index) => store.createOnce(`${folder}/a`, bytesOf(`writer ${index}`))),
    );
    const winners = results.flatMap(({ outcome }, index) => (outcome === "created" ? [index] : []));
    expect(winners.length).toBe(1);
    expect(textOf(await store.get(`${folder}/a`))).toBe(`writer ${winners[0]}`);
  });

  check("creates again what was deleted", async (store, folder) => {
    await store.createOnce(`${folder}/a`, bytesOf("1"));
    await store.delete([`${folder}/a`]);
    expect(await store.get(`${folder}/a`)).toBeUndefined();
    expect((await store.createOnce(`${folder}/a`, bytesOf("2"))).outcome).toBe("created");
  });

  check("replaces by put", async (store, folder) => {
    await store.put(`${folder}/a`, bytesOf("1"));
    await store.put(`${folder}/a`, bytesOf("22"));
    expect(textOf(await store.get(`${folder}/a`))).toBe("22");
  });

  check("says undefined only for what is absent", async (store, folder) => {
    for (const key of [`${folder}/none`, `${folder}/deep/er/none`]) {
      expect(await store.get(key)).toBeUndefined();
      expect(await store.get(key, { start: 0, end: 1 })).toBeUndefined();
      expect(await store.getTail(key, 4)).toBeUndefined();
      expect(await store.head(key)).toBeUndefined();
    }
  });

  check("reads ranges and tails", async (store, folder) => {
    const key = `${folder}/a`;
    await store.put(key, bytesOf(TEXT));
    expect(textOf(await store.get(key, { start: 4, end: 9 }))).toBe("quick");
    expect(textOf(await store.get(key, { start: 0, end: TEXT.length }))).toBe(TEXT);
    const tail = await store.getTail(key, 3);
    expect([textOf(tail?.bytes), tail?.sizeBytes]).toEqual(["fox", TEXT.length]);
    const whole = await store.getTail(key, 1_000);
    expect([textOf(whole?.bytes), whole?.sizeBytes]).toEqual([TEXT, TEXT.length]);
    expect(await store.head(key)).toMatchObject({ key, sizeBytes: TEXT.length });
  });

  check("reads a range into the caller's memory, and not beyond it", async (store, folder) => {
    const key = `${folder}/a`;
    await store.put(key, bytesOf(TEXT));
    const memory = new Uint8Array(9).fill(7);
    const into = memory.subarray(2, 7);
    expect(textOf(await store.get(key, { start: 4, end: 9 }, { into }))).toBe("quick");
    expect([...memory.subarray(0, 2), ...memory.subarray(7)]).toEqual([7, 7, 7, 7]);
    expect(await store.get(`${folder}/none`, { start: 4, end: 9 }, { into })).toBeUndefined();
    const range = { start: TEXT.length - 3, end: TEXT.length + 2 };
    await expect(store.get(key, range, { into })).rejects.toMatchObject({ code: "store-object-short" });
  });

  check("rejects a range beyond the end", async (store, folder) => {
    await store.put(`${folder}/a`, bytesOf(TEXT));
    for (const range of [
      { start: 10, end: TEXT.length + 1 },
      { start: 100, end: 200 },
    ]) {
      await expect(store.get(`${folder}/a`, range)).rejects.toMatchObject({ code: "store-object-short" });
    }
  });

  check("holds an empty object and a large one", async (store, folder) => {
    await store.createOnce(`${folder}/empty`, new Uint8Array(0));
    expect((await store.get(`${folder}/empty`))?.length).toBe(0);
    expect(await store.head(`${folder}/empty`)).toMatchObject({ sizeBytes: 0 });
    expect((await store.getTail(`${folder}/empty`, 8))?.sizeBytes).toBe(0);
    const large = new SystemRandom().fillBytes(new Uint8Array(9 * 1_048_576 + 13));
    await store.createOnce(`${folder}/large`, large);
    expect(Buffer.compare((await store.get(`${folder}/large`))!, large)).toBe(0);
    const middle = await store.get(`${folder}/large`, { start: 5_000_000, end: 5_000_100 });
    expect(Buffer.compare(middle!, large.subarray(5_000_000, 5_000_100))).toBe(0);
  });

  check("does not see later changes of the bytes it was given", async (store, folder) => {
    const bytes = bytesOf("before");
    await store.put(`${folder}/a`, bytes);
    bytes.fill(0x58);
    expect(textOf(await store.get(`${folder}/a`))).toBe("before");
  });

  check("lists in byte order, by prefix, after a key", async (store, folder) => {
    const names = ["b", "a/z", "a-b/c", "a/b/c", "a_b", "B", "a/b-c", "10", "9", "a.b"];
    for (const name of names) await store.put(`${folder}/${name}`, bytesOf(name));
    const sorted = names.map((name) => `${folder}/${name}`).sort();
    const keysOf = async (prefix: string, after?: string) => (await store.list(prefix, after)).objects.map((object) => object.key);
    expect(await keysOf(`${folder}/`)).toEqual(sorted);
    expect(await keysOf(`${folder}/a/`)).toEqual(sorted.filter((key) => key.startsWith(`${folder}/a/`)));
    expect(await keysOf(`${folder}/a/b`)).toEqual([`${folder}/a/b-c`, `${folder}/a/b/c`]);
    expect(await keysOf(`${folder}/none`)).toEqual([]);
    for (const [index, key] of sorted.entries()) expect(await keysOf(`${folder}/`, key)).toEqual(sorted.slice(index + 1));
    expect((await store.list(`${folder}/`)).objects[0]).toMatchObject({ sizeBytes: 2 });
  });

  check("lists and deletes more than 1,000 keys (M21)", async (store, folder) => {
    const keys = Array.from({ length: 1_150 }, (_, index) => `${folder}/k${index.toString().padStart(5, "0")}`);
    for (let start = 0; start < keys.length; start += 50) {
      await Promise.all(keys.slice(start, start + 50).map((key) => store.put(key, bytesOf("x"))));
    }
    const listed: string[] = [];
    let pages = 0;
    for (let after: string | undefined; ; pages++) {
      const page = await store.list(`${folder}/k`, after);
      expect(page.objects.length).toBeLessThanOrEqual(1_000);
      listed.push(...page.objects.map((object) => object.key));
      after = page.next;
      if (after === undefined) break;
    }
    expect(listed).toEqual(keys);
    expect(pages).toBe(1);
    await store.delete([...keys, `${folder}/never-there`]);
    expect((await store.list(`${folder}/k`)).objects).toEqual([]);
    await store.delete(keys.slice(0, 2));
  });

  check("refuses bad keys as bugs", async (store) => {
    for (const key of ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".hidden", "a b", "ä", "a\\b", "x".repeat(701)]) {
      await expect(store.put(key, bytesOf("x"))).rejects.toThrow("not an object key");
    }
  });

  check("passes the probe of conditional writes and leaves nothing behind", async (store) => {
    await probeConditionalWrites(store, new SystemRandom());
    expect((await store.list("probe/")).objects).toEqual([]);
  });
}
