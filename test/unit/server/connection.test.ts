/** One connection in a virtual world: frames, refusals, order, byte sources, memory, deadlines. */
import { describe, expect, test } from "bun:test";
import { Trouble } from "../../../src/base/trouble.ts";
import {
  answersIn,
  FakeSource,
  frameOf,
  makeDeferred,
  makeServer,
  PIPELINED_KEY,
  pipelinedHandler,
  SERIAL_KEY,
  serialHandler,
  type TestResponse,
} from "./fakes.ts";

const echo = serialHandler((request) => ({ records: new Uint8Array(request.payload) }));
const bytesOf = (length: number, seed: number): Buffer => Buffer.from(Array.from({ length }, (_, index) => (index * 31 + seed) & 0xff));

describe("frames", () => {
  test("every way to cut a stream of frames gives the same answers", async () => {
    const payloads = [bytesOf(0, 1), bytesOf(1, 2), bytesOf(300, 3), bytesOf(5000, 4)];
    const stream = Buffer.concat(payloads.map((payload, index) => frameOf(SERIAL_KEY, 1, index, payload)));
    for (const size of [1, 2, 3, 5, 7, 64, 1000, 4096, stream.length]) {
      const server = makeServer([echo]);
      const { socket, connection } = server.connect();
      for (let at = 0; at < stream.length; at += size) connection.data(Buffer.from(stream.subarray(at, at + size)));
      await server.clock.settle();
      expect(answersIn(socket.sent).map((answer) => answer.correlationId)).toEqual([0, 1, 2, 3]);
      expect(answersIn(socket.sent).map((answer) => answer.records.toString("hex"))).toEqual(
        payloads.map((payload) => payload.toString("hex")),
      );
      connection.ended();
      expect(server.gate.budget.usedBytes).toBe(0);
    }
  });

  test("answers of one turn leave in one write", async () => {
    const server = makeServer([echo]);
    const { socket, connection } = server.connect();
    connection.data(Buffer.concat([0, 1, 2, 3].map((index) => frameOf(SERIAL_KEY, 1, index, bytesOf(10, index)))));
    await server.clock.settle();
    expect(socket.writes.length).toBe(1);
  });

  test.each([-1, -2_147_483_648, 1_000_001, 2_147_483_647])(
    "a frame of %d bytes closes the connection, with one log line",
    async (size) => {
      const server = makeServer([echo]);
      const { socket, connection } = server.connect();
      const prefix = Buffer.alloc(4);
      prefix.writeInt32BE(size);
      connection.data(Buffer.concat([frameOf(SERIAL_KEY, 1, 7, bytesOf(3, 1)), prefix, bytesOf(100, 1)]));
      await server.clock.settle();
      expect(server.closes.map((close) => close.reason)).toEqual(["frame-size"]);
      expect(server.closes[0]?.message).toContain(String(size));
      // What came before it is answered.
      expect(answersIn(socket.sent).map((answer) => answer.correlationId)).toEqual([7]);
      expect(socket.state).toBe("closed");
      connection.ended();
      expect(server.gate.budget.usedBytes).toBe(0);
    },
  );

  test("random bytes never get an answer, an exception or memory that stays", async () => {
    let seed = 12345;
    const random = (): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return seed / 2 ** 32;
    };
    for (let round = 0; round < 2000; round++) {
      const server = makeServer([echo]);
      const { socket, connection } = server.connect();
      const bytes = Buffer.from(Array.from({ length: 1 + Math.floor(random() * 64) }, () => Math.floor(random() * 256)));
      // Half of them with a right length, so that header and body are reached.
      if (round % 2 === 0 && bytes.length > 4) bytes.writeInt32BE(bytes.length - 4, 0);
      connection.data(bytes);
      await server.clock.settle();
      expect(socket.sent.length).toBe(0);
      expect(server.closes.length).toBeLessThanOrEqual(1);
      connection.ended();
      expect(server.gate.budget.usedBytes).toBe(0);
    }
  });

  test("an announced size alone takes no memory beyond its first part", async () => {
    const server = makeServer([echo], { maxFrameBytes: 100_000_000 }, 200_000_000);
    const { connection } = server.connect();
    const before = process.memoryUsage().arrayBuffers;
    const prefix = Buffer.alloc(4);
    prefix.writeInt32BE(90_000_000);
    connection.data(Buffer.concat([prefix, bytesOf(10, 1)]));
    expect(server.gate.budget.usedBytes).toBe(90_000_000);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8_000_000);
    connection.ended();
    expect(server.gate.budget.usedBytes).toBe(0);
  });
});

