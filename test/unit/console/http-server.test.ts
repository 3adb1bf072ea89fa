/** The HTTP paths that orchestrators and Prometheus use. */
import { afterEach, expect, test } from "bun:test";
import { type HttpServer, startHttpServer } from "../../../src/console/http-server.ts";

let server: HttpServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

function start(health: readonly string[] = [], readiness: readonly string[] = []): string {
  server = startHttpServer(
    { host: "127.0.0.1", port: 0 },
    {
      getHealthProblems: () => health,
      getReadinessProblems: () => readiness,
      renderMetrics: async () => "weir_up 1\n",
      metricsContentType: "text/plain; version=0.0.4; charset=utf-8",
    },
  );
  return `http://127.0.0.1:${server.port}`;
}

test("healthy and ready", async () => {
  const base = start();
  for (const path of ["/healthz", "/readyz"]) {
    const response = await fetch(base + path);
    expect([response.status, await response.text()]).toEqual([200, "ok\n"]);
  }
});

test("not ready: 503 with one reason a line", async () => {
  const response = await fetch(`${start([], ["the broker is starting", "storage is wal-full"])}/readyz`);
  expect([response.status, await response.text()]).toEqual([503, "the broker is starting\nstorage is wal-full\n"]);
});

test("metrics, other paths, other methods", async () => {
  const base = start();
  const metrics = await fetch(`${base}/metrics`);
  expect([await metrics.text(), metrics.headers.get("content-type")]).toEqual(["weir_up 1\n", "text/plain; version=0.0.4; charset=utf-8"]);
  expect((await fetch(`${base}/`)).status).toBe(404);
  expect((await fetch(`${base}/metrics`, { method: "POST" })).status).toBe(405);
});

test("a port in use is a Trouble that names the key", () => {
  const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
  try {
    expect(() => startHttpServer({ host: "127.0.0.1", port: taken.port }, {} as never)).toThrow(`http.listener=127.0.0.1:${taken.port}`);
  } finally {
    taken.stop();
  }
});
