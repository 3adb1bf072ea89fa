/**
 * Rot at rest: after everything else was checked, a few records more are made durable, the broker dies, one bit of a durable commit flips on the volume, and a
 * broker begins anew. Each partition must then either be there as a whole or answer nothing at all, the latter only when the damage was reported: what was
 * durable is never served wrong and never taken for the log's end.
 */
import type { SeededRandom } from "../unit/support/seeded-random.ts";
import type { Faults } from "./faults.ts";
import type { LogModel } from "./history.ts";
import { type ClientPlace, readEnd, SimConsumer, SimProducer } from "./sim-clients.ts";
import type { SimCluster } from "./sim-cluster.ts";

/** Whoever has not said where a log ends by then holds it. */
const HELD_AFTER_MS = 15_000;
const PRODUCER = 900;

export interface RotCheck {
  readonly cluster: SimCluster;
  readonly faults: Faults;
  readonly logs: readonly LogModel[];
  readonly random: SeededRandom;
  /** A client of its own, that can be killed. */
  place(name: string): ClientPlace;
}

export async function checkRot({ cluster, faults, logs, random, place }: RotCheck): Promise<void> {
  const writer = place("rot-writer");
  const producer = new SimProducer(writer, PRODUCER, logs);
  const producing = producer.run();
  await writer.process.clock.sleep(700 + random.nextFloat() * 1500);
  producer.stop();
  await producing;
  cluster.current?.process.kill("at rest");
  if (!cluster.disk.rot(random)) return;
  faults.strikes.hit("wal.rot-at-rest");
  cluster.expectsDamage = true;
  const held = await Promise.all(logs.map((log) => isHeld(log, place)));
  if (held.includes(true) && cluster.damageReports === 0) {
    const names = logs.filter((_, index) => held[index]).map((log) => log.name);
    logs[0]?.find("stuck", `${names.join(", ")} are not served after a bit has flipped on the volume, and nobody says why`);
  }
}

async function isHeld(log: LogModel, place: RotCheck["place"]): Promise<boolean> {
  const reader = place(`rot-reader-${log.name}`);
  const watch = place(`rot-watch-${log.name}`);
  const end = await Promise.race([readEnd(reader, log), watch.process.clock.sleep(HELD_AFTER_MS)]);
  if (end === undefined) {
    reader.process.kill("gives up");
    return true;
  }
  const consumer = new SimConsumer(reader, `rot reader of ${log.name}`, [log]);
  consumer.stopAt(new Map([[log, end]]));
  await consumer.run();
  consumer.checkComplete();
  return false;
}