describe("requests that are not served", () => {
  test("an unknown API key closes the connection with one line that names client, key and version", async () => {
    const server = makeServer([echo]);
    const { socket, connection } = server.connect();
    connection.data(frameOf(77, 5, 1, bytesOf(4, 1), "sarama"));
    await server.clock.settle();
    expect(server.closes).toEqual([{ reason: "unserved", message: "API key 77 version 5 is not served", clientId: "sarama" }]);
    expect(socket.state).toBe("closed");
    expect(socket.sent.length).toBe(0);
  });

  test("a version out of range closes the connection after the answers before it", async () => {
    const server = makeServer([echo]);
    const { socket, connection } = server.connect();
    connection.data(
      Buffer.concat([
        frameOf(SERIAL_KEY, 1, 1, bytesOf(4, 1)),
        frameOf(SERIAL_KEY, 9, 2, bytesOf(4, 1)),
        frameOf(SERIAL_KEY, 1, 3, bytesOf(4, 1)),
      ]),
    );
    await server.clock.settle();
    expect(server.closes[0]?.message).toBe("API key 100 (Serial) version 9 is not served, only 0 to 3");
    expect(answersIn(socket.sent).map((answer) => answer.correlationId)).toEqual([1]);
    expect(socket.state).toBe("closed");
  });

  test("ApiVersions in an unknown version is handled, and answered in version 0", async () => {
    const seen: number[] = [];
    const apiVersions = serialHandler((request, context) => {
      seen.push(context.apiVersion, request.payload.length);
      return { records: bytesOf(2, 1) };
    }, 18);
    const server = makeServer([apiVersions]);
    const { socket, connection } = server.connect();
    connection.data(frameOf(18, 99, 5, bytesOf(40, 1)));
    await server.clock.settle();
    expect(seen).toEqual([99, 0]);
    expect(answersIn(socket.sent)).toEqual([{ correlationId: 5, records: bytesOf(2, 1) }]);
  });

  test("a handler that fails closes the connection", async () => {
    const failing = serialHandler(async () => {
      throw new Trouble({ code: "storage-failed", message: "no", retryable: false });
    });
    const server = makeServer([failing]);
    const { socket, connection } = server.connect();
    connection.data(frameOf(SERIAL_KEY, 1, 1, bytesOf(4, 1)));
    await server.clock.settle();
    expect(server.failures.length).toBe(1);
    expect(socket.state).toBe("terminated");
    connection.ended();
    expect(server.gate.budget.usedBytes).toBe(0);
  });
});

