/** Real sockets: descriptors running out (in a child process with few of them), listening mistakes, bugs in events. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Socket, Subprocess } from "bun";
import { BunTransport } from "../../../src/server/bun-transport.ts";

interface Line {
  readonly event: string;
  readonly port?: number;
  readonly reason?: string;
  readonly open?: number;
  readonly ms?: number;
}

/** The child's lines, and a way to wait for one. */
class Child {
  readonly lines: Line[] = [];
  private readonly waiters: { readonly test: (line: Line) => boolean; readonly resolve: (line: Line) => void }[] = [];
  readonly process: Subprocess<"pipe", "pipe", "inherit">;

  constructor(descriptors: number, maxConnections: number) {
    const script = join(import.meta.dir, "emfile-child.ts");
    const command = `ulimit -n ${descriptors}; exec "${process.execPath}" "${script}" ${maxConnections}`;
    this.process = Bun.spawn(["bash", "-c", command], { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
    void this.read();
  }

  private async read(): Promise<void> {
    let text = "";
    const decoder = new TextDecoder();
    for await (const chunk of this.process.stdout) {
      text += decoder.decode(chunk, { stream: true });
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
        const line = JSON.parse(text.slice(0, end)) as Line;
        text = text.slice(end + 1);
        this.lines.push(line);
        for (const waiter of this.waiters.filter((candidate) => candidate.test(line))) {
          this.waiters.splice(this.waiters.indexOf(waiter), 1);
          waiter.resolve(line);
        }
      }
    }
  }

  waitFor(matches: (line: Line) => boolean): Promise<Line> {
    const found = this.lines.find(matches);
    if (found !== undefined) return Promise.resolve(found);
    return new Promise((resolve) => this.waiters.push({ test: matches, resolve }));
  }

  async ask(): Promise<Line> {
    const count = this.lines.filter((line) => line.event === "cpu").length;
    this.process.stdin.write("?\n");
    this.process.stdin.flush();
    for (;;) {
      const answers = this.lines.filter((line) => line.event === "cpu");
      const answer = answers[count];
      if (answer !== undefined) return answer;
      await new Promise<void>((resolve) => this.waiters.push({ test: (line) => line.event === "cpu", resolve: () => resolve() }));
    }
  }
}

/** A client that has sent one byte; `echoed` resolves when the server has answered it, which needs it to be accepted. */
async function connect(port: number): Promise<{ readonly socket: Socket; readonly echoed: Promise<void> }> {
  const echo = Promise.withResolvers<void>();
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: { data: () => echo.resolve(), close: () => {}, error: () => {} },
  });
  socket.write("x");
  return { socket, echoed: echo.promise };
}

describe("accepting pauses", () => {
  test.each([
    ["the descriptor limit", 64, 1_000_000, "descriptor"],
    ["the owner of the listener", 256, 20, "20 are open"],
  ])(
    "%s pauses accepting; waiting clients are served when others leave",
    async (_, descriptors, maxConnections, reason) => {
      const child = new Child(descriptors, maxConnections);
      try {
        const { port } = await child.waitFor((line) => line.event === "listening");
        const clients = await Promise.all(Array.from({ length: 90 }, () => connect(port ?? 0)));
        const paused = await child.waitFor((line) => line.event === "paused");
        expect(paused.reason).toContain(reason);
        const before = await child.ask();
        expect(before.open).toBeLessThan(64);
        // Paused means paused, however often the event loop turns.
        const rounds = 200;
        for (let round = 0; round < rounds; round++) await child.ask();
        expect((await child.ask()).open).toBe(before.open ?? -1);

        // Everyone is served in the end, as those before them leave.
        const waiting = new Set(clients.map((client) => client));
        while (waiting.size > 0) {
          const served = await Promise.race([...waiting].map((client) => client.echoed.then(() => client)));
          served.socket.end();
          waiting.delete(served);
        }
        expect(child.lines.some((line) => line.event === "resumed")).toBe(true);
      } finally {
        child.process.kill();
        await child.process.exited;
      }
    },
    30_000,
  );
});

const failOnBug = (error: unknown): never => {
  throw error;
};

describe("bugs", () => {
  test("what an event handler throws is not lost", async () => {
    const bug = Promise.withResolvers<unknown>();
    const transport = new BunTransport(bug.resolve);
    const listener = transport.listen(
      { host: "127.0.0.1", port: 0, backlog: 5 },
      {
        accept: () => ({
          data: () => {
            throw new Error("an assertion, say");
          },
          drained: () => {},
          ended: () => {},
        }),
        paused: () => {},
        resumed: () => {},
      },
    );
    const client = await transport.connect("127.0.0.1", listener.port, { data: () => {}, drained: () => {}, ended: () => {} });
    client.write(Buffer.from("x"));
    expect(String(await bug.promise)).toContain("an assertion, say");
    client.terminate();
    listener.close();
  });
});

describe("listening", () => {
  const silent = {
    accept: () => ({ data: () => {}, drained: () => {}, ended: () => {} }),
    paused: () => {},
    resumed: () => {},
  };
  const options = { host: "127.0.0.1", port: 0, backlog: 50 };

  test("a port in use is a Trouble that names it", () => {
    const transport = new BunTransport(failOnBug);
    const first = transport.listen(options, silent);
    try {
      expect(() => transport.listen({ ...options, port: first.port }, silent)).toThrow(`127.0.0.1:${first.port}: the port is in use`);
    } finally {
      first.close();
    }
    transport.listen({ ...options, port: first.port }, silent).close();
  });

  test("an address of another machine, a name that does not resolve", () => {
    const transport = new BunTransport(failOnBug);
    expect(() => transport.listen({ ...options, host: "192.0.2.1" }, silent)).toThrow("192.0.2.1:0");
    expect(() => transport.listen({ ...options, host: "nowhere.invalid" }, silent)).toThrow("does not resolve");
  });

  test("an empty host listens on every interface", async () => {
    const transport = new BunTransport(failOnBug);
    const accepted = Promise.withResolvers<string>();
    const listener = transport.listen(
      { ...options, host: "" },
      {
        ...silent,
        accept: (connection) => {
          accepted.resolve(connection.remoteAddress);
          return silent.accept();
        },
      },
    );
    const client = await transport.connect("127.0.0.1", listener.port, { data: () => {}, drained: () => {}, ended: () => {} });
    expect(await accepted.promise).toMatch(/127\.0\.0\.1/);
    client.terminate();
    listener.close();
  });
});
