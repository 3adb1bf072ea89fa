/**
 * Settings in the environment. `WEIR_X_Y` sets x.y; `KAFKA_X_Y` does so as Apache Kafka's container image maps names
 * (docker/ in Kafka: `_` is a dot, `__` an underscore, `___` a dash). WEIR_ wins over KAFKA_.
 */
export interface EnvironmentSetting {
  readonly key: string;
  readonly value: string;
  readonly variable: string;
}

export interface EnvironmentReading {
  /** KAFKA_ ones first, so that a later WEIR_ one wins. */
  readonly settings: readonly EnvironmentSetting[];
  /** CLUSTER_ID is Kafka's name for what its quorum is formatted with. */
  readonly clusterIdVariables: readonly string[];
}

/** What the container image itself consumes (JVM options, log4j, JMX) or merely says about itself; no configuration. */
const NOT_CONFIGURATION: ReadonlySet<string> = new Set([
  "KAFKA_VERSION",
  "KAFKA_HOME",
  "KAFKA_OPTS",
  "KAFKA_HEAP_OPTS",
  "KAFKA_JVM_PERFORMANCE_OPTS",
  "KAFKA_GC_LOG_OPTS",
  "KAFKA_DEBUG",
  "KAFKA_MODE",
]);
const NOT_CONFIGURATION_PREFIXES = ["KAFKA_JMX_", "KAFKA_LOG4J_", "KAFKA_TOOLS_LOG4J_", "KAFKA_JAVA_"];

/** Kubernetes puts these into every container beside a service named "kafka" or "weir": FOO_SERVICE_HOST, FOO_PORT, FOO_PORT_9092_TCP_ADDR. */
const SERVICE_LINK = /^(KAFKA|WEIR)_(SERVICE_(HOST|PORT(_.*)?)|PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?)$/;

export function readEnvironment(variables: Readonly<Record<string, string | undefined>>): EnvironmentReading {
  const fromKafka: EnvironmentSetting[] = [];
  const fromWeir: EnvironmentSetting[] = [];
  const clusterIdVariables: string[] = [];
  for (const [variable, value] of Object.entries(variables).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (value === undefined || SERVICE_LINK.test(variable)) continue;
    if (variable === "CLUSTER_ID" || variable === "KAFKA_CLUSTER_ID") clusterIdVariables.push(variable);
    else if (variable.startsWith("KAFKA_") && !isNotConfiguration(variable)) {
      fromKafka.push({ key: keyOf(variable.slice("KAFKA_".length)), value, variable });
    } else if (variable.startsWith("WEIR_")) {
      fromWeir.push({ key: keyOf(variable.slice("WEIR_".length)), value, variable });
    }
  }
  return { settings: [...fromKafka, ...fromWeir], clusterIdVariables };
}

function isNotConfiguration(variable: string): boolean {
  return NOT_CONFIGURATION.has(variable) || NOT_CONFIGURATION_PREFIXES.some((prefix) => variable.startsWith(prefix));
}

function keyOf(name: string): string {
  return name.toLowerCase().replaceAll("_", ".").replaceAll("...", "-").replaceAll("..", "_");
}

/** The variables of this process. The only place that reads them. */
export function readProcessEnvironment(): Readonly<Record<string, string | undefined>> {
  return { ...process.env };
}
