/** The S3 body reads ranges into its caller's memory, and leaves that memory alone once the call is over. */
import { expect, test } from "bun:test";
import { SystemClock } from "../../../src/base/system-clock.ts";
import { S3Store } from "../../../src/objectstore/s3-store.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";

/** A server whose answer to every request is `body`, with `length` announced. */
function serve(body: ReadableStream<Uint8Array>, length: number) {
  const headers = { "content-length": String(length), "content-range": `bytes 0-${length - 1}/1000` };
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response(body, { status: 206, headers }) });
  const store = new S3Store({
    bucket: "bucket",
    prefix: "",
    region: "us-east-1",
    endpoint: `http://127.0.0.1:${server.port}`,
    pathStyle: true,
    credentials: { accessKeyId: "a", secretAccessKey: "b" },
    clock: new SystemClock(),
    crc32c: tableCrc32c,
  });
  return { server, store };
}

test("a body that comes after the call was given up is not written to memory that is somebody else's by now", async () => {
  let more: ReadableStreamDefaultController<Uint8Array> | undefined;
  const hasBegun = Promise.withResolvers<void>();
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      more = controller;
    },
    pull: (controller) => {
      controller.enqueue(new Uint8Array(4).fill(1));
      hasBegun.resolve();
      return new Promise(() => undefined);
    },
  });
  const { server, store } = serve(body, 8);
  const abort = new AbortController();
  const into = new Uint8Array(8);
  const read = store.get("key", { start: 0, end: 8 }, { into, signal: abort.signal });
  await hasBegun.promise;
  abort.abort(new Error("left"));
  await expect(read).rejects.toThrow();
  into.fill(9);
  try {
    more?.enqueue(new Uint8Array(4).fill(2));
    more?.close();
  } catch {
    // The connection's end may have closed the body already.
  }
  await server.stop();
  expect([...into]).toEqual(new Array(8).fill(9));
  await store.close();
});

test("a body longer than the range is refused, and nothing is written beyond the range", async () => {
  const { server, store } = serve(new Response(new Uint8Array(12).fill(1)).body as ReadableStream<Uint8Array>, 12);
  const memory = new Uint8Array(16);
  const read = store.get("key", { start: 0, end: 8 }, { into: memory.subarray(4, 12) });
  await expect(read).rejects.toMatchObject({ code: "store-object-short" });
  expect([...memory.subarray(0, 4), ...memory.subarray(12)]).toEqual(new Array(8).fill(0));
  await server.stop();
  await store.close();
});