describe("order", () => {
  test("pipelined requests overlap and answer in request order", async () => {
    const answers = [0, 1, 2].map(() => makeDeferred<TestResponse | undefined>());
    let begun = 0;
    const server = makeServer([pipelinedHandler(() => ({ admitted: undefined, answer: answers[begun++]!.promise }))]);
    const { socket, connection } = server.connect();
    connection.data(Buffer.concat([0, 1, 2].map((index) => frameOf(PIPELINED_KEY, 1, index, bytesOf(4, 1)))));
    expect(begun).toBe(3);
    answers[2]?.resolve({ records: bytesOf(1, 2) });
    answers[1]?.resolve({ records: bytesOf(1, 1) });
    await server.clock.settle();
    expect(socket.sent.length).toBe(0);
    answers[0]?.resolve({ records: bytesOf(1, 0) });
    await server.clock.settle();
    expect(answersIn(socket.sent).map((answer) => answer.correlationId)).toEqual([0, 1, 2]);
  });

  test("the next pipelined request begins when the one before is admitted", async () => {
    const admitted = makeDeferred<void>();
    let begun = 0;
    const server = makeServer([
      pipelinedHandler(() => ({
        admitted: begun++ === 0 ? admitted.promise : undefined,
        answer: Promise.resolve({ records: bytesOf(1, 0) }),
      })),
    ]);
    const { socket, connection } = server.connect();
    connection.data(Buffer.concat([0, 1].map((index) => frameOf(PIPELINED_KEY, 1, index, bytesOf(4, 1)))));
    await server.clock.settle();
    expect(begun).toBe(1);
    admitted.resolve();
    await server.clock.settle();
    expect(begun).toBe(2);
    expect(answersIn(socket.sent).length).toBe(2);
  });

  test("a serial request waits for all before it and holds all after it", async () => {
    const log: string[] = [];
    const produce = makeDeferred<TestResponse | undefined>();
    const serial = makeDeferred<TestResponse | undefined>();
    const server = makeServer([
      pipelinedHandler((_, context) => {
        log.push(`produce ${context.correlationId}`);
        return { admitted: undefined, answer: context.correlationId === 0 ? produce.promise : Promise.resolve(undefined) };
      }),
      serialHandler((_, context) => {
        log.push(`serial ${context.correlationId}`);
        return serial.promise;
      }),
    ]);
    const { socket, connection } = server.connect();
    connection.data(
      Buffer.concat([
        frameOf(PIPELINED_KEY, 1, 0, bytesOf(1, 1)),
        frameOf(SERIAL_KEY, 1, 1, bytesOf(1, 1)),
        frameOf(PIPELINED_KEY, 1, 2, bytesOf(1, 1)),
      ]),
    );
    await server.clock.settle();
    expect(log).toEqual(["produce 0"]);
    produce.resolve({ records: bytesOf(1, 0) });
    await server.clock.settle();
    expect(log).toEqual(["produce 0", "serial 1"]);
    serial.resolve({ records: bytesOf(1, 1) });
    await server.clock.settle();
    expect(log).toEqual(["produce 0", "serial 1", "produce 2"]);
    // The last one had no answer (acks=0).
    expect(answersIn(socket.sent).map((answer) => answer.correlationId)).toEqual([0, 1]);
    connection.ended();
    expect(server.gate.budget.usedBytes).toBe(0);
  });

  test("too many unanswered requests stop the reading until some are answered", async () => {
    const waiting: ((response: TestResponse | undefined) => void)[] = [];
    const server = makeServer(
      [pipelinedHandler(() => ({ admitted: undefined, answer: new Promise((resolve) => waiting.push(resolve)) }))],
      { maxPendingRequests: 3 },
    );
    const { socket, connection } = server.connect();
    connection.data(Buffer.concat([0, 1, 2, 3, 4].map((index) => frameOf(PIPELINED_KEY, 1, index, bytesOf(4, 1)))));
    expect(waiting.length).toBe(3);
    expect(socket.isPaused).toBe(true);
    for (let index = 0; index < 5; index++) {
      waiting[index]?.({ records: bytesOf(1, index) });
      await server.clock.settle();
    }
    expect(answersIn(socket.sent).length).toBe(5);
    expect(socket.isPaused).toBe(false);
  });
});

