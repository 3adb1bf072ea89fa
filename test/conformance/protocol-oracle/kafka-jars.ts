/** Where Kafka's jars and a JDK are, for tests that ask Kafka itself. */
import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export interface KafkaJars {
  /** Class path for `java`. */
  readonly classPath: string;
}

/** Undefined, with the reason, where a JDK of at least 17 or the jars of Kafka 4.4.0 are missing. */
export function findKafkaJars(): KafkaJars | { readonly missing: string } {
  const java = Bun.which("javac") === null ? null : Bun.which("java");
  if (java === null) return { missing: "no JDK" };
  const version = Number(/version "(\d+)/.exec(Bun.spawnSync([java, "-version"]).stderr.toString())?.[1] ?? 0);
  if (version < 17) return { missing: `a JDK of at least 17, this one is ${version}` };
  const home = process.env.KAFKA_PEER_HOME ?? join(homedir(), ".cache/kafka-peer");
  for (const folder of [join(home, "broker-lib"), join(home, "libs"), home]) {
    if (existsSync(folder) && readdirSync(folder).includes("kafka-clients-4.4.0.jar")) return { classPath: join(folder, "*") };
  }
  return { missing: `no kafka-clients-4.4.0.jar under KAFKA_PEER_HOME or ~/.cache/kafka-peer` };
}

/** Runs a single-file Java program; throws with its stderr when it fails. */
export function runJava(jars: KafkaJars, program: string, args: readonly string[]): string {
  const command = [
    "java",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-cp",
    jars.classPath,
    join(import.meta.dir, program),
    ...args,
  ];
  const { exitCode, stdout, stderr } = Bun.spawnSync(command);
  if (exitCode !== 0) throw new Error(`${program} ended with ${exitCode}: ${stderr.toString().slice(-2000)}`);
  return stdout.toString();
}
