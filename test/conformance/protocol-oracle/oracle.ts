/** Sends a file of commands to one of the Java oracles and reads its answers. */
import { join } from "node:path";
import { Reader } from "../../../src/protocol/reader.ts";
import type { Writer } from "../../../src/protocol/writer.ts";
import { type KafkaJars, runJava } from "./kafka-jars.ts";

export interface Answer {
  readonly ok: boolean;
  readonly bytes: Uint8Array;
}

export async function askOracle(
  jars: KafkaJars | { readonly missing: string },
  program: string,
  folder: string,
  commands: Writer,
): Promise<Answer[]> {
  if ("missing" in jars) throw new Error(jars.missing);
  const input = join(folder, "input");
  const output = join(folder, "output");
  await Bun.write(input, commands.toBytes());
  runJava(jars, program, [input, output]);
  const reader = new Reader(new Uint8Array(await Bun.file(output).arrayBuffer()));
  const answers: Answer[] = [];
  while (reader.remaining > 0) answers.push({ ok: reader.readInt8() === 1, bytes: reader.readRaw(reader.readInt32()) });
  return answers;
}

export function textOf(answer: Answer | undefined): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(answer?.bytes);
}