describe("byte sources", () => {
  test("are copied when the socket has room, in parts, and released once", async () => {
    const source = new FakeSource(bytesOf(600_000, 3), true);
    const server = makeServer([serialHandler(() => ({ records: source }))]);
    const { socket, connection } = server.connect();
    socket.room = 100_000;
    connection.data(frameOf(SERIAL_KEY, 1, 1, bytesOf(4, 1)));
    await server.clock.settle();
    expect(socket.sent.length).toBe(100_000);
    expect(source.released).toBe(0);
    for (let round = 0; round < 10; round++) {
      socket.room = 90_000;
      connection.drained();
    }
    expect(answersIn(socket.sent)[0]?.records.equals(source.bytes)).toBe(true);
    expect(source.released).toBe(1);
    connection.ended();
    expect(source.released).toBe(1);
  });

  test("are loaded when they are not in memory", async () => {
    const source = new FakeSource(bytesOf(50_000, 3), false);
    const server = makeServer([serialHandler(() => ({ records: source }))]);
    const { socket, connection } = server.connect();
    connection.data(Buffer.concat([frameOf(SERIAL_KEY, 1, 1, bytesOf(4, 1))]));
    await server.clock.settle();
    expect(source.loads).toBe(1);
    expect(answersIn(socket.sent)[0]?.records.equals(source.bytes)).toBe(true);
    expect(source.released).toBe(1);
  });

  test("that cannot be loaded close the connection", async () => {
    const source = new FakeSource(bytesOf(50_000, 3), false);
    source.failure = new Error("gone");
    const server = makeServer([serialHandler(() => ({ records: source }))]);
    const { socket, connection } = server.connect();
    connection.data(frameOf(SERIAL_KEY, 1, 1, bytesOf(4, 1)));
    await server.clock.settle();
    expect(socket.state).toBe("terminated");
    connection.ended();
    expect(source.released).toBe(1);
    expect(server.closes.map((close) => close.reason)).toEqual(["load"]);
  });

  test("are released when the connection closes before, while and after they are answered", async () => {
    const before = new FakeSource(bytesOf(50_000, 3), true);
    const late = makeDeferred<TestResponse>();
    const lateSource = new FakeSource(bytesOf(10, 3), true);
    let calls = 0;
    const server = makeServer([
      pipelinedHandler(() => ({ admitted: undefined, answer: calls++ === 0 ? Promise.resolve({ records: before }) : late.promise })),
    ]);
    const { socket, connection } = server.connect();
    socket.room = 0;
    connection.data(Buffer.concat([0, 1].map((index) => frameOf(PIPELINED_KEY, 1, index, bytesOf(4, 1)))));
    await server.clock.settle();
    connection.ended();
    expect(before.released).toBe(1);
    expect(connection.closed.aborted).toBe(true);
    late.resolve({ records: lateSource });
    await server.clock.settle();
    expect(lateSource.released).toBe(1);
    expect(server.gate.budget.usedBytes).toBe(0);
  });
});

describe("memory", () => {
  test("over the budget sockets are not read, and go on in order of arrival", async () => {
    const answers: ((response: TestResponse | undefined) => void)[] = [];
    const order: number[] = [];
    const handler = pipelinedHandler((_, context) => {
      order.push(context.connection.id);
      return { admitted: undefined, answer: new Promise((resolve) => answers.push(resolve)) };
    });
    const server = makeServer([handler], {}, 10_000);
    const clients = Array.from({ length: 6 }, () => server.connect());
    for (const { connection } of clients) connection.data(frameOf(PIPELINED_KEY, 1, 1, bytesOf(4000, 1)));
    expect(order).toEqual([1, 2]);
    expect(clients.slice(2).every(({ socket }) => socket.isPaused)).toBe(true);
    for (let done = 0; done < 6; done++) {
      answers[done]?.(undefined);
      await server.clock.settle();
    }
    expect(order).toEqual([1, 2, 3, 4, 5, 6]);
    expect(clients.every(({ socket }) => !socket.isPaused)).toBe(true);
    expect(server.gate.budget.usedBytes).toBe(0);
    expect(server.gate.heldBytes).toBe(0);
  });

  test("a frame larger than the whole budget gets through when nothing else is held", async () => {
    const server = makeServer([echo], {}, 1000);
    const { socket, connection } = server.connect();
    const frame = frameOf(SERIAL_KEY, 1, 1, bytesOf(5000, 1));
    for (let at = 0; at < frame.length; at += 700) connection.data(Buffer.from(frame.subarray(at, at + 700)));
    await server.clock.settle();
    expect(answersIn(socket.sent).length).toBe(1);
    expect(server.gate.budget.usedBytes).toBe(0);
  });

  test("a small frame does not overtake a large one that waits", () => {
    const server = makeServer([pipelinedHandler(() => ({ admitted: undefined, answer: new Promise(() => {}) }))], {}, 10_000);
    const [first, large, small] = [server.connect(), server.connect(), server.connect()];
    first.connection.data(frameOf(PIPELINED_KEY, 1, 1, bytesOf(4000, 1)));
    large.connection.data(frameOf(PIPELINED_KEY, 1, 1, bytesOf(8000, 1)));
    small.connection.data(frameOf(PIPELINED_KEY, 1, 1, bytesOf(10, 1)));
    expect(server.gate.budget.waitingCount).toBe(2);
    large.connection.ended();
    expect(server.gate.budget.waitingCount).toBe(0);
    expect(small.socket.isPaused).toBe(false);
  });

  test("when held chunks grow large no socket is read, until they shrink", async () => {
    const answers: ((response: TestResponse | undefined) => void)[] = [];
    const server = makeServer(
      [pipelinedHandler(() => ({ admitted: undefined, answer: new Promise((resolve) => answers.push(resolve)) }))],
      {},
      10_000,
    );
    const clients = Array.from({ length: 4 }, () => server.connect());
    const quiet = server.connect();
    for (const { connection } of clients) connection.data(frameOf(PIPELINED_KEY, 1, 1, bytesOf(9000, 1)));
    expect(server.gate.isPressing).toBe(true);
    expect(quiet.socket.isPaused).toBe(true);
    for (let done = 0; done < 4; done++) {
      answers[done]?.(undefined);
      await server.clock.settle();
    }
    expect(quiet.socket.isPaused).toBe(false);
  });
});

