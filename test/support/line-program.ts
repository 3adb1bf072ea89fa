/** A program of a test that tells by lines on its stdout what it did, and may be told things by lines, stopped, and killed. */
import { type ChildProcess, spawn } from "node:child_process";

/** A program whose lines go to `sink`; the end of its stderr is kept in `errors`. */
export class LineProgram {
  readonly exited: Promise<number>;
  errors = "";
  private readonly child: ChildProcess;
  private rest = "";

  constructor(command: readonly string[], sink: (line: string) => void) {
    const [program = "", ...args] = command;
    this.child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
    this.child.stdout?.on("data", (chunk: Buffer) => {
      const lines = (this.rest + chunk.toString()).split("\n");
      this.rest = lines.pop() ?? "";
      for (const line of lines) sink(line);
    });
    this.child.stderr?.on("data", (chunk: Buffer) => {
      this.errors = (this.errors + chunk.toString()).slice(-4000);
    });
    this.child.stdin?.on("error", () => {});
    this.exited = new Promise((resolve) => this.child.on("close", (code) => resolve(code ?? -1)));
  }

  get hasExited(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  writeLine(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  signal(name: "SIGSTOP" | "SIGCONT"): void {
    this.child.kill(name);
  }

  /** SIGTERM, and its exit code; -1 when a signal ended it. */
  async stop(timeoutMs: number): Promise<number> {
    this.child.kill("SIGTERM");
    const timer = setTimeout(() => this.child.kill("SIGKILL"), timeoutMs);
    const code = await this.exited;
    clearTimeout(timer);
    return code;
  }

  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.exited;
  }
}
