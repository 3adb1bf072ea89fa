/**
 * A server with few descriptors, in a process of its own: echoes; says on stdout when accepting pauses and resumes, and its CPU time when asked. It holds back who
 * comes when as many are open as its argument says.
 */
import { BunTransport } from "../../../src/server/bun-transport.ts";

const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
const transport = new BunTransport((error) => say({ event: "bug", reason: String(error) }));
const most = Number(process.argv[2] ?? 1_000_000);
let open = 0;
const listener = transport.listen(
  { host: "127.0.0.1", port: 0, backlog: 511 },
  {
    accept: (connection) => {
      open++;
      if (open === most) {
        listener.hold?.(true);
        say({ event: "paused", reason: `${open} are open`, open });
      }
      return {
        data: (chunk) => void connection.write(chunk),
        drained: () => {},
        ended: () => {
          open--;
          if (open !== most - 1) return;
          listener.hold?.(false);
          say({ event: "resumed", open });
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