describe("deadlines", () => {
  test("a slow sender is closed; one that keeps sending is not", async () => {
    const server = makeServer([echo]);
    const slow = server.connect();
    const steady = server.connect();
    const idle = server.connect();
    const frame = frameOf(SERIAL_KEY, 1, 1, bytesOf(900_000, 1));
    for (let at = 0; at < 10; at++) {
      slow.connection.data(Buffer.from(frame.subarray(at * 10, at * 10 + 10)));
      steady.connection.data(Buffer.from(frame.subarray(at * 20_000, at * 20_000 + 20_000)));
      await server.clock.advance(10_000);
      for (const { connection } of [slow, steady, idle]) connection.checkDeadlines(server.clock.nowMs);
    }
    expect(slow.socket.state).toBe("terminated");
    expect(steady.socket.state).toBe("open");
    expect(idle.socket.state).toBe("open");
    expect(server.closes.map((close) => close.reason)).toEqual(["slow"]);
  });

  test("an idle connection is closed, one whose request is being answered is not", async () => {
    const server = makeServer([serialHandler(() => new Promise(() => {}))]);
    const idle = server.connect();
    const polling = server.connect();
    polling.connection.data(frameOf(SERIAL_KEY, 1, 1, bytesOf(1, 1)));
    await server.clock.advance(600_001);
    for (const { connection } of [idle, polling]) connection.checkDeadlines(server.clock.nowMs);
    expect(idle.socket.state).toBe("terminated");
    expect(polling.socket.state).toBe("open");
  });

  test("a connection that waits for request memory is not called slow", async () => {
    const server = makeServer([pipelinedHandler(() => ({ admitted: undefined, answer: new Promise(() => {}) }))], {}, 10_000);
    const [first, second] = [server.connect(), server.connect()];
    first.connection.data(frameOf(PIPELINED_KEY, 1, 1, bytesOf(9000, 1)));
    second.connection.data(frameOf(PIPELINED_KEY, 1, 1, bytesOf(9000, 1)).subarray(0, 5000));
    await server.clock.advance(100_000);
    second.connection.checkDeadlines(server.clock.nowMs);
    expect(second.socket.state).toBe("open");
  });

  test("a drained connection answers what came and closes", async () => {
    const answer = makeDeferred<TestResponse | undefined>();
    const server = makeServer([serialHandler(() => answer.promise)]);
    const { socket, connection } = server.connect();
    const quiet = server.connect();
    connection.data(frameOf(SERIAL_KEY, 1, 1, bytesOf(1, 1)));
    connection.drain();
    quiet.connection.drain();
    expect(quiet.socket.state).toBe("closed");
    expect(socket.state).toBe("open");
    answer.resolve({ records: bytesOf(1, 1) });
    await server.clock.settle();
    expect(answersIn(socket.sent).length).toBe(1);
    expect(socket.state).toBe("closed");
  });
});
