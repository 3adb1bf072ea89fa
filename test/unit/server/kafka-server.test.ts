/** The server over real sockets: whole frames, thousands of idle connections, starting and draining. */
import { describe, expect, test } from "bun:test";
import type { ApiHandler } from "../../../src/api/handler.ts";
import { SystemClock } from "../../../src/base/system-clock.ts";
import { type AcceptLimits, readAcceptLimits } from "../../../src/config/accept-limits.ts";
import { BunTransport } from "../../../src/server/bun-transport.ts";
import { KafkaServer } from "../../../src/server/kafka-server.ts";
import { PrometheusMetrics } from "../../../src/telemetry/prometheus-metrics.ts";
import type { LogFields, Logger } from "../../../src/telemetry/telemetry.ts";
import { fakeConfig } from "../support/fake-config.ts";
import { answersIn, frameOf, makeDeferred, SERIAL_KEY, serialHandler, TEST_LIMITS, type TestResponse } from "./fakes.ts";

const failOnBug = (error: unknown): never => {
  throw error;
};

interface LogLine {
  readonly event: string;
  readonly message: string;
  readonly fields: LogFields | undefined;
}

const limitsOf = (settings: Readonly<Record<string, string>> = {}): AcceptLimits => readAcceptLimits(fakeConfig(settings));

function makeServer(handlers: readonly ApiHandler[], memoryBytes = 16_000_000, limits: Readonly<Record<string, string>> = {}) {
  const lines: LogLine[] = [];
  const log = (event: string, message: string, fields?: LogFields): void => void lines.push({ event, message, fields });
  const logger: Logger = { debug: log, info: log, warn: log, error: log };
  const metrics = new PrometheusMetrics();
  const server = new KafkaServer({
    clock: new SystemClock(),
    transport: new BunTransport(failOnBug),
    logger,
    metrics,
    limits: TEST_LIMITS,
    requestMemoryBytes: memoryBytes,
    backlog: 4096,
    acceptLimits: limitsOf(limits),
    onBug: failOnBug,
  });
  const [listener] = server.open([{ name: "PLAINTEXT", securityProtocol: "PLAINTEXT", host: "127.0.0.1", port: 0 }]);
  server.startServing(handlers);
  return { server, lines, metrics, port: listener?.port ?? 0 };
}

/** A client that gathers answers; `wait(n)` resolves when n are there. */
async function connect(port: number) {
  let received = Buffer.alloc(0);
  let isClosed = false;
  let notify = (): void => {};
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      data: (_, chunk) => {
        received = Buffer.concat([received, chunk]);
        notify();
      },
      close: () => {
        isClosed = true;
        notify();
      },
      error: () => {},
    },
  });
  const until = async (isDone: () => boolean): Promise<void> => {
    while (!isDone()) {
      await new Promise<void>((resolve) => {
        notify = resolve;
      });
    }
  };
  const completeAnswers = (): number => {
    let count = 0;
    for (let at = 0; at + 4 <= received.length && at + 4 + received.readInt32BE(at) <= received.length; count++)
      at += 4 + received.readInt32BE(at);
    return count;
  };
  return {
    socket,
    send: async (bytes: Uint8Array): Promise<void> => {
      for (let at = 0; at < bytes.length; ) {
        at += socket.write(bytes.subarray(at));
        if (at < bytes.length) await Bun.sleep(1);
      }
    },
    wait: async (count: number) => {
      await until(() => completeAnswers() >= count || isClosed);
      return answersIn(received);
    },
    closed: () => until(() => isClosed),
  };
}

const echo = serialHandler((request) => ({ records: new Uint8Array(request.payload) }));

