/**
 * The command line: verbs, options, help. Every command ends in an exit code (0 clean, 1 failure, 2 bad usage or configuration, 70 fenced) and, when it
 * failed, in one line on stderr; only a bug shows a stack. Verbs' bodies are loaded when they are run, so that `weir version` stays quick.
 */
import { Command, CommanderError } from "commander";
import { addBrokerVerbs } from "./broker-verbs.ts";
import { parseOutput } from "./output.ts";
import { renderEnd, writeLine } from "./terminal.ts";
import { describeVersion } from "./version.ts";
import type { WalCommandArguments } from "./wal-command.ts";

const START_EXAMPLES = `
Examples:
  weir start                                        one broker on 127.0.0.1:9092, everything under ./weir-data
  weir start --memory                               nothing is kept
  weir start --config /etc/weir/server.properties
  weir start --override listeners=PLAINTEXT://:9092 --override advertised.listeners=PLAINTEXT://broker1:9092
  WEIR_WAL=block:/dev/nvme1n1 WEIR_OBJECT_STORE='s3://bucket/prefix?region=eu-west-1' weir start

Configuration comes from the file, then WEIR_* and KAFKA_* environment variables, then --override; later wins.`;

const WAL_EXAMPLES = `
Examples:
  weir wal format /dev/nvme1n1          prepare a block device; refuses one that is mounted or holds anything
  weir wal inspect /dev/nvme1n1
  weir wal verify ./weir-data/wal --output json
  weir wal bench /dev/nvme1n1           before it is formatted: how fast writes become durable`;

const WAL_BENCH_EXAMPLES = `
Examples:
  weir wal bench /dev/nvme1n1                       a blank device; it is still blank afterwards
  weir wal bench /var/lib/weir/bench                a file that is made for it and removed
  weir wal bench /dev/nvme1n1 --sizes 4KiB --depths 1 --seconds 30 --output json
  weir wal bench /dev/nvme1n1 --read-only           also one that a broker uses

Each write is durable before it counts (O_DIRECT and O_DSYNC), made by the calls that a broker makes. What a device or file holds is not overwritten without
--force, which leaves it blank. A broker's own writes are in its metric weir_wal_write_seconds.`;

const DOCTOR_EXAMPLES = `
Examples:
  weir doctor                                       the configuration that weir start would use here
  weir doctor --config /etc/weir/server.properties
  weir doctor --config /etc/weir/server.properties --output json | jq '.[] | select(.verdict != "ok")'

Exit code 1 when a check failed; a warning alone is 0.`;

const COMPLETION_EXAMPLES = `
Examples:
  source <(weir completion bash)
  weir completion fish > ~/.config/fish/completions/weir.fish`;

interface StartFlags {
  readonly config?: string;
  readonly override: readonly string[];
  readonly memory: boolean;
}
interface FormatFlags {
  readonly force: boolean;
}
interface OutputFlags {
  readonly output: string;
}
interface BenchFlags extends FormatFlags, OutputFlags {
  readonly sizes: string;
  readonly depths: string;
  readonly seconds: string;
  readonly fileSize: string;
  readonly readOnly: boolean;
}

const collect = (value: string, previous: readonly string[]): readonly string[] => [...previous, value];

