/** A server with few descriptors, in a process of its own: echoes; says on stdout when accepting pauses and resumes, and its CPU time when asked. */
import { BunTransport } from "../../../src/server/bun-transport.ts";

const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
const transport = new BunTransport((error) => say({ event: "bug", reason: String(error) }));
let open = 0;
const listener = transport.listen(
  { host: "127.0.0.1", port: 0, backlog: 511, maxConnections: Number(process.argv[2] ?? 1_000_000) },
  {
    accept: (connection) => {
      open++;
      return {
        data: (chunk) => void connection.write(chunk),
        drained: () => {},
        ended: () => {
          open--;
        },
      };
    },
    paused: (reason) => say({ event: "paused", reason, open }),
    resumed: () => say({ event: "resumed", open }),
  },
);
say({ event: "listening", port: listener.port });
for await (const _ of process.stdin) {
  const { user, system } = process.cpuUsage();
  say({ event: "cpu", ms: (user + system) / 1000, open });
}
