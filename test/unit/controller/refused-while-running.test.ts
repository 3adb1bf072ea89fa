/** A running broker outlives whatever its store says, also what would end a start: refused credentials, a clock that is off, a bucket that is gone. */
import { expect, test } from "bun:test";
import { MemoryStore } from "../../../src/objectstore/memory-store.ts";
import type { ObjectInfo } from "../../../src/objectstore/object-store.ts";
import { type StoreTroubleCode, storeTrouble } from "../../../src/objectstore/troubles.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { RecordingLogger } from "../support/recording-telemetry.ts";
import { createTopic, drive, startBroker } from "./cluster-harness.ts";

class RefusingStore extends MemoryStore {
  code: StoreTroubleCode | undefined;

  #refuse(operation: string, key: string): void {
    if (this.code !== undefined) throw storeTrouble(this.code, { store: "told", operation, key, detail: "as told" });
  }

  override async head(key: string): Promise<ObjectInfo | undefined> {
    this.#refuse("head", key);
    return super.head(key);
  }

  override async get(key: string, range?: { start: number; end: number }): Promise<Uint8Array | undefined> {
    this.#refuse("get", key);
    return super.get(key, range);
  }
}

test.each([
  "store-access-denied",
  "store-credentials-expired",
  "store-no-credentials",
  "store-clock-skew",
  "store-no-bucket",
  "store-refused",
] as const)("%s at a poll of the log is waited out", async (code) => {
  const clock = new ManualClock();
  const logger = new RecordingLogger();
  const store = new RefusingStore(clock);
  const broker = await drive(clock, startBroker({ store, clock, logger }));
  let fenced: unknown;
  broker.onFenced((reason) => {
    fenced = reason;
  });
  store.code = code;
  await clock.advance(300_000);
  store.code = undefined;
  await clock.advance(60_000);
  expect(fenced).toBeUndefined();
  expect(logger.names().filter((name) => name === "metadata.waiting").length).toBeGreaterThan(1);
  expect(await drive(clock, createTopic(broker, "after"))).not.toBe("");
  await drive(clock, broker.close());
});