/** `finish` gets the exit code of the command that ran. */
export function buildProgram(finish: (exitCode: number) => void): Command {
  const program = new Command("weir")
    .description("A Kafka-compatible streaming server in one executable: brokers are stateless, the bucket is the cluster.")
    .helpCommand("help [command]", "help for a command")
    .exitOverride()
    .showHelpAfterError(false)
    .configureOutput({
      outputError: (text, write) =>
        write(
          `weir: ${text
            .replace(/^error: /, "")
            .trim()
            .replaceAll("\n", " ")} (usage)\n`,
        ),
    });
  program.addHelpText("after", '\nRun "weir help start" for examples.');

  program
    .command("start")
    .description("run a broker")
    .option("--config <file>", "a Kafka-style properties file")
    .option("--override <key=value>", "set one key; may be repeated", collect, [])
    .option("--memory", "keep write-ahead log and objects in memory: nothing outlives the process", false)
    .addHelpText("after", START_EXAMPLES)
    .action(async (flags: StartFlags) => {
      const { runStart } = await import("./start-command.ts");
      finish(await runStart({ configFile: flags.config, overrides: flags.override, inMemory: flags.memory }));
    });

  const wal = program
    .command("wal")
    .description("prepare, measure and look into write-ahead log devices")
    .addHelpText("after", WAL_EXAMPLES);
  const runWal = async (args: WalCommandArguments): Promise<void> => {
    const [{ runWalCommand }, { makeWalCommandWorld }] = await Promise.all([import("./wal-command.ts"), import("./system-world.ts")]);
    const result = await runWalCommand(args, makeWalCommandWorld());
    if (result.stdout !== "") writeLine(1, result.stdout);
    if (result.stderr !== "") writeLine(2, result.stderr);
    finish(result.exitCode);
  };
  wal
    .command("format <device>")
    .description("write an unclaimed header")
    .option("--force", "also when the device holds something", false)
    .option("--output <form>", "table or json", "table")
    .action((device: string, flags: FormatFlags & OutputFlags) =>
      runWal({ verb: "format", device, force: flags.force, output: parseOutput(flags.output) }),
    );
  wal
    .command("inspect <device>")
    .description("show the header and where the log stands")
    .option("--output <form>", "table or json", "table")
    .action((device: string, flags: OutputFlags) => runWal({ verb: "inspect", device, output: parseOutput(flags.output) }));
  wal
    .command("verify <device>")
    .description("check every commit's checksum; exits 0 only when all is sound")
    .option("--output <form>", "table or json", "table")
    .action((device: string, flags: OutputFlags) => runWal({ verb: "verify", device, output: parseOutput(flags.output) }));
  wal
    .command("bench <device>")
    .description("measure how fast a device, or a file made for it, makes writes durable")
    .option("--sizes <bytes,...>", "lengths of a write", "4KiB,64KiB,256KiB,1MiB")
    .option("--depths <n,...>", "writes in flight", "1,4")
    .option("--seconds <s>", "length of each measurement", "2")
    .option("--file-size <bytes>", "size of a file that is made", "256MiB")
    .option("--read-only", "reads instead of writes", false)
    .option("--force", "also over what the device or file holds", false)
    .option("--output <form>", "table or json", "table")
    .addHelpText("after", WAL_BENCH_EXAMPLES)
    .action(async (device: string, { output, ...flags }: BenchFlags) => {
      const form = parseOutput(output);
      const [{ runWalBench }, { makeWalBenchWorld }] = await Promise.all([import("./wal-bench.ts"), import("./system-world.ts")]);
      const result = await runWalBench({ device, ...flags, output: form }, makeWalBenchWorld(), (line) => writeLine(2, line));
      if (result.stdout !== "") writeLine(1, result.stdout);
      if (result.stderr !== "") writeLine(2, result.stderr);
      finish(result.exitCode);
    });

  addBrokerVerbs(program, finish);
  program
    .command("doctor")
    .description("try what a broker with this configuration needs: device, bucket, clock, permissions, addresses")
    .option("--config <file>", "the broker's properties file")
    .option("--override <key=value>", "set one key; may be repeated", collect, [])
    .option("--output <form>", "table or json", "table")
    .addHelpText("after", DOCTOR_EXAMPLES)
    .action(async (flags: Omit<StartFlags, "memory"> & OutputFlags) => {
      const output = parseOutput(flags.output);
      const { runDoctor } = await import("./doctor-command.ts");
      finish(await runDoctor({ configFile: flags.config, overrides: flags.override, inMemory: false }, output));
    });
  program
    .command("completion <shell>")
    .description("a completion script for bash, zsh or fish")
    .addHelpText("after", COMPLETION_EXAMPLES)
    .action(async (shell: string) => {
      const { renderCompletion } = await import("./completion-command.ts");
      writeLine(1, renderCompletion(program, shell));
      finish(0);
    });
  program
    .command("version")
    .description("what this executable is")
    .action(() => {
      writeLine(1, describeVersion());
      finish(0);
    });
  return program;
}

/** Runs one command and ends the process with its exit code. */
export async function runCommandLine(argv: readonly string[]): Promise<void> {
  let exitCode = 0;
  const program = buildProgram((code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync([...argv]);
  } catch (error) {
    if (error instanceof CommanderError) {
      // Help was asked for (0), or the usage was wrong; commander has written its line.
      exitCode = error.exitCode === 0 ? 0 : 2;
    } else {
      const end = renderEnd(error);
      writeLine(2, end.line);
      exitCode = end.exitCode;
    }
  }
  process.exit(exitCode);
}
