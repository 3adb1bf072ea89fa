/** A script of requests to one group, the same for every server. */
import type { Side } from "./side.ts";

export interface Script {
  readonly name: string;
  run(side: Side): Promise<void>;
}