describe("over real sockets", () => {
  test("large and small frames come back whole and in order", async () => {
    const { server, port } = makeServer([echo]);
    const client = await connect(port);
    const payloads = [10, 3_000, 999_000, 0, 500_000, 1].map((length, seed) => Buffer.alloc(length, seed + 1));
    await client.send(Buffer.concat(payloads.map((payload, index) => frameOf(SERIAL_KEY, 1, index, payload))));
    const answers = await client.wait(payloads.length);
    expect(answers.map((answer) => answer.correlationId)).toEqual([0, 1, 2, 3, 4, 5]);
    for (const [index, payload] of payloads.entries()) expect(answers[index]?.records.equals(payload)).toBe(true);
    client.socket.end();
    await server.drain(1000);
  });

  test("an API that is not served: one log line that names client, key and version, and others go on", async () => {
    const { server, port, lines, metrics } = makeServer([echo]);
    const good = await connect(port);
    const bad = await connect(port);
    await bad.send(frameOf(9999, 3, 1, Buffer.alloc(10), "strange-client"));
    await bad.closed();
    const closes = lines.filter((line) => line.event === "connection.closed-by-broker");
    expect(closes.length).toBe(1);
    expect(closes[0]?.message).toBe("API key 9999 version 3 is not served");
    expect(closes[0]?.fields?.client).toBe("strange-client");
    await good.send(frameOf(SERIAL_KEY, 1, 5, Buffer.from("still here")));
    expect((await good.wait(1))[0]?.records.toString()).toBe("still here");
    expect(await metrics.render()).toContain('weir_connections_closed_by_broker_total{reason="unserved"} 1\n');
    good.socket.end();
    await server.drain(1000);
  });

  test("connections made while the broker starts are answered when it serves", async () => {
    const server = new KafkaServer({
      clock: new SystemClock(),
      transport: new BunTransport(failOnBug),
      logger: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
      metrics: new PrometheusMetrics(),
      limits: TEST_LIMITS,
      requestMemoryBytes: 1_000_000,
      backlog: 50,
      acceptLimits: limitsOf(),
      onBug: failOnBug,
    });
    const [listener] = server.open([{ name: "PLAINTEXT", securityProtocol: "PLAINTEXT", host: "127.0.0.1", port: 0 }]);
    const client = await connect(listener?.port ?? 0);
    await client.send(frameOf(SERIAL_KEY, 1, 1, Buffer.from("early")));
    while (server.connectionCount === 0) await Bun.sleep(1);
    server.startServing([echo]);
    expect((await client.wait(1))[0]?.records.toString()).toBe("early");
    client.socket.end();
    await server.drain(1000);
  });

  test("max.connections, lowered and raised while it serves, acts on who comes next; the longest silent go", async () => {
    const { server, port, lines } = makeServer([echo]);
    const clients = [await connect(port), await connect(port), await connect(port)];
    // The first one speaks last.
    for (const client of [...clients].reverse()) {
      await client.send(frameOf(SERIAL_KEY, 1, 1, Buffer.from("x")));
      await client.wait(1);
    }
    server.limitAccepting(limitsOf({ "max.connections": "1" }));
    await Promise.all([clients[1]?.closed(), clients[2]?.closed()]);
    expect(lines.find((line) => line.event === "server.excess-closed")?.fields).toEqual({ closed: 2, maxConnections: 1 });
    const waiting = await connect(port);
    await waiting.send(frameOf(SERIAL_KEY, 1, 2, Buffer.from("let me in")));
    await clients[0]?.send(frameOf(SERIAL_KEY, 1, 3, Buffer.from("y")));
    expect(await clients[0]?.wait(2)).toHaveLength(2);
    expect(server.connectionCount).toBe(1);
    expect(
      lines.some((line) => line.event === "server.accept-paused" && line.fields?.reason === "3 connections are open, max.connections=1"),
    ).toBe(true);
    server.limitAccepting(limitsOf({ "max.connections": "2" }));
    expect((await waiting.wait(1))[0]?.records.toString()).toBe("let me in");
    expect(server.connectionCount).toBe(2);
    // Two are there again: a third waits until one leaves.
    const third = await connect(port);
    await third.send(frameOf(SERIAL_KEY, 1, 4, Buffer.from("third")));
    waiting.socket.end();
    expect((await third.wait(1))[0]?.records.toString()).toBe("third");
    for (const client of [...clients, third]) client.socket.end();
    await server.drain(1000);
  });

  test("max.connections.per.ip closes who comes too many", async () => {
    const { server, port, lines, metrics } = makeServer([echo], 16_000_000, { "max.connections.per.ip": "1" });
    const first = await connect(port);
    await first.send(frameOf(SERIAL_KEY, 1, 1, Buffer.from("x")));
    await first.wait(1);
    await (await connect(port)).closed();
    expect(lines.filter((line) => line.event === "connection.refused")).toHaveLength(1);
    expect(await metrics.render()).toContain('weir_connections_closed_by_broker_total{reason="per-address"} 1\n');
    first.socket.end();
    await first.closed();
    const second = await connect(port);
    await second.send(frameOf(SERIAL_KEY, 1, 2, Buffer.from("again")));
    expect((await second.wait(1))[0]?.records.toString()).toBe("again");
    second.socket.end();
    await server.drain(1000);
  });

  test("5,000 idle connections cost little and disturb nobody", async () => {
    const { server, port } = makeServer([echo]);
    Bun.gc(true);
    const before = process.memoryUsage().rss;
    const idle: Awaited<ReturnType<typeof Bun.connect>>[] = [];
    for (let made = 0; made < 5000; made += 250) {
      const batch = Array.from({ length: 250 }, () =>
        Bun.connect({ hostname: "127.0.0.1", port, socket: { data: () => {}, error: () => {} } }),
      );
      idle.push(...(await Promise.all(batch)));
    }
    const client = await connect(port);
    for (let index = 0; index < 200; index++) {
      await client.send(frameOf(SERIAL_KEY, 1, index, Buffer.alloc(100, index)));
      await client.wait(index + 1);
    }
    expect(server.connectionCount).toBe(5001);
    Bun.gc(true);
    // Both ends live in this process: 20 kB a connection is a generous bound for the two together.
    expect(process.memoryUsage().rss - before).toBeLessThan(5000 * 20_000);
    for (const socket of idle) socket.terminate();
    client.socket.end();
    await server.drain(5000);
    expect(server.connectionCount).toBe(0);
  }, 30_000);

  test("a drain answers what is in flight, then the listener is gone", async () => {
    const answer = makeDeferred<TestResponse | undefined>();
    const begun = makeDeferred<void>();
    const handler = serialHandler(() => {
      begun.resolve();
      return answer.promise;
    });
    const { server, port } = makeServer([handler]);
    const client = await connect(port);
    await client.send(frameOf(SERIAL_KEY, 1, 1, Buffer.from("x")));
    await begun.promise;
    const drained = server.drain(10_000);
    answer.resolve({ records: Buffer.from("answered") });
    expect((await client.wait(1))[0]?.records.toString()).toBe("answered");
    await drained;
    expect(Bun.connect({ hostname: "127.0.0.1", port, socket: { data: () => {} } })).rejects.toThrow();
  });

  test("a drain cuts off what does not end", async () => {
    const { server, port } = makeServer([serialHandler(() => new Promise(() => {}))]);
    const client = await connect(port);
    await client.send(frameOf(SERIAL_KEY, 1, 1, Buffer.from("x")));
    while (server.connectionCount === 0) await Bun.sleep(1);
    await server.drain(1);
    await client.closed();
  });
});
