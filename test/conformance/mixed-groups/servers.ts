/** Weir and Apache Kafka 4.4 with the same settings: sessions may be short, groups are soon full, and targets are made by the heartbeat that needs them. */
import { join } from "node:path";
import { getFreePorts } from "../../support/ports.ts";
import { TemporaryFolder } from "../../support/temporary.ts";
import { mustRunTool, repositoryRoot, runTool } from "../../support/tools.ts";
import { WeirProcess } from "../../support/weir-process.ts";
import { warmUpBoth } from "../differential/peers.ts";

export interface GroupSettings {
  /** `group.consumer.migration.policy`. */
  readonly policy: string;
  /** `group.consumer.assignors`. */
  readonly assignors: string;
}

function settingsOf({ policy, assignors }: GroupSettings): Readonly<Record<string, string>> {
  return {
    "group.initial.rebalance.delay.ms": "0",
    "group.consumer.assignment.interval.ms": "0",
    "group.consumer.assignor.offload.enable": "false",
    "group.consumer.min.session.timeout.ms": "500",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.min.session.timeout.ms": "500",
    "group.consumer.max.size": "5",
    "group.max.size": "3",
    "group.consumer.migration.policy": policy,
    "group.consumer.assignors": assignors,
  };
}

const kafkaScripts = join(repositoryRoot, "test", "support", "kafka-peer");

export interface Pair {
  readonly weir: number;
  readonly kafka: number;
  stop(): Promise<void>;
}

export async function startPair(chosen: GroupSettings): Promise<Pair> {
  const [kafkaFolder, weirFolder] = [new TemporaryFolder("mixed-kafka"), new TemporaryFolder("mixed")];
  const [kafka = 0, controller = 0] = getFreePorts(2);
  const settings = settingsOf(chosen);
  const overrides = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
  const starting = mustRunTool([join(kafkaScripts, "start-kafka.sh"), kafkaFolder.path, String(kafka), ...overrides], {
    environment: { KAFKA_CONTROLLER_PORT: String(controller), KAFKA_HEAP_OPTS: "-Xms400m -Xmx400m" },
  });
  const weir = await WeirProcess.start({ folder: weirFolder.path, settings: { ...settings, "object.store": "memory:", wal: "memory:" } });
  const stop = async (): Promise<void> => {
    await weir.kill();
    await runTool([join(kafkaScripts, "stop-kafka.sh"), kafkaFolder.path, "--kill", "--wipe"]);
    for (const folder of [kafkaFolder, weirFolder]) folder[Symbol.dispose]();
  };
  try {
    await starting;
    await warmUpBoth({ kafkaPort: kafka, weirPort: weir.kafkaPort });
  } catch (error) {
    await stop();
    throw error;
  }
  return { weir: weir.kafkaPort, kafka, stop };
}
