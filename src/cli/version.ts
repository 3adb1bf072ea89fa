/** What this executable is. */
import packageJson from "../../package.json" with { type: "json" };

export const VERSION: string = packageJson.version;
/** The Apache Kafka release whose protocol, defaults and behaviour this version follows. */
export const KAFKA_VERSION = "4.4.0";

export function describeVersion(): string {
  return `weir ${VERSION} (Kafka ${KAFKA_VERSION} protocol, Bun ${Bun.version}, ${process.platform}-${process.arch})`;
}
