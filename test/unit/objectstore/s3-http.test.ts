/** What the S3 store's promise to keep no bytes rests on: the runtime copies a request's body before `fetch` returns. */
import { afterAll, describe, expect, test } from "bun:test";
import { S3HttpHandler } from "../../../src/objectstore/s3-http.ts";

type SdkRequest = Parameters<S3HttpHandler["handle"]>[0];

const SIZE = 8 * 1024 * 1024;

describe("requests of the SDK as fetches", () => {
  const seen: { readonly url: string; readonly method: string; readonly body: Uint8Array }[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      seen.push({ url: new URL(request.url).pathname + new URL(request.url).search, method: request.method, body: await request.bytes() });
      return new Response("answer", { status: 207, headers: { "x-one": "1" } });
    },
  });
  afterAll(() => server.stop(true));
  const handler = new S3HttpHandler();
  const requestOf = (fields: Partial<SdkRequest>): SdkRequest =>
    ({
      protocol: "http:",
      hostname: "127.0.0.1",
      port: server.port,
      path: "/bucket/a%20key",
      method: "PUT",
      headers: {},
      ...fields,
    }) as SdkRequest;

  test.each(["overwritten", "freed"])("a body that is %s right after the call is sent as it was", async (what) => {
    const body = new Uint8Array(SIZE).fill(7);
    const answer = handler.handle(requestOf({ body }));
    if (what === "freed") body.buffer.transfer(0);
    else body.fill(0xdb);
    expect((await answer).response.statusCode).toBe(207);
    expect(Buffer.compare(seen.at(-1)?.body ?? new Uint8Array(0), new Uint8Array(SIZE).fill(7))).toBe(0);
  });

  test("a request that was given up before its turn is not sent", async () => {
    const before = seen.length;
    const abortSignal = AbortSignal.abort(new Error("given up"));
    await expect(handler.handle(requestOf({ body: new Uint8Array(1) }), { abortSignal })).rejects.toThrow("given up");
    expect(seen.length).toBe(before);
  });

  test("path, query, status, headers and body go through", async () => {
    const query = { "list-type": "2", prefix: "a/b c'*", delete: null, tag: ["x", "y"] };
    const { response } = await handler.handle(requestOf({ method: "POST", query, body: "text" }));
    expect(seen.at(-1)).toMatchObject({ url: "/bucket/a%20key?list-type=2&prefix=a%2Fb%20c%27%2A&delete&tag=x&tag=y", method: "POST" });
    expect(Buffer.from(seen.at(-1)?.body ?? []).toString()).toBe("text");
    expect(response).toMatchObject({ statusCode: 207, headers: { "x-one": "1" } });
    expect(Buffer.from(response.body).toString()).toBe("answer");
  });
});
