/**
 * What a partition's log must show after any fault: offsets contiguous from 0, each producer's counters 0, 1, 2, ... in order and once, every
 * acknowledged batch at the offset that its answer named, and everything that a reader ever saw still there.
 */
import { createHash } from "node:crypto";
import type { DecodedRecord } from "../support/record-batch.ts";
import type { IdempotentProducer } from "./idempotent-producer.ts";

/** Findings, empty when all is well. At most a few of each kind. */
export function checkLog(
  partition: number,
  records: readonly DecodedRecord[],
  producers: readonly IdempotentProducer[],
  seen: ReadonlyMap<number, string>,
): string[] {
  const findings: string[] = [];
  const add = (finding: string): void => {
    if (findings.length < 20) findings.push(`partition ${partition}: ${finding}`);
  };
  const next = new Map(producers.map((producer) => [producer.name, 0]));
  const offsetOf = new Map<string, number>();
  for (const [index, record] of records.entries()) {
    if (record.offset !== index) add(`offset ${record.offset} where ${index} was due`);
    const [name = "", counterText = ""] = record.value.toString("latin1").split(":", 2);
    const counter = Number(counterText);
    const due = next.get(name);
    if (due === undefined) add(`offset ${record.offset} holds a record of unknown producer "${name}"`);
    else if (counter !== due) add(`offset ${record.offset} holds ${name}'s record ${counter} where ${due} was due`);
    next.set(name, counter + 1);
    offsetOf.set(`${name}:${counter}`, record.offset);
    const before = seen.get(record.offset);
    if (before !== undefined && before !== fingerprint(record)) add(`offset ${record.offset} was read with another value before`);
  }
  for (const producer of producers) {
    for (const batch of producer.acknowledged) {
      for (let counter = batch.firstCounter; counter < batch.firstCounter + batch.count; counter++) {
        const offset = offsetOf.get(`${producer.name}:${counter}`);
        if (offset === undefined) add(`${producer.name}'s acknowledged record ${counter} is lost`);
        else if (batch.baseOffset >= 0 && offset !== batch.baseOffset + counter - batch.firstCounter) {
          add(
            `${producer.name}'s record ${counter} was acknowledged at ${batch.baseOffset + counter - batch.firstCounter} and lies at ${offset}`,
          );
        }
      }
    }
  }
  for (const offset of seen.keys()) if (offset >= records.length) add(`offset ${offset} was read before and is gone`);
  return findings;
}

/** Short stand-in for a record's value. */
export function fingerprint(record: DecodedRecord): string {
  return createHash("sha256").update(record.value).digest("base64").slice(0, 12);
}
