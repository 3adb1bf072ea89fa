/** The S3 body on real servers: the shared suite, the fault proxy, and what each operator's mistake looks like. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { SystemClock } from "../../../src/base/system-clock.ts";
import { SystemRandom } from "../../../src/base/system-random.ts";
import type { ObjectStore } from "../../../src/objectstore/object-store.ts";
import { RetryingStore } from "../../../src/objectstore/retrying-store.ts";
import { S3Store, type S3StoreOptions } from "../../../src/objectstore/s3-store.ts";
import { type FaultProxy, S3_SERVERS, type S3Server, startFaultProxy, startS3Server, whyNoS3Server } from "../../support/s3-servers.ts";
import { describeStore } from "../../support/store-suite.ts";
import { tableCrc32c } from "../../unit/support/table-crc32c.ts";

const BUILD_TIMEOUT_MS = 900_000;
const clock = new SystemClock();

for (const kind of S3_SERVERS) {
  const reason = whyNoS3Server(kind);
  describe.skipIf(reason !== undefined)(`s3 store on ${kind}${reason === undefined ? "" : ` (skipped: ${reason})`}`, () => {
    let server: S3Server;
    let proxy: FaultProxy;
    let store: S3Store;

    const open = (options: Partial<S3StoreOptions> = {}): S3Store =>
      new S3Store({
        bucket: server.bucket,
        prefix: "some/prefix",
        region: server.region,
        endpoint: server.endpoint,
        pathStyle: true,
        credentials: server.credentials,
        clock,
        crc32c: tableCrc32c,
        ...options,
      });

    beforeAll(async () => {
      server = await startS3Server(kind);
      proxy = await startFaultProxy(server.endpoint, 1);
      store = open();
    }, BUILD_TIMEOUT_MS);

    afterAll(async () => {
      await proxy?.[Symbol.asyncDispose]();
      await server?.[Symbol.asyncDispose]();
    });

    describeStore(() => store, 120_000);

    test("hears the server's clock", async () => {
      await store.head("none");
      expect(Math.abs(store.clockSkewMs!)).toBeLessThan(5_000);
    });

    test("goes on through 503s", async () => {
      await proxy.configure({ slowDownRate: 0.3 });
      const patient = new RetryingStore(open({ endpoint: proxy.endpoint }), clock, new SystemRandom(), {
        maxAttempts: 30,
        firstPauseMs: 1,
        maxPauseMs: 5,
        defaultDeadlineMs: 60_000,
      });
      for (let index = 0; index < 30; index++) {
        expect((await patient.createOnce(`slow/${index}`, Buffer.from(`${index}`))).outcome).toBe("created");
        expect(Buffer.from((await patient.get(`slow/${index}`))!).toString()).toBe(`${index}`);
      }
      await proxy.configure({});
    }, 60_000);

    test("says 'unknown' for a create whose answer is lost, and never for a reason that is certain", async () => {
      const through = open({ endpoint: proxy.endpoint });
      const expectCode = async (config: Record<string, unknown>, work: (store: ObjectStore) => Promise<unknown>, code: string) => {
        await proxy.configure(config);
        await expect(work(through)).rejects.toMatchObject({ code, retryable: true });
        await proxy.configure({});
      };
      const create = (store: ObjectStore) => store.createOnce("lost/a", Buffer.from("x"));
      await expectCode({ slowDownRate: 1 }, create, "store-unavailable");
      expect(await store.get("lost/a")).toBeUndefined();
      await expectCode({ dropResponseRate: 1 }, create, "store-outcome-unknown");
      expect(await store.get("lost/a")).toBeDefined();
      await expectCode({ apply5xxRate: 1 }, (s) => s.createOnce("lost/b", Buffer.from("x")), "store-outcome-unknown");
      expect(await store.get("lost/b")).toBeDefined();
      await expectCode({ internalErrorRate: 1 }, (s) => s.createOnce("lost/c", Buffer.from("x")), "store-outcome-unknown");
      await expectCode({ dropResponseRate: 1 }, (s) => s.put("lost/d", Buffer.from("x")), "store-unavailable");
      await expectCode({ hangRate: 1 }, (s) => s.createOnce("lost/e", Buffer.from("x"), { deadlineMs: 100 }), "store-outcome-unknown");
      await expectCode({ hangRate: 1 }, (s) => s.get("lost/a", undefined, { deadlineMs: 100 }), "store-timeout");
      await expectCode({ resetResponseRate: 1 }, (s) => s.get("lost/a"), "store-unavailable");
    }, 60_000);

    test("names each mistake of an operator", async () => {
      const cases: readonly [string, Partial<S3StoreOptions>][] = [
        ["store-no-bucket", { bucket: "no-such-bucket" }],
        ["store-access-denied", { credentials: { ...server.credentials, secretAccessKey: "wrong-secret" } }],
        ["store-access-denied", { credentials: { accessKeyId: "nobody", secretAccessKey: "wrong-secret" } }],
        ["store-unreachable", { endpoint: "http://127.0.0.1:1" }],
      ];
      for (const [code, options] of cases) {
        const wrong = open(options);
        await expect(wrong.get("a")).rejects.toMatchObject({ code });
        await expect(wrong.head("a")).rejects.toMatchObject({ code });
        await expect(wrong.createOnce("a", Buffer.from("x"))).rejects.toMatchObject({ code });
        await expect(wrong.list("a")).rejects.toMatchObject({ code });
      }
      await expect(open({ region: "eu-north-1" }).get("a")).rejects.toMatchObject({ code: "store-wrong-region" });
      const skewed = await open({ bucket: "no-such-bucket" })
        .get("a")
        .catch((error: Error) => error.message);
      expect(skewed).toContain("s3://no-such-bucket/some/prefix");
      expect(skewed).toContain(server.endpoint);
    }, 60_000);

    test("refuses bytes whose checksum is wrong", async () => {
      const liar = open({ crc32c: (bytes, start, end) => (tableCrc32c(bytes, start, end) ^ 1) >>> 0 });
      await expect(liar.put("sum/a", Buffer.from("x"))).rejects.toMatchObject({ code: "store-checksum-mismatch" });
      expect(await store.get("sum/a")).toBeUndefined();
      await store.put("sum/b", Buffer.from("y"));
      await expect(liar.get("sum/b")).rejects.toMatchObject({ code: "store-checksum-mismatch" });
    });
  });
}
