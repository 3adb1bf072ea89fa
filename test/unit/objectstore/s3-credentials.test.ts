/** When the chain is asked again, and what is signed with while it has no better answer. */
import { expect, test } from "bun:test";
import { type Credentials, RenewedCredentials } from "../../../src/objectstore/s3-credentials.ts";
import { ManualClock } from "../support/manual-clock.ts";

function newWorld() {
  const clock = new ManualClock();
  const world = { clock, asked: 0, next: key("a") as Credentials | Error, credentials: undefined as unknown as RenewedCredentials };
  world.credentials = new RenewedCredentials(async () => {
    world.asked++;
    if (world.next instanceof Error) throw world.next;
    return world.next;
  }, clock);
  return world;
}

const key = (accessKeyId: string, expiration?: Date): Credentials => ({
  accessKeyId,
  secretAccessKey: "s",
  ...(expiration === undefined ? {} : { expiration }),
});

test("what has no end is asked for once, until the server refuses it; then what the chain says now is used", async () => {
  const world = newWorld();
  const { credentials, clock } = world;
  for (let times = 0; times < 3; times++) expect((await credentials.provide()).accessKeyId).toBe("a");
  await clock.advance(3_600_000);
  expect((await credentials.provide()).accessKeyId).toBe("a");
  expect(world.asked).toBe(1);
  world.next = key("b");
  credentials.noteRefused(credentials.generation);
  expect((await credentials.provide()).accessKeyId).toBe("b");
  expect(world.asked).toBe(2);
});

test("requests at once ask once; while nothing better is there, the chain is asked every two seconds at most", async () => {
  const world = newWorld();
  const { credentials, clock } = world;
  await Promise.all([credentials.provide(), credentials.provide(), credentials.provide()]);
  expect(world.asked).toBe(1);
  for (let refusals = 0; refusals < 100; refusals++) {
    credentials.noteRefused(credentials.generation);
    await credentials.provide();
    await clock.advance(100);
  }
  expect(world.asked).toBe(5);
});

test("a refusal of those before the present ones asks nobody", async () => {
  const world = newWorld();
  const { credentials, clock } = world;
  await credentials.provide();
  const { generation } = credentials;
  world.next = key("b");
  await clock.advance(5_000);
  credentials.noteRefused(generation);
  await credentials.provide();
  await clock.advance(5_000);
  credentials.noteRefused(generation);
  await credentials.provide();
  expect(world.asked).toBe(2);
});

test("five minutes before their end others are asked for; when that fails, the old ones are used to their end", async () => {
  const world = newWorld();
  const { credentials, clock } = world;
  world.next = key("a", new Date(clock.wallMs() + 600_000));
  await credentials.provide();
  await clock.advance(299_000);
  await credentials.provide();
  expect(world.asked).toBe(1);
  world.next = new Error("the endpoint is away");
  await clock.advance(2_000);
  expect((await credentials.provide()).accessKeyId).toBe("a");
  expect(world.asked).toBe(2);
  await clock.advance(299_500);
  await expect(credentials.provide()).rejects.toThrow("the endpoint is away");
  world.next = key("b", new Date(clock.wallMs() + 600_000));
  await clock.advance(2_000);
  expect((await credentials.provide()).accessKeyId).toBe("b");
});
