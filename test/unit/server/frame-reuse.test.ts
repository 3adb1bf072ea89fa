/**
 * Memory of frames and chunks is used again as soon as the requests in it are answered, and never before. Pool and socket of these tests poison what they
 * get back, so an answer made from it would show.
 */
import { expect, test } from "bun:test";
import {
  answersIn,
  frameOf,
  makeDeferred,
  makeServer,
  PIPELINED_KEY,
  pipelinedHandler,
  SERIAL_KEY,
  serialHandler,
  type TestResponse,
} from "./fakes.ts";

const bytesOf = (length: number, seed: number): Buffer => Buffer.from(Array.from({ length }, (_, index) => (index * 31 + seed) & 0xff));

/** Answers each request, when it is told to, with a copy of its payload as it is then. */
function waitingHandler(isFrameFreeAfterAnswer: boolean) {
  const waiting: (() => void)[] = [];
  const handler = pipelinedHandler((request) => {
    const { promise, resolve } = makeDeferred<TestResponse>();
    waiting.push(() => resolve({ records: Buffer.from(request.payload) }));
    return { admitted: undefined, answer: promise };
  }, isFrameFreeAfterAnswer);
  return { handler, answerNext: () => waiting.shift()?.() };
}

test.each([true, false])("chunks of every size, answers late (frames free after the answer: %p)", async (isFree) => {
  const payloads = [bytesOf(10, 1), bytesOf(40_000, 2), bytesOf(300, 3), bytesOf(90_000, 4), bytesOf(20_000, 5)];
  const stream = Buffer.concat(payloads.map((payload, index) => frameOf(PIPELINED_KEY, 1, index, payload)));
  for (const size of [7, 1000, 30_000, 65_536, stream.length]) {
    const { handler, answerNext } = waitingHandler(isFree);
    const server = makeServer([handler]);
    const { socket, connection } = server.connect();
    for (let at = 0; at < stream.length; at += size) connection.data(Buffer.from(stream.subarray(at, at + size)));
    for (const _ of payloads) {
      answerNext();
      await server.clock.settle();
    }
    expect(answersIn(socket.sent).map((answer) => answer.records.toString("hex"))).toEqual(payloads.map((bytes) => bytes.toString("hex")));
    if (isFree) expect(socket.recycledBytes).toBe(stream.length);
    if (size === 7) expect(server.frameBuffers.freeBytes > 100_000).toBe(isFree);
    connection.ended();
    expect(server.gate.budget.usedBytes).toBe(0);
  }
});

test("a chunk is kept while a request of it waits for its answer", async () => {
  const { handler, answerNext } = waitingHandler(true);
  const server = makeServer([handler]);
  const { socket, connection } = server.connect();
  connection.data(Buffer.concat([frameOf(PIPELINED_KEY, 1, 0, bytesOf(10, 1)), frameOf(PIPELINED_KEY, 1, 1, bytesOf(10, 2))]));
  answerNext();
  await server.clock.settle();
  expect(socket.recycledBytes).toBe(0);
  answerNext();
  await server.clock.settle();
  expect(socket.recycledBytes).toBeGreaterThan(0);
});

test("a chunk with a request whose frame may be kept is never handed back", async () => {
  const { handler, answerNext } = waitingHandler(true);
  let kept: Uint8Array = new Uint8Array(0);
  const keeper = serialHandler((request) => {
    kept = request.payload;
    return { records: new Uint8Array(0) };
  });
  const server = makeServer([handler, keeper]);
  const { socket, connection } = server.connect();
  connection.data(Buffer.concat([frameOf(PIPELINED_KEY, 1, 0, bytesOf(10, 1)), frameOf(SERIAL_KEY, 1, 1, bytesOf(10, 2))]));
  answerNext();
  await server.clock.settle();
  expect(answersIn(socket.sent).length).toBe(2);
  expect(socket.recycledBytes).toBe(0);
  expect(Buffer.from(kept).equals(bytesOf(10, 2))).toBe(true);
});

test("a connection that ends early gives its frames back when their answers settle", async () => {
  const { handler, answerNext } = waitingHandler(true);
  const server = makeServer([handler]);
  const { connection } = server.connect();
  const frame = frameOf(PIPELINED_KEY, 1, 0, bytesOf(50_000, 1));
  connection.data(Buffer.from(frame.subarray(0, 30_000)));
  connection.data(Buffer.from(frame.subarray(30_000)));
  connection.ended();
  expect(server.frameBuffers.freeBytes).toBe(0);
  answerNext();
  await server.clock.settle();
  expect(server.frameBuffers.freeBytes).toBeGreaterThanOrEqual(50_000);
  expect(server.gate.budget.usedBytes).toBe(0);
});
