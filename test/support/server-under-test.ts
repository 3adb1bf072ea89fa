/**
 * The server that a conformance test speaks to: dist/weir, started for the test, or one that is already there. CONFORMANCE_PORT names the port of
 * such a one on 127.0.0.1 (Apache Kafka), so that the tests themselves can be checked against the real thing.
 */
import { afterAll, beforeAll } from "bun:test";
import { KafkaConnection } from "./kafka-connection.ts";
import { TemporaryFolder } from "./temporary.ts";
import { hasWeir, type WeirOptions, WeirProcess, weirMissing } from "./weir-process.ts";

const externalPort = process.env.CONFORMANCE_PORT;

export const isExternal = externalPort !== undefined;
export const hasServer = isExternal || hasWeir;
export const serverMissing = weirMissing;

let unique = 0;

/** A topic name that no other test, and no earlier run against an external server, has used. */
export function uniqueName(prefix: string): string {
  unique++;
  return `${prefix}-${process.pid}-${unique}`;
}

export class ServerUnderTest {
  private folder: TemporaryFolder | undefined;
  private options: Partial<WeirOptions>;
  weir: WeirProcess | undefined;

  constructor(options: Partial<WeirOptions> = {}) {
    this.options = options;
  }

  /** Starts it before the file's tests and stops it after them. */
  static forThisFile(options: Partial<WeirOptions> = {}): ServerUnderTest {
    const server = new ServerUnderTest(options);
    beforeAll(() => server.start());
    afterAll(() => server.stop());
    return server;
  }

  async start(): Promise<void> {
    if (isExternal || !hasWeir) return;
    this.folder ??= new TemporaryFolder("conformance");
    this.weir = await WeirProcess.start({ folder: this.folder.path, ...this.options });
    // A restart comes back at the same place.
    this.options = { ...this.options, kafkaPort: this.weir.kafkaPort, httpPort: this.weir.httpPort };
  }

  async stop(): Promise<void> {
    await this.weir?.stop();
    this.folder?.[Symbol.dispose]();
    this.folder = undefined;
  }

  /** Stops it (or kills it with -9) and starts it again on the same data. */
  async restart(how: "stop" | "kill"): Promise<void> {
    if (how === "kill") await this.weir?.kill();
    else await this.weir?.stop();
    await this.start();
  }

  get port(): number {
    if (externalPort !== undefined) return Number(externalPort);
    if (this.weir === undefined) throw new Error("the server is not running");
    return this.weir.kafkaPort;
  }

  get bootstrap(): string {
    return `127.0.0.1:${this.port}`;
  }

  connect(): Promise<KafkaConnection> {
    return KafkaConnection.open(this.port);
  }
}
