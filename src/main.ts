/** argv -> one command; nothing else. */
import { runCommandLine } from "./cli/program.ts";

await runCommandLine(process.argv);
